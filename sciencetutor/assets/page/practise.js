// Practising: which skill, ten questions, and what came of it.

import {button, el, icon, markdown, say} from './dom.js'
import {Offline, call, whenOnline} from './server.js'
import {local, t} from './words.js'

const LETTERS = 'ABCDEFGHIJ'
let app, view, subject = '', quiz = null, grade = Number(localStorage.getItem('grade') || 0)

async function patient(name, ...data) {  // an endpoint, as soon as the server is there
  for (;;) try { return await call(name, ...data) } catch (e) {
    if (!(e instanceof Offline)) { say(t('broken')); throw e }
    say(t('reconnecting'))
    await whenOnline()
  }
}

const title = text => { const words = text.replaceAll('-', ' '); return words[0].toUpperCase()+words.slice(1) }

const stars = n => el('span', {class: 'stars', role: 'img', 'aria-label': t('stars', {n})}, [1, 2, 3].map(i => el('span', {class: i <= n ? 'star on' : 'star', 'aria-hidden': 'true'}, '★')))

export function makePractise(main) {
  app = main
  view = el('section', {class: 'practise', id: 'view-practise'})
  addEventListener('keydown', keys)
  return {node: view, open: where => where === 'quiz' ? (quiz ? null : app.go('#/practise')) : tiles()}
}

async function tiles() {
  quiz = null
  document.querySelector('.quiz')?.remove()
  const data = await patient('quiz_skills', subject, grade)
  subject = data.subject
  const grades = el('select', {id: 'grade', 'aria-label': t('quiz_grade'), onchange: () => { grade = Number(grades.value); localStorage.setItem('grade', grade); tiles() }},
    [0, ...Array.from({length: 12}, (_, i) => i+1)].map(g => el('option', {value: g}, g ? `${t('quiz_grade')} ${g}` : t('every_grade'))))
  grades.value = String(grade)
  const tabs = el('div', {class: 'subjects', role: 'group', 'aria-label': t('quiz_subject')}, data.subjects.map(s =>
    button(t(`subject_${s.replace(/ .*/, '')}`), () => { subject = s; tiles() }, {'aria-pressed': String(s === subject)})), grades)
  const by = Map.groupBy ? Map.groupBy(data.skills, s => s.topic) : data.skills.reduce((m, s) => m.set(s.topic, [...m.get(s.topic) || [], s]), new Map())
  const next = el('button', {type: 'button', class: 'primary next', id: 'quiz-start', onclick: () => start('')},
    el('span', {}, t('quiz_start')), el('small', {}, t('quiz_first', {skill: data.next})))
  view.replaceChildren(el('h1', {}, t('go_practise')), tabs, next, el('p', {class: 'small'}, t('quiz_how')),
    ...[...by].map(([topic, skills]) => el('section', {class: 'topic'}, el('h2', {}, title(topic)), el('div', {class: 'tiles'}, skills.map(s =>
      el('button', {type: 'button', class: `tile${s.skill === data.next ? ' due' : ''}`, onclick: () => start(s.skill)}, el('span', {lang: 'en'}, s.skill), stars(s.stars)))))))
}

async function start(skill) {
  const slow = setTimeout(() => say(t('thinking')), 800)  // the tutor answers the question first
  const asked = await patient('quiz_begin', subject, skill, grade).finally(() => clearTimeout(slow))
  quiz = {asked, dots: []}
  app.go('#/quiz')
  ask()
}

function screen(...parts) {
  const bar = el('div', {class: 'row quiz-top'}, el('button', {type: 'button', class: 'round', 'aria-label': t('quiz_leave'), title: t('quiz_leave'), id: 'quiz-leave', onclick: () => app.go('#/practise')}, icon('close')),
    el('div', {class: 'steps', role: 'img', 'aria-label': t('quiz_at', {i: quiz.asked.i, n: quiz.asked.n})}, Array.from({length: quiz.asked.n}, (_, i) =>
      el('i', {class: quiz.dots[i] === undefined ? (i === quiz.dots.length ? 'now' : '') : quiz.dots[i] ? 'right' : 'wrong'}))))
  document.querySelector('.quiz')?.remove()
  const node = el('div', {class: 'quiz', role: 'region', 'aria-label': t('go_practise')}, bar, ...parts)
  view.replaceChildren(node)
  return node
}

function ask() {
  const q = quiz.asked
  quiz.chosen = null
  const choices = q.choices.map((c, i) => el('button', {type: 'button', class: `big-choice color-${i % 5}`, onclick: () => check(c)}, el('b', {}, i+1), el('span', {}, c)))
  screen(el('div', {class: 'quiz-body', tabindex: 0, lang: 'en'}, el('p', {class: 'small'}, q.skill), q.picture && el('img', {src: q.picture, alt: t('picture')}),
    q.context && el('p', {class: 'context'}, q.context), el('h1', {tabindex: -1}, q.question), el('div', {class: 'big-choices', role: 'group', 'aria-label': t('quiz_choices'), lang: 'en'}, choices)))
  view.querySelector('h1').focus({preventScroll: true})
}

async function check(chosen) {
  if (quiz.chosen !== null) return
  quiz.chosen = chosen
  const mine = quiz, node = view.querySelector('.quiz')
  let told
  try {
    told = await patient('quiz_answer', chosen)
    if (told.again && quiz === mine) return await onward()
  } catch { mine.chosen = null; return }  // it can be tapped again
  if (quiz !== mine) return
  if (told.lost) return lost()
  quiz.dots.push(told.right)
  node.querySelectorAll('.big-choice').forEach((b, i) => {
    b.disabled = true
    b.classList.toggle('key', quiz.asked.choices[i] === told.answer)
    b.classList.toggle('missed', !told.right && quiz.asked.choices[i] === chosen)
  })
  const more = el('button', {type: 'button', class: 'primary', id: 'quiz-next', onclick: () => { more.disabled = true; return onward().finally(() => { more.disabled = false }) }}, t(told.i < told.n ? 'quiz_next' : 'quiz_end'))
  node.append(el('div', {class: `sheet ${told.right ? 'right' : 'wrong'}`, role: 'status'}, el('p', {class: 'verdict'}, icon(told.right ? 'yes' : 'no'),
    told.right ? t('quiz_right') : t('quiz_wrong', {choice: told.answer.replace(/\.$/, '')})),
  el('div', {class: 'why', tabindex: 0, lang: 'en'}, markdown(told.solution), told.mastered && el('p', {}, t('quiz_mastered', {skill: told.skill})),
    told.lecture && el('details', {}, el('summary', {}, t('lecture')), markdown(told.lecture))), el('div', {class: 'row end'}, stars(told.stars), el('span', {class: 'grow'}), more)))
  more.focus({preventScroll: true})
}

async function onward() {
  const data = await patient('quiz_next')
  if (data.lost) return lost()
  if (!data.done) { quiz.asked = data; return ask() }
  const node = screen(el('div', {class: 'quiz-body end-screen', tabindex: 0}, el('h1', {tabindex: -1}, t('quiz_done', data)), el('p', {class: 'cheer'}, t(data.right >= data.n*.8 ? 'cheer_3' : data.right >= data.n*.5 ? 'cheer_2' : 'cheer_1')),
    el('div', {class: 'row'}, button(t('quiz_again'), () => start(''), {class: 'primary', id: 'quiz-again'}), button(t('quiz_practise', {skill: data.next}), () => start(data.next), {id: 'quiz-due'}), button(t('quiz_leave'), () => app.go('#/practise'))),
    el('p', {class: 'small'}, local(data.why)),
    el('ul', {class: 'learned'}, data.skills.map(s => el('li', {}, el('span', {class: 'grow'}, s.skill), stars(s.stars))))))
  node.querySelector('h1').focus({preventScroll: true})
}

function lost() { say(t('quiz_lost')); return start('') }  // the server was started again meanwhile

function keys(e) {
  if (!quiz || view.hidden || e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open], .menu')) return
  if (/^[1-9]$/.test(e.key)) view.querySelectorAll('.big-choice:not([disabled])')[e.key-1]?.click()
}
