// Asking: the box, the conversation, and what can be done with an answer.

import {button, dialog, el, icon, iconButton, markdown, menu, save, say} from './dom.js'
import {readQuestions} from './reading.js'
import {Broken, Offline, Refused, call, fileUrl, randomName, stream, told, upload, whenOnline} from './server.js'
import {canRead, read, stopReading} from './speech.js'
import {language, local, t} from './words.js'

const LETTERS = 'ABCDEFGHIJ'
// What the cards understand as wishes about the last answer: English, as the cards are.
const WISHES = {simpler: 'Make it easier', example: 'Give me an example', more: 'Tell me more'}

let app, view, thread, box, found, preview, changing, sendButton, stopButton
let chat = null, turns = [], busy = null, picture = null, coming = null, editing = null  // picture: {file, url}; coming: a promise of its file; editing: the turn that is changed
const mode = () => localStorage.getItem('mode') === 'hint' ? 'hint' : 'explain'

// What was typed, what is on its way to the server, and what waits for its turn outlive the page: each of one user and one chat.
const slot = (kind, id) => `${kind}:${app.settings.name}:${id || 'new'}`
const draftKey = () => slot('draft', chat)
const keepDraft = () => app.settings.shared || (box.value ? localStorage.setItem(draftKey(), box.value) : localStorage.removeItem(draftKey()))
const pending = {  // questions of which we don't know yet that the server has them
  all: id => app.settings.shared ? [] : JSON.parse(sessionStorage.getItem(slot('pending', id)) || '[]'),
  put: (id, list) => { if (!app.settings.shared) sessionStorage.setItem(slot('pending', id), JSON.stringify(list)) },
  drop: entry => pending.put(entry.chat, pending.all(entry.chat).filter(other => other.key !== entry.key)),
  set: entry => { pending.drop(entry); pending.put(entry.chat, [...pending.all(entry.chat), {...entry, named: null}]) },
}
const flying = new Set()  // keys of those that this page is sending
const waiting = {  // the questions of a worksheet that are still to be asked
  kept: new Map(),
  get: id => app.settings.shared ? waiting.kept.get(id) || [] : JSON.parse(localStorage.getItem(slot('waiting', id)) || '[]'),
  set: (id, list) => app.settings.shared ? waiting.kept.set(id, list) : list.length ? localStorage.setItem(slot('waiting', id), JSON.stringify(list)) : localStorage.removeItem(slot('waiting', id)),
}

export function makeAsk(main) {
  app = main
  box = el('textarea', {id: 'box', rows: 1, placeholder: t('box'), 'aria-label': t('box_label'), maxlength: 100000,
    oninput: typed, onkeydown: e => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); submit() } }})
  found = el('div', {class: 'found', id: 'found', 'aria-live': 'polite'})
  preview = el('div', {class: 'preview'})
  changing = el('div', {class: 'changing row', hidden: true}, el('span', {class: 'grow small'}, t('changing')), button(t('cancel'), () => { change(null); dropPicture(); setText(''); typed() }))
  sendButton = iconButton('up', t('send'), submit, {class: 'send primary', id: 'send'})
  stopButton = iconButton('stop', t('stop'), stop, {class: 'send dark', id: 'stop', hidden: true})
  const file = el('input', {type: 'file', accept: 'image/*,.heic,.heif,.avif', hidden: true, id: 'file',
    onchange: () => { if (file.files[0]) attach(file.files[0]); file.value = '' }})
  const modes = el('div', {class: 'modes', role: 'group', 'aria-label': t('mode_label')},
    ['explain', 'hint'].map(m => button(t(`mode_${m}`), () => { localStorage.setItem('mode', m); showMode() }, {'data-mode': m})))
  const composer = el('form', {class: 'composer', id: 'composer', onsubmit: e => { e.preventDefault(); submit() }},
    changing, found, preview, box, el('div', {class: 'row tools'}, iconButton('camera', t('add_picture'), () => file.click()), file,
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
  typed.timer = setTimeout(async () => { try { const words = box.value, seen = await call('page_choices', words); if (box.value === words) showFound(seen) } catch {} }, 200)
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
  const made = coming = reduced(file), small = await made
  if (coming !== made) return  // another took its place
  coming = null
  picture = {file: small}
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
  if (questions?.length && picture === sent) { dropPicture(); sendAll(questions) }
  return questions !== null
}

function dropPicture() { picture = coming = null; preview.replaceChildren() }

function takePicture(event, data) {
  const file = [...data?.files || []].find(f => f.type.startsWith('image/') || /\.(hei[cf]|avif)$/i.test(f.name))
  if (!file || document.querySelector('dialog[open]')) return
  event.preventDefault()
  attach(file)
}

// ---- a question on its way

async function submit() {
  const home = turns
  while (coming) await coming  // who is quick sends the picture all the same
  if (turns !== home) return
  const text = box.value.trim()
  if (busy || !(text || picture)) return
  const last = turns.at(-1)
  if (last?.data.hinting && !picture && text.length < 200 && await tried(text, true)) return
  if (picture && !text && await readPicture(true)) return
  let questions = [text]
  if (text.includes('\n\n')) try { questions = (await call('page_choices', text)).questions } catch {}
  if (busy || turns !== home) return  // in another chat meanwhile: the words wait in the box of theirs
  const sent = picture, instead = editing?.data.id || null
  setText('')
  showFound({choices: [], questions: []})
  dropPicture()
  sendAll(questions, sent, instead)
}

function sendAll(questions, sent = null, instead = null) {
  if (busy) return chat ? waiting.set(chat, [...waiting.get(chat), ...questions]) : putBack(questions.join('\n\n'))
  const [first, ...rest] = questions
  if (chat) waiting.set(chat, [...waiting.get(chat), ...rest])
  send(first, sent, mode(), {instead, rest: chat ? [] : rest})
}

export function send(text, sent = null, how = mode(), more = {}) {
  if (busy) return
  stopReading()
  const blank = {question: text || t('picture_only'), choices: [], context: '', hints: [], tries: [], probs: []}
  const turn = addTurn(blank, sent?.url)
  turn.sent = sent
  return ask(turn, {chat, text, mode: how, at: Date.now(), message: null, key: randomName(), picture: Boolean(sent), ...more}, sent)
}

function ask(turn, entry, sent = null) {
  pending.set(entry)
  return run(turn, entry, async (step, signal) => {
    if (sent && !entry.named) entry.named = await upload(sent.file)
    try { return await stream('chat_ask', [entry.text, entry.chat || '', entry.mode, entry.named || null, entry.key, entry.instead || null], step, signal) } catch (e) {
      if (e.status !== 403 || !entry.named || entry.twice) throw e
      Object.assign(entry, {named: null, twice: true})  // the server was started anew, and has the picture no more
      throw new Offline('send the picture again')
    }
  })
}

// Read along while a turn is answered, whatever happens to the server meanwhile: `begin(step, signal)` asks, and may ask again.
async function run(turn, entry, begin) {
  const home = turns, here = () => turns === home, line = new AbortController()
  let tries = 0
  const leave = () => { if (entry.message) line.abort() }  // the child is in another chat: the server goes on without us
  busy = {turn, leave}
  flying.add(entry.key)
  setBusy(true)
  const step = said => {
    tries = 0
    Object.assign(turn, {data: said.turn, waiting: said.waiting, done: said.done})
    if (said.turn.chat && entry.chat !== said.turn.chat) adopt(entry, said.turn.chat, here())
    entry.message = said.turn.id
    if (said.done || entry.message) pending.drop(entry)
    else pending.set(entry)
    if (entry.instead && said.turn.id && here()) replaced(entry)
    if (here()) draw(turn)
    else leave()
  }
  for (;; tries++) {
    try {
      await begin(step, line.signal)
      turn.error = ''
      break
    } catch (e) {
      if (line.signal.aborted) break
      if (e instanceof Offline && !turn.stopping && tries < 100) {
        turn.waiting = t(e.busy ? 'hands_full' : 'reconnecting')
        if (here()) draw(turn)
        await whenOnline()
        await new Promise(r => setTimeout(r, Math.min(300*1.4**tries, e.busy ? 15000 : 3000)))
        if (!here() && entry.message) break
        continue
      }
      turn.error = told(e)
      turn.again = () => { turn.error = ''; turn.done = false; turn.again = null; draw(turn); run(turn, entry, begin) }
      if (e instanceof Broken || (e instanceof Refused && e.status !== 401)) pending.drop(entry)  // after a login it goes on
      if (here() && entry.rest?.length) putBack(entry.rest.splice(0).join('\n\n'))
      if (!(e instanceof Broken || e instanceof Refused || e instanceof Offline)) console.error(e)
      break
    }
  }
  turn.done = true
  flying.delete(entry.key)
  if (busy?.turn === turn) { busy = null; setBusy(false) }
  app.changed(entry.chat)
  if (!here()) return
  draw(turn)
  inView(turn)
  if (turn.data.text && !turn.data.hinting && readsAloud()) read(turn.card.querySelector('.answer'), turn.card.querySelector('.aloud'))
  if (!turn.error) nextWaiting(turn.data.stopped)
}

function nextWaiting(stopped) {  // the next question of a worksheet, in its own chat
  const [next, ...rest] = waiting.get(chat)
  if (next === undefined || busy) return
  waiting.set(chat, stopped ? [] : rest)
  if (stopped) putBack([next, ...rest].join('\n\n'))
  else send(next)
}

function replaced(entry) {  // the new question is stored, and the old one gone
  const i = turns.findIndex(other => other.data.id === entry.instead)
  entry.instead = null
  if (i >= 0) turns.splice(i, 1)[0].node.remove()
  change(null)
}

function adopt(entry, id, here) {  // the conversation has a name now
  pending.drop(entry)
  entry.chat = id
  waiting.set(id, [...waiting.get(id), ...entry.rest || []])
  entry.rest = []
  if (!here || chat) return
  localStorage.removeItem(draftKey())
  chat = id
  keepDraft()
  app.replace(`#/chat/${id}`)
}

async function stop() {
  if (!busy) return
  const {turn} = busy
  turn.stopping = true
  stopButton.disabled = true
  try { await call('chat_stop', turn.data.id || null) } catch {}
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
  try { judged = await patient('chat_judge', said, chat, turn.data.id) } catch (e) { failed(e); return true }
  if (turns.at(-1) !== turn) return true  // in another chat meanwhile: the server has it
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
  const entry = {chat, text: turn.data.question, mode: 'hint', at: Date.now(), message: turn.data.id, key: randomName(), tell: true}
  pending.set(entry)
  turn.done = false
  await run(turn, entry, (step, signal) => stream('chat_tell', [entry.chat, turn.data.id], step, signal))
}

async function nextHint(turn) {
  try { const {turn: data} = await patient('chat_hint', chat, turn.data.id); turn.data = data } catch (e) { return failed(e) }
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
    turn.done && !busy && !turn.error && last && (d.stopped || d.failed) && button(t('again'), () => again(turn), {class: 'retry'}),
    turn.done && !busy && !turn.error && !d.text && !d.note && !d.hinting && d.id && button(t('retry'), () => again(turn), {class: 'retry'}),
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
  try { await patient('chat_rate', turn.data.id, up, '') } catch (e) { return failed(e) }
  turn.card.querySelectorAll('.act-good, .act-bad').forEach(b => b.setAttribute('aria-pressed', String(b === pressed)))
  if (up) return say(t('thanks'))
  const text = el('textarea', {rows: 3, maxlength: 4000, id: 'correction', 'aria-label': t('correction')})
  if (await dialog(t('bad_title'), el('div', {}, el('p', {}, t('correction')), text), [[t('cancel'), ''], [t('send'), 'send', 'primary']]) !== 'send') return
  try { await patient('chat_rate', turn.data.id, false, text.value); say(t('thanks')) } catch (e) { failed(e) }
}

async function again(turn) {
  if (busy) return
  const entry = {chat, text: turn.data.question, mode: turn.data.mode, at: Date.now(), message: turn.data.id, key: randomName()}, old = turn.data.id
  turn.data = {...turn.data, text: '', note: '', stopped: false, failed: false, say: '', probs: [], own: '', source: null, check: null}
  turn.done = false
  await run(turn, entry, (step, signal) => stream('chat_again', [entry.chat, old, entry.key], step, signal))
}

async function edit(turn) {  // its words and its picture go into the box; it is replaced once the new one is there
  const home = turns
  try {
    const {text, picture: path} = await call('chat_edit', chat, turn.data.id)
    const file = turn.sent?.file || path && new File([await (await fetch(fileUrl(path))).blob()], 'picture.png', {type: 'image/png'})
    if (turns !== home) return  // the child is in another chat
    if (file) await attach(file)
    if (turns !== home) return
    change(turn)
    setText(text)
    typed()
    box.focus()
  } catch (e) { failed(e) }
}

function change(turn) {
  editing?.node.classList.remove('changed')
  editing = turn
  editing?.node.classList.add('changed')
  changing.hidden = !turn
}

// ---- which conversation

function clear(id) {
  stopReading()
  busy?.leave()
  busy = null  // an answer that is being written goes on, and is stored
  setBusy(false)
  change(null)
  chat = id
  turns = []
  thread.replaceChildren()
  view.classList.toggle('empty', !id)
  dropPicture()
  setText(app.settings.shared ? '' : localStorage.getItem(draftKey()) || '')
  typed()
}

const patient = async (name, ...data) => {  // an endpoint, as soon as the server is there
  for (;;) try { return await call(name, ...data) } catch (e) {
    if (!(e instanceof Offline)) throw e
    await whenOnline()
    await new Promise(r => setTimeout(r, 500))
  }
}

export async function openChat(id, force = false) {
  if (id === chat && !force) return
  if (busy && force) return
  clear(id)
  const home = turns
  try {
    if (!id) { if (innerWidth > 800) box.focus(); return await resume(null, home) }
    const data = await patient('chat_open', id)
    if (turns !== home) return
    if (!data.turns.length) return app.go('#/')
    for (const stored of data.turns) Object.assign(addTurn(stored), {done: true})
    turns.forEach(turn => draw(turn))
    await resume(turns.at(-1), home, data.answering)
  } catch (e) { return failed(e) }
  if (turns !== home) return
  if (turns.length && !busy) thread.scrollTo({top: thread.scrollHeight})
  requestAnimationFrame(() => turns.length && inView(turns.at(-1)))
}

async function resume(last, home, answering = []) {  // what was on its way when the page was left goes on
  const left = pending.all(chat).filter(entry => !flying.has(entry.key)), telling = left.some(entry => entry.tell)
  for (const entry of left) {
    const found = entry.tell ? {id: entry.message} : await patient('chat_find', entry.key)
    if (turns !== home) return
    pending.drop(entry)
    if (found.chat && found.chat !== chat) { adopt(entry, found.chat, false); return app.go(`#/chat/${found.chat}`) }
    if (found.id) continue
    if (last || busy || entry.picture || Date.now()-entry.at > 600_000) putBack([entry.text, ...entry.rest || []].join('\n\n'))
    else ask(addTurn({question: entry.text, choices: [], context: '', hints: [], tries: [], probs: []}), entry)
  }
  if (!last || busy) return
  const d = last.data, id = chat, going = answering.includes(d.id)
  if (telling && d.hinting && !going) return void tell(last)
  if (!going && (d.text || d.note || d.hinting)) return nextWaiting(false)
  last.done = false
  last.waiting = t('thinking')
  draw(last)
  run(last, {chat, text: d.question, message: d.id, key: randomName()}, (step, signal) => stream('chat_resume', [id, d.id], step, signal))
}

export const currentChat = () => chat
export const isBusy = () => Boolean(busy)
export const readsAloud = () => (localStorage.getItem('aloud') ?? String(Boolean(app.settings.grade && app.settings.grade <= 2))) === 'true' && canRead()
