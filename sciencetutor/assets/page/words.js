// What the page says: one table a language, chosen by the browser or in the menu. What the cards say stays English.

export const LANGUAGES = {en: 'English', es: 'Español', fr: 'Français'}
const RTL = ['ar', 'he', 'fa', 'ur']
let table = {}, plural = null, tutors = []  // tutors: [how a sentence of the server looks, its key]

const read = async language => (await fetch(`page/lang/${language}.json`)).json()

export async function loadWords() {
  const asked = new URLSearchParams(location.search).get('lang')
  const wanted = [asked, localStorage.getItem('lang'), ...navigator.languages].filter(Boolean).map(l => l.toLowerCase().split('-')[0])
  const language = wanted.find(l => l in LANGUAGES) || 'en'
  table = await read(language)
  plural = new Intl.PluralRules(language)
  if (language !== 'en') tutors = Object.entries(await read('en')).filter(([key]) => key.startsWith('tutor_')).map(([key, text]) => [pattern(text), key])
  document.documentElement.lang = language
  document.documentElement.dir = RTL.includes(asked || language) ? 'rtl' : 'ltr'
}

export const language = () => document.documentElement.lang

export function chooseLanguage(chosen) {
  localStorage.setItem('lang', chosen)
  const url = new URL(location)
  url.searchParams.delete('lang')
  history.replaceState(null, '', url)
  location.reload()
}

// With `n` (or minutes) the form for so many is taken where a table has it: cards_n_one beside cards_n.
export function t(key, values = {}) {
  const n = values.n ?? values.minutes, form = n === undefined ? key : `${key}_${plural?.select(Number(n))}`
  return (table[form] ?? table[key] ?? key).replace(/\{(\w+)\}/g, (all, k) => values[k] ?? all)
}

const pattern = text => new RegExp(`^${text.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, (_, k) => `(?<${k}>${['n', 'total', 'grade'].includes(k) ? '\\d+' : '.+'})`)}$`, 's')

// What the server says in English, in the page's language: words of the tutor, not of its cards.
export function local(text) {
  for (const [looks, key] of tutors) {
    const found = looks.exec(text)?.groups ?? (looks.test(text) && {})
    if (found) return t(key, found.level ? {level: level(found.level)} : found)
  }
  return text
}

const level = text => { const key = tutors.find(([looks, k]) => k.startsWith('tutor_level_') && looks.test(text))?.[1]; return key ? t(key) : text }
