// Words in a picture: what was read is shown to be put right, and asked when the child says so.

import {button, dialog, el, iconButton, say} from './dom.js'
import {call, told, upload} from './server.js'
import {t} from './words.js'

const LETTERS = 'ABCDEFGHIJ'

function choiceField(text, i) {
  return el('label', {class: 'read-choice'}, el('b', {}, LETTERS[i]), el('input', {value: text, maxlength: 300, 'aria-label': t('read_choice', {letter: LETTERS[i]})}))
}

function questionField({question, choices, look}, i, n) {
  const text = el('textarea', {rows: Math.min(6, 1+Math.ceil(question.length/45)), maxlength: 3000, 'aria-label': t('box_label'), value: question})
  const list = el('div', {class: 'read-choices'}, choices.map(choiceField))
  const more = button(t('read_more'), () => {
    if (list.childElementCount >= LETTERS.length) return
    list.append(choiceField('', list.childElementCount))
    list.lastChild.querySelector('input').focus()
  }, {class: 'pill'})
  const field = el('fieldset', {class: look ? 'read unsure' : 'read'}, el('legend', {}, n > 1 ? t('read_number', {n: i+1}) : t('box_label')),
    look && el('p', {class: 'small'}, t('read_look')), text, list, el('div', {class: 'row'}, more,
      n > 1 && iconButton('close', t('read_leave'), () => { field.remove(); document.querySelector('fieldset.read textarea')?.focus() })))
  return field
}

function written(field) {  // as a child would type it
  const choices = [...field.querySelectorAll('input')].map(c => c.value.trim()).filter(Boolean)
  const question = field.querySelector('textarea').value.trim().replace(/\n\s*\n/g, '\n')
  return [question, ...choices.map((c, i) => `${LETTERS[i]}. ${c}`)].filter(Boolean).join('\n')
}

async function corrected(questions, url) {
  const body = el('div', {class: 'read-all'}, el('p', {}, t('read_check')), el('img', {src: url, alt: t('picture'), onerror: e => e.target.remove()}), questions.map((q, i) => questionField(q, i, questions.length)))
  const pressed = await dialog(t('read_title'), body, [[t('cancel'), ''], [t('read_ask'), 'ask', 'primary']])
  return pressed === 'ask' ? [...body.querySelectorAll('fieldset')].map(written).filter(Boolean) : []
}

// The questions in a picture, as the child lets them be asked. None: there is nothing to ask now. Null: nothing was read that could be asked.
// `picture` is {file, url}; `wanted()` says whether it is still there; quiet, when the child did not ask for its words.
export async function readQuestions(picture, wanted, quiet) {
  let found
  try { found = await call('page_words', await upload(picture.file)) } catch (e) {
    if (!quiet) say(told(e))
    return quiet ? null : []
  }
  if (!wanted()) return []
  const {questions, words, note} = found
  if (questions.length) return corrected(questions, picture.url)
  if (quiet) return null
  if (!note && words) return corrected([{question: words, choices: [], look: true}], picture.url)
  say(t(note ? `read_${note}` : 'read_nothing'))
  return []
}
