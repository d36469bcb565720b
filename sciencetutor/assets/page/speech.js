// Reading aloud with the browser's own voices; the word that is said is marked.

export const canRead = () => 'speechSynthesis' in window

let pressed = null

export function stopReading() {
  if (canRead()) speechSynthesis.cancel()
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
  if (!node || again) return
  const nodes = textNodes(node), text = nodes.map(n => n.data).join(' ')
  const speech = new SpeechSynthesisUtterance(text)
  speech.lang = 'en-US'
  speech.rate = .9
  const local = speechSynthesis.getVoices().find(v => v.localService && v.lang.startsWith('en'))
  if (local) speech.voice = local
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
