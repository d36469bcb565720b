// Formulas, by Temml (vendor/temml.min.js, MIT), which makes MathML of LaTeX; fetched when there is one.

let loading

const load = () => loading ??= new Promise((done, fail) => {
  const script = document.createElement('script')
  Object.assign(script, {src: 'page/vendor/temml.min.js', onload: () => done(globalThis.temml), onerror: fail})
  document.head.append(script)
})

export async function set(tex, node, display) {  // what is no formula stays as it was written
  const temml = await load(), holder = document.createElement('span')
  try { temml.render(tex.slice(0, 1000), holder, {displayMode: display, trust: false, throwOnError: true, maxSize: [10, 1000], maxExpand: 100}) } catch { return }
  node.replaceChildren(...holder.childNodes)
}
