// For grown-ups, behind their PIN: what needs attention, the class, a quiz on paper, the data.

import {button, dialog, el, save, say} from './dom.js'
import {Offline, call, whenOnline} from './server.js'
import {local, t} from './words.js'

const TABS = ['overview', 'class', 'quiz', 'cards', 'data']
let app, view, needsPin = false

async function patient(name, ...data) {
  for (;;) try { return await call(name, ...data) } catch (e) {
    if (!(e instanceof Offline)) throw e
    say(t('reconnecting'))
    await whenOnline()
  }
}

export function makeGrown(main) {
  app = main
  view = el('section', {class: 'grown', id: 'view-grown'})
  return {node: view, open: async (where, tab) => { try { await open(TABS.includes(tab) ? tab : 'overview') } catch { say(t('broken')) } }}
}

async function open(tab) {
  const {state, pin, code} = await patient('class_open', '', '')
  needsPin = pin
  if (state === 'closed') return view.replaceChildren(el('h1', {}, t('grown')), el('p', {}, t('adults_only')))
  if (state !== 'open') return gate(state, tab, code)
  const tabs = el('div', {class: 'tabbar', role: 'group', 'aria-label': t('grown')}, TABS.map(k => el('a', {href: `#/grown/${k}`, 'aria-current': k === tab ? 'page' : null}, t(`tab_${k}`))))
  const lock = pin && button(t('lock_again'), async () => { await patient('class_close'); app.go('#/') }, {id: 'lock-again'})
  const body = el('div', {class: 'tab-body', id: `grown-${tab}`})
  view.replaceChildren(el('div', {class: 'row'}, el('h1', {class: 'grow'}, t('grown')), lock), tabs, body)
  await {overview, class: showClass, quiz: paper, cards, data}[tab](body)
}

function gate(state, tab, needsCode) {
  const input = el('input', {type: 'password', inputmode: 'numeric', autocomplete: 'off', maxlength: 12, id: 'pin', 'aria-label': t('pin'), required: true})
  const note = el('p', {class: 'note', role: 'alert', hidden: true})
  const code = state === 'new' && needsCode && el('input', {inputmode: 'numeric', autocomplete: 'off', maxlength: 12, id: 'pin-code', 'aria-label': t('pin_code'), placeholder: t('pin_code'), required: true})
  const form = el('form', {class: 'gate', onsubmit: async e => {
    e.preventDefault()
    const r = await patient('class_open', input.value, code ? code.value : '')
    if (r.state === 'open') return open(tab)
    note.hidden = false
    note.textContent = r.note === 'wrong' ? t('pin_wrong') : r.note === 'code' ? t('pin_code_wrong') : local(r.note)
    if (r.state !== state) return open(tab)
    input.select()
  }}, el('p', {}, t(state === 'new' ? 'pin_new' : 'pin_ask')), code && el('p', {class: 'small'}, t('pin_code_how')), code, input, note, el('button', {class: 'primary', id: 'pin-ok'}, t(state === 'new' ? 'pin_set' : 'pin_open')), state === 'pin' && el('p', {class: 'small'}, t('pin_forgotten')))
  view.replaceChildren(el('h1', {}, t('grown')), form)
  input.focus()
}

const table = (head, rows) => rows.length ? el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': head[0]}, el('table', {}, el('thead', {}, el('tr', {}, head.map(h => el('th', {scope: 'col'}, h)))),
  el('tbody', {}, rows.map(r => el('tr', {}, r.map(c => el('td', {}, c))))))) : el('p', {class: 'small'}, t('none'))

function weekChart(week) {  // minutes a day, as bars with numbers
  const most = Math.max(...week, 1), now = new Date()
  return el('div', {class: 'week', role: 'img', 'aria-label': t('week_label', {minutes: week.reduce((a, b) => a+b, 0)})}, week.map((m, i) => {
    const day = new Date(now-864e5*(week.length-1-i)).toLocaleDateString(document.documentElement.lang, {weekday: 'short'})
    return el('div', {}, el('span', {class: 'n'}, m || ''), el('span', {class: 'col', style: {height: `${Math.round(64*m/most)+2}px`}}), el('span', {}, day))
  }))
}

function flagList(flags, again) {
  return flags.length ? el('ul', {class: 'flags'}, flags.map(f => el('li', {}, el('div', {class: 'grow'}, el('b', {}, local(f.why)), el('p', {}, f.words), el('p', {class: 'small'}, `${local(f.label)} · ${f.when}`, f.found && ` · ${t('col_found')}: ${f.found}`)),
    f.acceptable && button(t('no_problem'), async () => { if (await patient('class_accept', f.name, f.id)) say(t('accepted')); again() })))) : el('p', {class: 'small'}, t('no_flags'))
}

async function overview(body) {
  const d = await patient('class_overview')
  body.replaceChildren(el('h2', {}, t('attention')), flagList(d.flags, () => overview(body)),
    el('h2', {}, t('weakest')), table([t('col_skill'), t('col_known'), t('col_weakest')], d.weakest.slice(0, 5)),
    el('h2', {}, t('week')), el('div', {class: 'weeks'}, d.children.map(c => el('div', {class: 'panel'}, el('a', {href: '#/grown/class', class: 'tall'}, local(c.label)), weekChart(c.week)))))
}

async function showClass(body) {
  const d = await patient('class_overview'), detail = el('div', {id: 'child'})
  const heat = d.skills.length ? el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': t('heat')}, el('table', {class: 'heat'}, el('thead', {}, el('tr', {}, el('td', {}), d.children.map(c => el('th', {scope: 'col'}, local(c.label))))),
    el('tbody', {}, d.skills.map((skill, i) => el('tr', {}, el('th', {scope: 'row'}, skill), d.heat.map(known => el('td', {class: known[i] === null ? '' : `h${Math.min(4, Math.floor(known[i]*5))}`}, known[i] === null ? '·' : `${Math.round(100*known[i])}%`))))))) : el('p', {class: 'small'}, t('none'))
  const child = async name => {
    const c = await patient('class_child', name)
    detail.replaceChildren(el('h2', {}, local(c.label)), el('p', {class: 'small'}, t('since')), table([t('col_asked'), t('col_quizzed'), t('col_minutes'), t('col_flags')], [[c.asked, t('of', {n: c.correct, total: c.quizzed}), c.minutes, c.flags]]), c.reading && el('p', {class: 'small'}, local(c.reading)), app.settings.auth && button(t('pin_give'), () => givePin(c), {id: 'give-pin'}),
      el('h3', {}, t('attention')), flagList(c.flagged, () => child(name)), el('h3', {}, t('skills_head')), table([t('col_skill'), t('col_known')], c.skills.map(s => [s.skill, `${Math.round(100*s.known)}%`])),
      el('h3', {}, t('asked_head')), table([t('col_when'), t('col_words')], c.questions.map(q => [q.when, q.words])))
    detail.scrollIntoView({block: 'start'})
  }
  const rows = d.children.map(c => [button(local(c.label), () => child(c.name), {class: 'link'}), c.asked, c.minutes, c.flags, local(c.mastered)])
  body.replaceChildren(el('h2', {}, t('children')), table([t('child'), t('col_asked'), t('col_minutes'), t('col_flags'), t('col_mastered')], rows), el('h2', {}, t('heat')), heat, detail)
  if (d.children.length === 1) await child(d.children[0].name)
}

async function givePin(c) {
  if (await dialog(t('pin_give'), el('p', {}, t('pin_give_how', {child: c.label})), [[t('cancel'), ''], [t('pin_give'), 'ok', 'primary']]) !== 'ok') return
  const {pin, note} = await patient('class_pin', c.name)
  if (pin) await dialog(c.label, el('p', {class: 'pin', id: 'given-pin'}, pin), [['OK', 'ok', 'primary']])
  else say(note || t('not_saved'))
}

async function paper(body) {
  const {subjects} = await patient('quiz_skills', '', 0)
  const pick = (id, label, options) => el('label', {}, el('span', {}, label), el('select', {id}, options.map(([v, text]) => el('option', {value: v}, text))))
  const subject = pick('paper-subject', t('quiz_subject'), [['', t('all')], ...subjects.map(s => [s, t(`subject_${s.replace(/ .*/, '')}`)])])
  const grade = pick('paper-grade', t('quiz_grade'), [[0, t('all')], ...Array.from({length: 12}, (_, i) => [i+1, i+1])])
  const n = pick('paper-n', t('paper_n'), [[5, 5], [10, 10], [15, 15], [20, 20]])
  n.querySelector('select').value = '10'
  const own = el('textarea', {rows: 4, id: 'paper-own', placeholder: t('paper_own_how')}), preview = el('div', {class: 'paper', id: 'paper'}), tools = el('div', {class: 'row', hidden: true})
  let file = null
  const make = async () => {
    const d = await patient('class_paper', subject.querySelector('select').value, Number(grade.querySelector('select').value), Number(n.querySelector('select').value), Math.floor(Math.random()*1e9), own.value)
    file = d.file
    tools.hidden = false
    preview.replaceChildren(el('h2', {}, t('paper_title')), el('p', {}, `${t('paper_name')}: ______________________`), el('ol', {}, d.questions.map(q => el('li', {}, q.hint && el('p', {}, q.hint), q.picture && el('img', {src: q.picture, alt: ''}), el('p', {}, el('b', {}, q.question)),
      q.choices.length ? el('ol', {type: 'A'}, q.choices.map(c => el('li', {}, c))) : el('p', {class: 'lines'})))),
    el('section', {class: 'answers'}, el('h2', {}, t('paper_answers')), el('ol', {}, d.questions.map(q => el('li', {}, q.answer === null ? '' : el('b', {}, `${'ABCDEFGHIJ'[q.answer]}. ${q.choices[q.answer]} `), q.solution || '')))))
  }
  tools.append(button(t('print'), () => print(), {class: 'primary', id: 'paper-print'}), button(t('save'), () => save(file), {id: 'paper-save'}))
  body.replaceChildren(el('div', {class: 'form'}, subject, grade, n, el('label', {class: 'wide'}, el('span', {}, t('paper_own')), own), button(t('paper_make'), make, {class: 'primary', id: 'paper-make'})), tools, preview)
}

// What the tutor knows: found, read, and mended in the teacher's own folder.

async function cards(body) {
  const search = el('input', {type: 'search', id: 'card-search', placeholder: t('cards_search'), 'aria-label': t('cards_search'), class: 'grow', oninput: () => { clearTimeout(search.timer); search.timer = setTimeout(find, 250) }})
  const list = el('div', {id: 'card-list'}), top = el('div', {class: 'row'}, search)
  const find = async () => {
    const words = search.value, d = await patient('class_cards', words)
    if (words !== search.value) return
    if (d.writable && !top.querySelector('#card-new')) top.append(button(t('card_new'), () => cardForm(body, {}, true), {class: 'primary', id: 'card-new'}))
    list.replaceChildren(!d.writable && el('p', {class: 'small', id: 'cards-off'}, t('cards_off')) || '', el('p', {class: 'small', role: 'status'}, t('cards_n', {n: d.total})),
      el('ul', {class: 'learned'}, d.cards.map(c => el('li', {}, button(c.title, async () => cardForm(body, await patient('class_card', c.id), d.writable), {class: 'link grow', 'data-card': c.id}), el('span', {class: 'small'}, c.own ? t('card_own') : c.topic)))))
  }
  body.replaceChildren(top, list)
  await find()
}

const FIELDS = [['title', 1], ['grades', 1], ['answer', 5], ['asked', 4, true], ['deeper', 4], ['example', 2], ['facts', 3, true], ['hints', 2, true], ['keywords', 2, true], ['care', 2]]

function cardForm(body, card, writable) {
  const lines = text => text.split('\n').map(l => l.trim()).filter(Boolean)
  const box = (key, rows, value, label, field = key) => {
    const input = el(rows > 1 ? 'textarea' : 'input', {id: `card-${key}`, rows: rows > 1 ? rows : null, readonly: !writable, value: Array.isArray(value) ? value.join('\n') : value || '', 'aria-describedby': `fault-${field}`})
    return el('label', {class: 'wide'}, el('span', {}, label), input)
  }
  const fault = key => el('p', {class: 'note', id: `fault-${key}`, role: 'alert', hidden: true})
  const has = key => writable || card[key]?.length
  const check = card.check || {}
  const form = el('form', {class: 'form', id: 'card-form', onsubmit: async e => {
    e.preventDefault()
    const value = key => form.querySelector(`#card-${key}`).value
    const fields = Object.fromEntries(FIELDS.map(([key, , many]) => [key, many ? lines(value(key)) : value(key)]))
    fields.check = {question: value('question'), choices: lines(value('choices')), answer: value('right').trim()}
    const ok = form.querySelector('#card-save')
    ok.disabled = true
    say(t('card_saving'))
    const r = await patient('class_card_save', fields, card.id || '').finally(() => { ok.disabled = false })
    for (const note of form.querySelectorAll('.note')) note.hidden = true
    for (const f of (r.faults || []).toReversed()) {
      const note = form.querySelector(`#fault-${f.field}`) || form.querySelector('#fault-all')
      note.hidden = false
      note.textContent = f.says
      form.querySelector(`#card-${f.field === 'check' ? 'question' : f.field}`)?.focus()
    }
    if (!r.saved) return say(t('card_faults'))
    say([t(r.found ? 'card_saved' : 'card_later'), r.note].filter(Boolean).join(' '))
    await cards(body)
  }}, FIELDS.filter(([key]) => has(key)).map(([key, rows, many]) => [box(key, rows, card[key], t(`card_${key}`) + (many && writable ? ` ${t('card_lines')}` : '')), fault(key)]),
  has('check') && el('fieldset', {class: 'wide'}, el('legend', {}, t('card_check')), box('question', 1, check.question, t('card_question'), 'check'), box('choices', 4, check.choices, t('card_choices') + (writable ? ` ${t('card_lines')}` : ''), 'check'), box('right', 1, check.answer, t('card_right'), 'check'), fault('check')),
  fault('all'), el('div', {class: 'row wide'}, writable && el('button', {class: 'primary', id: 'card-save'}, t('card_save')), button(t('card_back'), () => cards(body), {id: 'card-back'})))
  body.replaceChildren(el('h2', {tabindex: -1}, card.title || t('card_new')), writable && !card.id ? el('p', {class: 'small'}, t('card_how')) : '', form)
  body.querySelector(writable ? '#card-title' : 'h2').focus()
}

async function data(body) {
  const d = await patient('class_overview')
  const rows = d.children.map(c => [local(c.label), button(t('delete_child'), () => drop(c, body), {class: 'danger', 'data-child': c.name})])
  body.replaceChildren(el('p', {}, t('data_how')), button(t('export_feedback'), async () => save(await patient('class_data')), {id: 'export-feedback'}),
    el('h2', {}, t('delete_head')), table([t('child'), ''], rows), el('h2', {}, t('retention')), el('p', {}, t('retention_how')))
}

async function drop(c, body) {
  const pin = el('input', {type: 'password', inputmode: 'numeric', autocomplete: 'off', maxlength: 12, id: 'delete-pin', 'aria-label': t('pin')})
  const sure = el('div', {}, el('p', {}, t('sure_delete', {child: local(c.label)})), needsPin && el('label', {}, el('span', {}, t('pin')), pin))
  if (await dialog(t('delete_child'), sure, [[t('cancel'), ''], [t('delete_child'), 'ok', 'danger']]) !== 'ok') return
  const {done, note} = await patient('class_delete', c.name, pin.value)
  say(done ? t('deleted') : note === 'wrong' ? t('pin_wrong') : local(note || '') || t('not_saved'))
  if (done) { app.changed(''); await data(body) }
}
