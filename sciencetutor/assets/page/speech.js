// Reading aloud with voices of the device alone, as others send the text away; the word that is said is marked.

const voice = () => globalThis.speechSynthesis?.getVoices().find(v => v.localService && v.lang.startsWith('en'))
export const canRead = () => Boolean(voice())
canRead()  // some browsers load their voices when first asked

let pressed = null

export function stopReading() {
  globalThis.speechSynthesis?.cancel()
  pressed?.setAttribute('aria-pressed', 'false')
  pressed = null
  globalThis.CSS?.highlights?.delete('spoken')
}

function textNodes(node) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT), out = []
  while (walker.nextNode()) out.push(walker.currentNode)
  return out
}

export function read(node, button) {
  const again = pressed === button && button
  stopReading()
  const local = voice()
  if (!node || again || !local) return
  const nodes = textNodes(node), text = nodes.map(n => n.data).join(' ')
  const speech = new SpeechSynthesisUtterance(text)
  speech.voice = local
  speech.lang = local.lang
  speech.rate = .9
  speech.onboundary = e => {
    if (e.name !== 'word' || !globalThis.Highlight) return
    let at = e.charIndex
    for (const n of nodes) {
      if (at < n.length) {
        const range = new Range()
        range.setStart(n, at)
        range.setEnd(n, Math.min(n.length, at+(e.charLength || 1)))
        return CSS.highlights.set('spoken', new Highlight(range))
      }
      at -= n.length+1
    }
  }
  speech.onend = speech.onerror = () => { if (pressed === button) stopReading() }
  pressed = button
  button?.setAttribute('aria-pressed', 'true')
  speechSynthesis.speak(speech)
}
