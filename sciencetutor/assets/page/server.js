// The server: its endpoints, the stream of an answer, and whether it is there at all.

import {t} from './words.js'

export const BASE = new URL('.', document.baseURI)
const API = new URL('gradio_api/', BASE)
export const randomName = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), b => b.toString(16).padStart(2, '0')).join('')
const session = randomName()

export class Offline extends Error {}
export class Broken extends Error {}
export class Refused extends Error { constructor(status) { super(String(status)); this.status = status } }

// What a child is told of a failure; what the server says of it is for programs.
export const told = e => e instanceof Offline ? t('reconnecting') : e.status === 401 ? t('log_in') : e.status === 413 ? t('too_large') : e.status === 429 ? t('too_many') : t('broken')

const state = {online: true, held: 0, waiters: [], listeners: []}
export const onConnection = f => state.listeners.push(f)
const report = () => state.listeners.forEach(f => f(state.online, state.held > 0))
export const isOnline = () => state.online

function setOnline(online) {
  const changed = state.online !== online
  state.online = online
  if (online) state.waiters.splice(0).forEach(f => f())
  if (changed) report()
}

export const whenOnline = () => state.online ? Promise.resolve() : new Promise(r => state.waiters.push(r))

let heart
export function connect() {  // the server knows by this stream that the page is open, and we know that the server is there
  heart?.close()
  heart = new EventSource(new URL(`heartbeat/${session}`, API))
  heart.onmessage = heart.onopen = () => setOnline(true)
  heart.onerror = () => {
    setOnline(false)
    heart.close()
    clearTimeout(connect.timer)
    connect.timer = setTimeout(connect, 1500)
  }
}

const LATER = [429, 502, 503, 504], TRIES = 7

// How long to wait before the n-th try: twice as long each time, a little by chance so that a class does not come back at once, and never less than the server asks.
const pause = (n, asked) => Math.min(Math.max(500*2**n*(.75+Math.random()/2), 1000*(Number(asked) || 0)), 60_000)

async function later(r, n) {  // the server, or a proxy before it, says to come again
  state.held++
  report()
  try { await new Promise(done => setTimeout(done, pause(n, r.headers.get('retry-after')))) }
  finally { state.held--; report() }
}

async function ask(path, options) {
  for (let n = 0; ; n++) {
    let r
    try { r = await fetch(new URL(path, API), options) }
    catch (e) {
      if (options?.signal?.aborted) throw e
      setOnline(false); connect(); throw new Offline('no server')
    }
    if (r.status === 401) { location.reload(); throw new Refused(401) }
    if (r.status === 500) throw new Broken('an error')
    if (r.ok) return r
    if (!LATER.includes(r.status)) throw new Refused(r.status)
    if (n === TRIES) throw r.status === 429 ? new Refused(429) : new Offline('no server')
    await later(r, n)
  }
}

const post = (path, data, as = session) => ask(path, {method: 'POST', headers: {'content-type': 'application/json'},
  body: JSON.stringify({data, session_hash: as})})

export async function call(name, ...data) {
  const r = await post(`run/${name}`, data)
  try { return (await r.json()).data[0] } catch { throw new Offline('cut off') }
}

// Every step of a streamed answer goes to `step`; the last one is returned. Two streams of one session would get each
// other's events: each has a session of its own, named after the page's, which the next one takes over once it is over.
const free = []
let made = 0
export async function stream(name, data, step, signal) {
  const line = free.pop() ?? made++
  const {event_id} = await (await post(`call/${name}`, data, `${session}.${line}`)).json()
  const reader = (await ask(`call/${name}/${event_id}`, {signal})).body.getReader(), decoder = new TextDecoder()
  let text = '', last
  for (;;) {
    let part
    try { part = await reader.read() } catch { throw new Offline('cut off') }
    if (part.done) throw new Offline('cut off')
    text += decoder.decode(part.value, {stream: true})
    const events = text.split('\n\n')
    text = events.pop()
    for (const event of events) {
      const kind = /^event: (.*)$/m.exec(event)?.[1], body = /^data: (.*)$/m.exec(event)?.[1]
      if (kind === 'error') throw new Broken(body || 'an error')
      if (kind !== 'generating' && kind !== 'complete') continue
      const value = JSON.parse(body)?.[0]
      if (value?.busy) throw Object.assign(new Offline('busy'), {busy: true})
      if (value?.turn) step(last = value)
      if (kind === 'complete' && last && !last.done) throw new Offline('cut off')  // the server ends
      if (kind === 'complete') { free.push(line); return last }
    }
  }
}

export async function upload(file) {  // a picture; returns what names it
  const form = new FormData()
  form.append('files', file, file.name || 'picture.png')
  const [path] = await (await ask('upload', {method: 'POST', body: form})).json()
  return {path, meta: {_type: 'gradio.FileData'}}
}

export const fileUrl = path => path && new URL(`file=${path.split('/').map(encodeURIComponent).join('/')}`, API).href
