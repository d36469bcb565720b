// Asking: the box, the conversation, and what can be done with an answer.

import {button, dialog, el, icon, iconButton, markdown, menu, save, say} from './dom.js'
import {readQuestions} from './reading.js'
import {Broken, Offline, Refused, call, fileUrl, stream, told, upload, whenOnline} from './server.js'
import {canRead, read, stopReading} from './speech.js'
import {language, local, t} from './words.js'

const LETTERS = 'ABCDEFGHIJ'
// What the cards understand as wishes about the last answer: English, as the cards are.
const WISHES = {simpler: 'Make it easier', example: 'Give me an example', more: 'Tell me more'}

let app, view, thread, box, found, preview, sendButton, stopButton
let chat = null, turns = [], busy = null, picture = null  // picture: {file, url}
const mode = () => localStorage.getItem('mode') === 'hint' ? 'hint' : 'explain'

// What was typed and what is being answered outlive the page.
const draftKey = () => `draft:${app.settings.name}:${chat || 'new'}`
const keepDraft = () => app.settings.shared || (box.value ? localStorage.setItem(draftKey(), box.value) : localStorage.removeItem(draftKey()))
const pending = {  // of one user: the next to log in here sees nothing of it
  get: () => {
    const entry = JSON.parse(sessionStorage.getItem('pending') || 'null')
    return entry && !app.settings.shared && entry.user === app.settings.name ? entry : null
  },
  set: entry => entry && !app.settings.shared ? sessionStorage.setItem('pending', JSON.stringify({...entry, user: app.settings.name})) : sessionStorage.removeItem('pending'),
}

export function makeAsk(main) {
  app = main
  box = el('textarea', {id: 'box', rows: 1, placeholder: t('box'), 'aria-label': t('box_label'), maxlength: 100000,
    oninput: typed, onkeydown: e => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); submit() } }})
  found = el('div', {class: 'found', id: 'found', 'aria-live': 'polite'})
  preview = el('div', {class: 'preview'})
  sendButton = iconButton('up', t('send'), submit, {class: 'send primary', id: 'send'})
  stopButton = iconButton('stop', t('stop'), stop, {class: 'send dark', id: 'stop', hidden: true})
  const file = el('input', {type: 'file', accept: 'image/*,.heic,.heif,.avif', hidden: true, id: 'file',
    onchange: () => { if (file.files[0]) attach(file.files[0]); file.value = '' }})
  const modes = el('div', {class: 'modes', role: 'group', 'aria-label': t('mode_label')},
    ['explain', 'hint'].map(m => button(t(`mode_${m}`), () => { localStorage.setItem('mode', m); showMode() }, {'data-mode': m})))
  const composer = el('form', {class: 'composer', id: 'composer', onsubmit: e => { e.preventDefault(); submit() }},
    found, preview, box, el('div', {class: 'row tools'}, iconButton('camera', t('add_picture'), () => file.click()), file,
      modes, el('span', {class: 'grow'}), stopButton, sendButton))
  const examples = el('div', {class: 'examples', role: 'list'}, ['example_1', 'example_2', 'example_3'].map(k =>
    el('div', {role: 'listitem'}, button(t(k), () => send(t(k)), {class: 'example', lang: 'en'}))))
  const hello = el('div', {class: 'hello'}, el('h1', {}, t('hello')), el('p', {}, t('how')))
  thread = el('div', {class: 'thread', id: 'thread', role: 'log', 'aria-label': t('conversation'), tabindex: 0})
  view = el('section', {class: 'ask empty', id: 'view-ask'}, hello, thread,
    el('div', {class: 'dock'}, composer, examples, el('p', {class: 'careful'}, local(app.settings.careful), ' ', t('english_only'))))
  document.addEventListener('paste', e => takePicture(e, e.clipboardData))
  document.addEventListener('dragover', e => { if (e.dataTransfer?.types.includes('Files')) e.preventDefault() })
  document.addEventListener('drop', e => takePicture(e, e.dataTransfer))
  showMode()
  return view
}

function showMode() {
  for (const b of view?.querySelectorAll('.modes button') || document.querySelectorAll('.modes button'))
    b.setAttribute('aria-pressed', String(b.dataset.mode === mode()))
}

// ---- the box

function typed() {
  grow()
  keepDraft()
  clearTimeout(typed.timer)
  if (!box.value.includes('\n') && !/\(?[aA1][.):]/.test(box.value)) return showFound({choices: [], questions: []})
  typed.timer = setTimeout(async () => { try { showFound(await call('page_choices', box.value)) } catch {} }, 200)
}

function grow() {
  box.style.setProperty('height', 'auto')
  box.style.setProperty('height', `${Math.min(box.scrollHeight, innerHeight*.3)}px`)
}

function showFound({choices, questions}) {
  const many = questions.length > 1
  found.replaceChildren(...(many ? [el('span', {}, t('found_many', {n: questions.length}))]
    : choices.length ? [el('span', {}, t('found', {n: choices.length})), ...choices.map((c, i) => el('span', {class: 'chip'}, el('b', {}, LETTERS[i]), ` ${c}`))] : []))
}

function setText(text) { box.value = text; grow(); keepDraft() }

function putBack(text) { setText([text, box.value].filter(Boolean).join('\n\n')); typed() }  // what was not sent

// ---- pictures

const MAX_SIDE = 1600

async function reduced(file) {  // a large photo becomes small before it travels; what the browser can't open goes as it is
  try {
    const image = await createImageBitmap(file, {imageOrientation: 'from-image'})
    const scale = Math.min(1, MAX_SIDE/Math.max(image.width, image.height))
    if (scale === 1 && file.size < 1e6) return file
    const canvas = Object.assign(document.createElement('canvas'), {width: Math.round(image.width*scale), height: Math.round(image.height*scale)})
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height)
    const blob = await new Promise(done => canvas.toBlob(done, 'image/jpeg', .9))
    return new File([blob], 'picture.jpg', {type: 'image/jpeg'})
  } catch { return file }
}

async function attach(file) {
  if (view.hidden) app.go(chat ? `#/chat/${chat}` : '#/')
  dropPicture()
  picture = {file: await reduced(file)}
  picture.url = URL.createObjectURL(picture.file)
  const image = el('img', {src: picture.url, alt: t('picture'), onerror: () => image.replaceWith(icon('camera'))})
  preview.replaceChildren(el('div', {class: 'thumb'}, image, iconButton('close', t('remove_picture'), dropPicture)),
    button(t('read_words'), () => readPicture(), {class: 'pill', id: 'read-words'}))
  box.focus()
}

async function readPicture(quiet = false) {  // whether its words take the place of the picture, or the child looks at it again
  const sent = picture, pressed = preview.querySelector('#read-words')
  if (pressed.disabled) return true
  pressed.disabled = true
  pressed.replaceChildren(t('reading'), dots())
  const questions = await readQuestions(sent, () => picture === sent, quiet)
  pressed.disabled = false
  pressed.replaceChildren(t('read_words'))
  if (questions?.length && picture === sent) { dropPicture(); await sendAll(questions) }
  return questions !== null
}

function dropPicture() { picture = null; preview.replaceChildren() }

function takePicture(event, data) {
  const file = [...data?.files || []].find(f => f.type.startsWith('image/') || /\.(hei[cf]|avif)$/i.test(f.name))
  if (!file || document.querySelector('dialog[open]')) return
  event.preventDefault()
  attach(file)
}

// ---- a question on its way

async function submit() {
  const text = box.value.trim()
  if (busy || !(text || picture)) return
  const last = turns.at(-1)
  if (last?.data.hinting && !picture && text.length < 200 && await tried(text, true)) return
  if (picture && !text && await readPicture(true)) return
  let questions = [text]
  if (text.includes('\n\n')) try { questions = (await call('page_choices', text)).questions } catch {}
  if (busy) return
  const sent = picture
  setText('')
  showFound({choices: [], questions: []})
  dropPicture()
  await sendAll(questions, sent)
}

async function sendAll(questions, sent = null) {
  for (const [i, q] of questions.entries()) {
    if (i && (await busy)?.stopped) return putBack(questions.slice(i).join('\n\n'))
    await send(q, i ? null : sent)
  }
}

export function send(text, sent = null, how = mode()) {
  if (busy) return
  stopReading()
  const blank = {question: text || t('picture_only'), choices: [], context: '', hints: [], tries: [], probs: []}
  const turn = addTurn(blank, sent?.url)
  const entry = {chat, text, mode: how, at: Date.now(), message: null}
  pending.set({...entry, picture: Boolean(sent)})
  return run(turn, entry, async step => {
    if (sent && !entry.named) entry.named = await upload(sent.file)
    return stream('chat_ask', [text, entry.chat, how, entry.named || null], step)
  })
}

// Answer a turn, whatever happens to the server meanwhile: `begin(step)` starts, and what was begun is looked for and gone on with.
async function run(turn, entry, begin) {
  let finish, retry = begin
  busy = new Promise(done => { finish = done })
  busy.turn = turn
  setBusy(true)
  const home = {turns, chat: entry.chat}
  const step = said => {
    if (busy?.turn !== turn) return
    const {data} = turn
    Object.assign(turn, {data: said.turn, waiting: said.waiting, done: said.done})
    if (said.turn.chat && !entry.chat) adopt(entry, said.turn.chat, home)
    entry.message = said.turn.id
    pending.set(said.done ? null : entry)
    draw(turn, data)
  }
  for (let tries = 0; tries < 100; tries++) {
    try {
      await retry(step)
      turn.error = ''
      break
    } catch (e) {
      if (e instanceof Offline && !turn.stopping) {
        turn.waiting = t('reconnecting')
        draw(turn)
        await whenOnline()
        await new Promise(r => setTimeout(r, 300+200*tries))
        retry = step => goOn(turn, entry, begin, step)
        continue
      }
      turn.error = told(e)
      turn.again = () => { turn.error = ''; turn.done = false; turn.again = null; draw(turn); run(turn, entry, begin) }
      if (e.status !== 401) pending.set(null)  // after a login it goes on
      if (!(e instanceof Broken || e instanceof Refused)) console.error(e)
      break
    }
  }
  turn.done = true
  if (busy?.turn === turn) { busy = null; setBusy(false) }
  draw(turn)
  inView(turn)
  app.changed(entry.chat)
  finish(turn.data)
  if (turns.includes(turn) && turn.data.text && !turn.data.hinting && readsAloud()) read(turn.card.querySelector('.answer'), turn.card.querySelector('.aloud'))
}

async function goOn(turn, entry, begin, step) {  // after the line was cut: is the question there, and is it answered?
  if (!entry.chat) {
    const start = entry.text.trim().split(/\s+/).join(' ').slice(0, 20)
    const same = (await call('chat_list', '')).find(c => c.updated*1000 > entry.at-2000 && c.title.startsWith(start))
    if (!same) return begin(step)
    adopt(entry, same.id, {turns, chat: ''})
  }
  const {turns: stored} = await settled(entry.chat)
  const last = entry.message ? stored.find(s => s.id === entry.message) : stored.at(-1)
  const asked = last && (entry.message || entry.text.startsWith(last.question.slice(0, 40)))
  if (!asked) return begin(step)
  if (last.text || last.note || last.hinting) return step({turn: last, waiting: '', done: true})
  return stream('chat_again', [entry.chat, last.id], step)
}

async function settled(id) {  // the conversation, once nobody answers in it any more
  for (;;) {
    const data = await call('chat_open', id)
    if (!data.answering.length) return data
    await new Promise(r => setTimeout(r, 500))
  }
}

function adopt(entry, id, home) {  // the conversation has a name now
  const key = draftKey()
  entry.chat = id
  if (home.turns !== turns || chat) return
  localStorage.removeItem(key)
  chat = id
  keepDraft()
  app.replace(`#/chat/${id}`)
}

async function stop() {
  if (!busy) return
  const {turn} = busy
  turn.stopping = true
  stopButton.disabled = true
  try { await call('chat_stop') } catch {}
}

function setBusy(now) {
  sendButton.hidden = now
  stopButton.hidden = !now
  stopButton.disabled = false
  view.classList.toggle('busy', now)
}

// ---- hints are a dialogue

async function tried(said, typed = false) {  // whether this was a try, and is judged
  const turn = turns.at(-1)
  let judged
  try { judged = await call('chat_judge', said, chat, turn.data.id) }
  catch { return false }
  if (judged.verdict === 'guard') return false  // it is asked, so that it is answered with help and flagged
  if (judged.verdict === 'unread') {
    if (!/\?$/.test(said) && said.split(/\s+/).length < 4) { say(t('unread')); return true }
    return false
  }
  if (typed) setText('')
  const before = turn.data
  turn.data = judged.turn
  draw(turn, before)
  inView(turn)
  if (['right', 'agree'].includes(judged.verdict)) await tell(turn)
  else turn.card.querySelector('.choice-button:not([disabled]), .hint-more')?.focus({preventScroll: true})
  return true
}

async function tell(turn) {
  const entry = {chat, text: turn.data.question, mode: 'hint', at: Date.now(), message: turn.data.id}
  pending.set(entry)
  turn.done = false
  await run(turn, entry, step => stream('chat_tell', [chat, turn.data.id], step))
}

async function nextHint(turn) {
  try { const {turn: data} = await call('chat_hint', chat, turn.data.id); turn.data = data } catch (e) { return failed(e) }
  draw(turn)
  inView(turn)
}

const failed = e => say(told(e))

// ---- the conversation

function addTurn(data, url) {
  const turn = {data, url, done: false, waiting: t('thinking')}
  turn.question = el('div', {class: 'question'})
  turn.card = el('article', {class: 'card', 'aria-label': t('answer')})
  turn.node = el('div', {class: 'turn'}, turn.question, turn.card)
  thread.querySelector('.turn.last')?.classList.remove('last')
  turn.node.classList.add('last')
  turns.push(turn)
  if (turns.length > 1) draw(turns.at(-2))
  thread.append(turn.node)
  view.classList.remove('empty')
  draw(turn)
  inView(turn, true)
  return turn
}

function inView(turn, question = false) {  // the question on top; the whole answer where it fits, and its beginning in any case
  if (turns.at(-1) !== turn) return
  const room = thread.clientHeight, top = turn.node.offsetTop-8
  let to = top
  if (!question) {
    const said = turn.data.hinting && [...turn.card.querySelectorAll('.judged:not(:empty), .hint')].filter(n => !n.closest('.check')).slice(-2)[0]
    const end = turn.card.offsetTop+turn.card.offsetHeight+8, start = turn.card.offsetTop-8+(said ? said.offsetTop-8 : 0)
    if (end-top > room) to = Math.min(start, end-room)
  }
  thread.scrollTo({top: to, behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'})
}

function choiceList(d) {
  return d.choices.length ? el('ol', {class: 'choices', type: 'A'}, d.choices.map((c, i) => el('li', {}, el('b', {}, LETTERS[i]), el('span', {}, c)))) : null
}

function drawQuestion(turn) {
  const {data: d} = turn, src = turn.url || fileUrl(d.picture)
  const shown = JSON.stringify([d.question, d.context, d.choices, src])
  if (turn.shown === shown) return
  turn.shown = shown
  turn.question.replaceChildren(...[src && el('img', {src, alt: t('picture'), onerror: e => e.target.remove()}), d.context && el('p', {class: 'context'}, d.context),
    el('p', {}, d.question), choiceList(d)].filter(Boolean))
}

function draw(turn) {
  drawQuestion(turn)
  const open = new Set([...turn.card.querySelectorAll('details[open]')].map(d => d.className))
  const {data: d} = turn, last = turns.at(-1) === turn
  const parts = [
    d.blind && d.text && el('p', {class: 'small'}, t('blind')), d.unsaved && el('p', {class: 'small'}, t('not_kept')),
    ...(d.hinting ? hintParts(turn) : []),
    d.say && el('div', {class: 'verdict'}, markdown(local(d.say))),
    (d.text || '') && answerPart(d), turn.done && d.drawing && drawingPart(d.drawing), d.note && el('div', {class: d.refused ? 'note refused' : 'note', role: d.refused ? 'alert' : null}, noteParts(d)),
    turn.error && el('div', {class: 'note', role: 'alert'}, turn.error, turn.again && button(t('retry'), turn.again, {class: 'retry'})),
    !turn.done && !turn.error && el('p', {class: 'waiting', role: 'status'}, d.text ? '' : local(turn.waiting), dots()),
    turn.done && last && d.look && seenPart(d),
    ...(turn.done && !d.hinting ? detailParts(d) : []),
  ].filter(Boolean)
  turn.card.replaceChildren(...parts)
  for (const d of turn.card.querySelectorAll('details')) d.open = open.has(d.className)
  if (turn.done) turn.card.append(...actionParts(turn, last))
}

const dots = () => el('span', {class: 'dots', 'aria-hidden': 'true'}, el('i', {}, '.'), el('i', {}, '.'), el('i', {}, '.'))

function noteParts(d) {  // what keeps its English wants a grown-up who reads it
  const said = local(d.note)
  return d.refused && said === d.note && language() !== 'en' ? [el('p', {}, el('b', {}, t('refused_show'))), el('div', {lang: 'en'}, markdown(said))] : markdown(said)
}

function answerPart(d) {
  return el('div', {class: 'answer', lang: 'en'}, d.by_model && !d.own && !d.source ? el('p', {class: 'small'}, t('how_own')) : null, markdown(d.text))
}

const drawingPart = ({file, alt, width, height}) => el('img', {class: 'drawing', src: `cards/${file}`, alt, width, height, onerror: e => e.target.remove()})

function detailParts(d) {
  return [
    d.hints.length ? el('details', {class: 'taken'}, el('summary', {}, t('hints_taken')), hintParts({data: d})) : null,
    d.probs.length ? el('details', {class: 'bars'}, el('summary', {}, t('how_sure')), el('ul', {'aria-label': t('bars')}, d.choices.map((c, i) => {
      const percent = Math.round(100*d.probs[i])
      return el('li', {class: i === d.best ? 'best' : ''}, el('b', {}, LETTERS[i]), el('span', {class: 'grow'}, c), el('span', {class: 'percent'}, `${percent}%`),
        el('span', {class: 'bar'}, el('span', {style: {width: `${percent}%`}})))
    }))) : null,
    d.own && el('details', {class: 'own'}, el('summary', {}, t('how_own')), markdown(d.own)),
    d.source && el('details', {class: 'source'}, el('summary', {}, t(d.source.card ? 'leans' : 'leans_question', {title: d.source.title})), markdown(d.source.text)),
  ].filter(Boolean)
}

function hintParts(turn) {
  const {data: d} = turn, out = []
  const line = h => ({
    about: () => markdown(t('hint_about', {title: h.title})), rule: () => markdown(t('hint_rule', {text: h.text})),
    strike: () => markdown(t('hint_strike', {choice: h.choice.replace(/\.$/, '')})), smaller: () => checkPart(h, t('hint_smaller'))}[h.kind]?.())
  const bubble = (h, i) => { const what = line(h); return what && el('div', {class: 'hint'}, el('b', {}, t('hint_n', {n: i+1})), what) }
  d.hints.forEach((h, i) => {
    out.push(bubble(h, i))
    for (const tried of d.tries.filter(x => x.after === i+1)) out.push(el('p', {class: 'try'}, tried.said), el('p', {class: `judged ${tried.verdict}`}, icon(['right', 'agree'].includes(tried.verdict) ? 'yes' : tried.verdict === 'wrong' ? 'no' : 'dots'), t(`try_${tried.verdict}`)))
  })
  if (!d.hinting) return out.filter(Boolean)
  if (d.choices.length) out.push(el('div', {class: 'choice-buttons'}, d.choices.map((c, i) => {
    const struck = d.hints.some(h => h.kind === 'strike' && h.choice === c) || d.tries.some(x => x.verdict === 'wrong' && [c, LETTERS[i]].includes(x.said))
    return el('button', {type: 'button', class: `choice-button${struck ? ' struck' : ''}`, disabled: struck, onclick: () => tried(LETTERS[i])}, el('b', {}, LETTERS[i]), el('span', {}, c))
  })))
  out.push(el('p', {class: 'small'}, t(d.choices.length ? 'hint_wait' : 'hint_words')))
  out.push(el('div', {class: 'row'}, d.more_hints && button(t('next_hint'), () => nextHint(turn), {class: 'hint-more'}), button(t('tell'), () => tell(turn), {class: 'hint-tell'})))
  return out.filter(Boolean)
}

function checkPart(check, intro) {  // a small question to check oneself
  const said = el('p', {class: 'judged', role: 'status'})
  const buttons = check.choices.map((c, i) => el('button', {type: 'button', class: 'choice-button', onclick: () => {
    const right = i === check.answer
    said.replaceChildren(icon(right ? 'yes' : 'no'), t(right ? 'check_right' : 'check_wrong', {choice: check.choices[check.answer]}))
    said.className = `judged ${right ? 'right' : 'wrong'}`
    buttons.forEach((b, k) => { b.disabled = true; b.classList.toggle('key', k === check.answer) })
    said.scrollIntoView({block: 'nearest'})
  }}, el('b', {}, LETTERS[i]), el('span', {}, c)))
  return el('div', {class: 'check'}, intro && el('p', {}, intro), el('p', {}, check.question), el('div', {class: 'choice-buttons'}, buttons), said)
}

const SEEN = ['animal', 'plant', 'sky', 'rock', 'machine', 'chart']

function seenPart(d) {  // what there may be to see in a picture that the tutor cannot use
  return el('div', {class: 'acts seen', role: 'group', 'aria-label': t('seen')}, (d.topics || []).map(title => button(title, () => send(title, null, 'explain'), {class: 'pill'})),
    SEEN.map(k => button(t(`seen_${k}`), () => { setText(t('seen_begin', {thing: t(`seen_${k}_in`)})); box.focus() }, {class: 'pill'})))
}

function actionParts(turn, last) {
  const {data: d} = turn
  if (d.hinting || turn.error) return []
  const answered = Boolean(d.text) && !d.look, row = el('div', {class: 'acts', role: 'group', 'aria-label': t('actions')})
  if (answered && canRead()) row.append(iconButton('speaker', t('read_aloud'), e => read(turn.card.querySelector('.answer'), e.currentTarget), {class: 'aloud', 'aria-pressed': 'false'}))
  if (answered && last && !busy) for (const [key, wish] of Object.entries(WISHES)) row.append(button(t(key), () => send(wish, null, 'explain'), {class: `pill act-${key}`}))
  if (answered && d.check) row.append(button(t('quiz_me'), e => {
    const part = checkPart(d.check)
    e.currentTarget.remove()
    turn.card.append(part)
    part.querySelector('button').focus({preventScroll: true})
    part.scrollIntoView({block: 'nearest'})
  }, {class: 'pill act-quiz'}))
  if (answered && d.id) row.append(iconButton('good', t('good'), e => rate(turn, true, e.currentTarget), {class: 'act-good', 'aria-pressed': 'false'}),
    iconButton('bad', t('bad'), e => rate(turn, false, e.currentTarget), {class: 'act-bad', 'aria-pressed': 'false'}))
  if (last && !busy) row.append(iconButton('dots', t('more_acts'), e => menu(e.currentTarget, [
    ['again', t('again'), () => again(turn)], ['pen', t('edit'), () => edit(turn)]]), {class: 'act-menu', 'aria-haspopup': 'menu', 'aria-expanded': 'false'}))
  return row.childElementCount ? [row] : []
}

async function rate(turn, up, pressed) {
  try { await call('chat_rate', turn.data.id, up, '') } catch (e) { return failed(e) }
  turn.card.querySelectorAll('.act-good, .act-bad').forEach(b => b.setAttribute('aria-pressed', String(b === pressed)))
  if (up) return say(t('thanks'))
  const text = el('textarea', {rows: 3, maxlength: 4000, id: 'correction', 'aria-label': t('correction')})
  if (await dialog(t('bad_title'), el('div', {}, el('p', {}, t('correction')), text), [[t('cancel'), ''], [t('send'), 'send', 'primary']]) !== 'send') return
  try { await call('chat_rate', turn.data.id, false, text.value); say(t('thanks')) } catch (e) { failed(e) }
}

async function again(turn) {
  if (busy) return
  const entry = {chat, text: turn.data.question, mode: turn.data.mode, at: Date.now(), message: turn.data.id}
  const old = turn.data.id
  turn.data = {...turn.data, text: '', note: '', say: '', probs: [], own: '', source: null, check: null}
  turn.done = false
  await run(turn, entry, step => stream('chat_again', [chat, old], step))
}

async function edit(turn) {
  try {
    const {text} = await call('chat_edit', chat, turn.data.id)
    const src = turn.url || fileUrl(turn.data.picture)
    if (src) { const r = await fetch(src); if (r.ok) await attach(new File([await r.blob()], 'picture.png', {type: 'image/png'})) }
    turns.pop()
    turn.node.remove()
    turns.at(-1)?.node.classList.add('last')
    if (turns.length) draw(turns.at(-1))
    view.classList.toggle('empty', !turns.length)
    setText(text)
    typed()
    box.focus()
    app.changed(chat)
  } catch (e) { failed(e) }
}

// ---- which conversation

function clear(id) {
  stopReading()
  busy = null  // an answer that is being written goes on, and is stored
  setBusy(false)
  chat = id
  turns = []
  thread.replaceChildren()
  view.classList.toggle('empty', !id)
  dropPicture()
  setText(app.settings.shared ? '' : localStorage.getItem(draftKey()) || '')
  typed()
}

export async function openChat(id, force = false) {
  if (id === chat && !force) return
  if (busy && force) return
  clear(id)
  if (!id) { if (innerWidth > 800) box.focus(); return resume(null) }
  let data
  for (;;) try { data = await call('chat_open', id); break } catch (e) {
    if (!(e instanceof Offline)) return failed(e)
    await whenOnline()
  }
  if (chat !== id) return
  if (!data.turns.length) return app.go('#/')
  for (const stored of data.turns) Object.assign(addTurn(stored), {done: true})
  turns.forEach(turn => draw(turn))
  await resume(turns.at(-1), data.answering.includes(data.turns.at(-1).id))
  if (turns.length && !busy) thread.scrollTo({top: thread.scrollHeight})
  requestAnimationFrame(() => turns.length && inView(turns.at(-1)))
}

async function resume(last, answering = false) {  // an answer that was cut off by a reload goes on
  const entry = pending.get()
  if (!last) {
    if (!entry || entry.chat) return
    pending.set(null)
    if (entry.picture || Date.now()-entry.at > 600_000) return putBack(entry.text)
    const turn = addTurn({question: entry.text, choices: [], context: '', hints: [], tries: [], probs: []})
    run(turn, entry, step => goOn(turn, entry, step => stream('chat_ask', [entry.text, '', entry.mode, null], step), step))
    return
  }
  const d = last.data, plain = text => text.split(/\s+/).join(' ')
  let mine = entry?.chat === chat ? entry : null
  if (mine && !mine.message && !plain(mine.text).includes(plain(d.question).slice(0, 40))) {  // it never came to the server
    pending.set(null)
    putBack(mine.text)
    mine = null
  }
  if (answering) {
    last.done = false
    last.waiting = t('thinking')
    const entry = {chat, text: d.question, mode: d.mode, at: Date.now(), message: d.id}
    run(last, entry, step => goOn(last, entry, () => {}, step))
    return
  }
  if (d.text || d.note || d.hinting || (!mine && d.mode === 'hint')) { if (mine) pending.set(null); return }
  last.done = false
  const again = mine || {chat, text: d.question, mode: d.mode, at: Date.now(), message: d.id}
  run(last, {...again, chat, message: d.id}, step => stream('chat_again', [chat, d.id], step))
}

export const currentChat = () => chat
export const isBusy = () => Boolean(busy)
export const readsAloud = () => (localStorage.getItem('aloud') ?? String(Boolean(app.settings.grade && app.settings.grade <= 2))) === 'true' && canRead()
