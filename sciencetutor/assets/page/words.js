// What the page says: one table a language, chosen by the browser. What the cards say stays English.

export const LANGUAGES = ['en']
const RTL = ['ar', 'he', 'fa', 'ur']
let table = {}

export async function loadWords() {
  const asked = new URLSearchParams(location.search).get('lang')
  const wanted = [asked, ...navigator.languages].filter(Boolean).map(l => l.toLowerCase().split('-')[0])
  const language = wanted.find(l => LANGUAGES.includes(l)) || 'en'
  table = await (await fetch(`page/lang/${language}.json`)).json()
  document.documentElement.lang = language
  document.documentElement.dir = RTL.includes(asked || language) ? 'rtl' : 'ltr'
}

export const t = (key, values = {}) => (table[key] ?? key).replace(/\{(\w+)\}/g, (all, k) => values[k] ?? all)
