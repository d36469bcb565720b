// Elements, icons and text. Whatever a child or a model has written becomes a text node here: nothing makes HTML of a string.

const SVG = 'http://www.w3.org/2000/svg', MATH = /\$\$([^$]+)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)/s

export function el(tag, props = {}, ...kids) {
  const node = document.createElement(tag)
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value)
    else if (key === 'class') node.className = value
    else if (key === 'style') for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v)
    else if (key === 'value') node.value = value
    else node.setAttribute(key, value === true ? '' : value)
  }
  node.append(...kids.flat(9).filter(kid => kid !== null && kid !== undefined && kid !== false && kid !== ''))
  return node
}

const PATHS = {
  plus: 'M12 5v14M5 12h14', up: 'M12 19V5M5 12l7-7 7 7', stop: 'M7 7h10v10H7z', close: 'M6 6l12 12M18 6L6 18',
  camera: 'M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5', dots: 'M12 5.5v.01M12 12v.01M12 18.5v.01',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3', speaker: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  chat: 'M4 5h16v11H10l-4 4v-4H4z', star: 'M12 3.5l2.6 5.4 5.9.8-4.3 4.1 1 5.9-5.2-2.8-5.2 2.8 1-5.9L3.500 9.700l5.900-.8z',
  box: 'M4 7h16v13H4zM3 4h18v3H3zM10 11h4', sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z', yes: 'M5 12.500l4.500 4.500L19 7.500', no: 'M6 6l12 12M18 6L6 18',
  good: 'M7 11v9H4v-9zM7 12l4-8c1.500 0 2.500 1 2.500 2.500V10H19l-1.500 10H7', bad: 'M7 13V4H4v9zM7 12l4 8c1.500 0 2.500-1 2.500-2.500V14H19L17.500 4H7',
  globe: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c-6 6-6 12 0 18 6-6 6-12 0-18z', again: 'M5 12a7 7 0 1 0 2.200-5.100L5 9M5 4v5h5', pen: 'M5 19l1-4L16 5l3 3L9 18z', out: 'M10 5H5v14h5M14 8l4 4-4 4M18 12H9', print: 'M7 9V4h10v5M5 9h14v8h-2v3H7v-3H5zM9 15h6',
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg'), path = document.createElementNS(SVG, 'path')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  path.setAttribute('d', PATHS[name])
  svg.append(path)
  return svg
}

export const logo = () => el('img', {class: 'logo', src: 'page/logo.svg', alt: '', width: 32, height: 32})

export const button = (text, onclick, props = {}) => el('button', {type: 'button', onclick, ...props}, text)

export const iconButton = (name, label, onclick, props = {}) =>
  el('button', {type: 'button', onclick, 'aria-label': label, title: label, ...props, class: `round ${props.class || ''}`}, icon(name))

const INLINE = /\*\*(.+?)\*\*|\*([^*\s][^*]*?)\*|`([^`]+)`/s

function spans(text) {
  const out = []
  for (let m; (m = MATH.exec(text) || null);) {
    out.push(...words(text.slice(0, m.index)), formula(m[1] ?? m[2] ?? m[3], m[3] === undefined))
    text = text.slice(m.index + m[0].length)
  }
  return [...out, ...words(text)]
}

function words(text) {
  const out = []
  for (let m; (m = INLINE.exec(text));) {
    out.push(plain(text.slice(0, m.index)), el(m[1] ? 'strong' : m[2] ? 'em' : 'code', {}, ...(m[3] ? [m[3]] : words(m[1] || m[2]))))
    text = text.slice(m.index + m[0].length)
  }
  return [...out, plain(text)]
}

const plain = text => text.replace(/\\([_*`])/g, '$1')

function formula(tex, display) {  // its source until the formula is set
  const node = el('span', {class: display ? 'formula display' : 'formula'}, tex)
  import('./formula.js').then(m => m.set(tex, node, display), () => {})
  return node
}

// A small part of Markdown: paragraphs, lists, bold, italics, code and formulas. No links, no pictures, no HTML.
export function markdown(text) {
  const out = document.createDocumentFragment()
  for (const block of (text || '').trim().split(/\n\s*\n/)) {
    const lines = block.split('\n'), items = lines.map(line => /^\s*[-*•]\s+(.*)/.exec(line))
    if (lines.length && items.every(Boolean)) out.append(el('ul', {}, items.map(m => el('li', {}, ...spans(m[1])))))
    else if (block) out.append(el('p', {}, lines.length > 1 && !MATH.test(block)
      ? lines.flatMap((line, i) => i ? [el('br'), ...spans(line)] : spans(line)) : spans(block)))
  }
  return out
}

export function menu(anchor, items) {  // items: [icon, text, what to do]
  document.querySelector('.menu')?.remove()
  const close = () => { list.remove(); document.removeEventListener('pointerdown', outside, true); anchor.setAttribute('aria-expanded', 'false') }
  const outside = e => { if (!list.contains(e.target)) close() }
  const entries = items.map(([name, text, act]) => el('button', {type: 'button', role: 'menuitem',
    onclick: () => { close(); anchor.focus(); act() }}, icon(name), text))
  const list = el('div', {class: 'menu', role: 'menu', onkeydown: e => {
    const at = entries.indexOf(document.activeElement), n = entries.length
    if (e.key === 'Escape') { close(); anchor.focus() }
    const to = {ArrowDown: at+1, ArrowUp: at-1+n, Home: 0, End: n-1}[e.key]
    if (to !== undefined) { e.preventDefault(); entries[to % n].focus() }
    if (e.key === 'Tab') close()
  }}, entries)
  document.body.append(list)
  const a = anchor.getBoundingClientRect(), own = list.getBoundingClientRect()
  const left = Math.max(8, Math.min(a.right-own.width, innerWidth-own.width-8))
  const top = a.bottom+own.height+8 > innerHeight ? Math.max(8, a.top-own.height-4) : a.bottom+4
  list.style.setProperty('left', `${left}px`)
  list.style.setProperty('top', `${top}px`)
  anchor.setAttribute('aria-expanded', 'true')
  document.addEventListener('pointerdown', outside, true)
  entries[0].focus()
}

export function dialog(title, body, buttons) {  // resolves to the value of the button that was pressed; null when closed
  return new Promise(resolve => {
    const form = el('form', {method: 'dialog'}, el('h2', {}, title), body,
      el('div', {class: 'row end'}, buttons.map(([text, value, style]) => value
        ? el('button', {value, class: style || ''}, text) : button(text, () => box.close(''), {class: style || ''}))))
    const box = el('dialog', {'aria-label': title, onclose: () => {
      const value = box.returnValue || null
      box.remove()
      resolve(value)
    }}, form)
    document.body.append(box)
    box.showModal()
    box.querySelector('input,textarea')?.focus()
  })
}

let said
export function say(text) {  // to a screen reader, and at the edge of the page for a moment
  said ??= document.body.appendChild(el('div', {class: 'toast', role: 'status'}))
  said.textContent = text
  said.classList.add('on')
  clearTimeout(say.timer)
  say.timer = setTimeout(() => said.classList.remove('on'), 3500)
}

export function save(file) {  // {name, uri}
  const link = el('a', {href: file.uri, download: file.name})
  document.body.append(link)
  link.click()
  link.remove()
}
