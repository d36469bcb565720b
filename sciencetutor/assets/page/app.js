// The frame of the page: where one is, the earlier chats, the look, and whether the server is there.

import {button, dialog, el, icon, iconButton, logo, menu, save, say} from './dom.js'
import {Offline, call, connect, isOnline, onConnection} from './server.js'
import {currentChat, isBusy, makeAsk, openChat, readsAloud} from './ask.js'
import {canRead} from './speech.js'
import {LANGUAGES, chooseLanguage, language, loadWords, t} from './words.js'

const app = {settings: {}, go, replace, changed}
let main, list, search, banner, chats = []
const views = {}

function go(hash) { if (location.hash !== hash) location.hash = hash; else show() }
function replace(hash) { history.replaceState(null, '', hash); mark() }

const other = 'BroadcastChannel' in window ? new BroadcastChannel('sciencetutor') : null
function changed(chat) {  // in this tab: the list and the other tabs hear of it
  other?.postMessage(chat)
  loadChats()
}
other?.addEventListener('message', e => { loadChats(); if (e.data && e.data === currentChat() && !isBusy()) openChat(e.data, true) })

// ---- the look

function theme(next) {
  const order = ['auto', 'light', 'dark'], now = localStorage.getItem('theme') || 'auto'
  const chosen = next ? order[(order.indexOf(now)+1) % 3] : now
  localStorage.setItem('theme', chosen)
  if (chosen === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = chosen
  return chosen
}

// ---- earlier chats

async function loadChats() {
  try { chats = await call('chat_list', search.value) } catch { return }
  drawChats()
}

function dayOf(seconds) {
  const days = Math.floor((new Date().setHours(0, 0, 0, 0) - new Date(seconds*1000).setHours(0, 0, 0, 0))/864e5+.5)
  return days <= 0 ? t('today') : days === 1 ? t('yesterday') : days < 7 ? t('this_week') : t('earlier')
}

function drawChats() {
  const parts = []
  let day = ''
  for (const c of chats) {
    if (dayOf(c.updated) !== day) parts.push(el('h2', {class: 'day'}, day = dayOf(c.updated)))
    const acts = iconButton('dots', t('chat_menu', {title: c.title}), () => menu(acts, [
      ['pen', t('rename'), () => rename(c)], ['box', t('export_md'), () => download(c, 'md')],
      ['box', t('export_json'), () => download(c, 'json')], ['close', t('delete'), () => remove(c)]]), {'aria-haspopup': 'menu', 'aria-expanded': 'false'})
    parts.push(el('div', {class: 'chat-row', 'data-chat': c.id}, el('a', {href: `#/chat/${c.id}`, title: c.title}, c.title), acts))
  }
  if (!chats.length) parts.push(el('p', {class: 'small'}, t(search.value ? 'nothing_found' : 'no_chats')))
  list.replaceChildren(...parts)
  mark()
}

const attempt = async work => { try { return await work() } catch (e) { say(e instanceof Offline ? t('reconnecting') : t('not_saved')) } }

async function rename(c) {
  const input = el('input', {value: c.title, maxlength: 60, 'aria-label': t('rename_label'), id: 'title'})
  if (await dialog(t('rename_label'), input, [[t('cancel'), '', ''], [t('rename'), 'ok', 'primary']]) !== 'ok') return
  if (await attempt(() => call('chat_rename', c.id, input.value)) === false) say(t('not_saved'))
  changed(c.id)
}

async function remove(c) {
  if (await dialog(t('delete_chat'), el('p', {}, c.title), [[t('cancel'), '', ''], [t('delete'), 'ok', 'danger']]) !== 'ok') return
  if (await attempt(() => call('chat_delete', c.id)) === false) say(t('not_saved'))
  if (c.id === currentChat()) go('#/')
  changed('')
}

async function download(c, kind) {
  const file = await attempt(() => call('chat_save', c.id, kind))
  if (file?.uri) save(file)
}

// ---- where one is

const route = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent)

function mark() {
  const [where, id] = route(), place = where === 'chat' || !where ? 'ask' : where === 'quiz' ? 'practise' : where
  for (const a of document.querySelectorAll('[data-place]')) {
    if (a.dataset.place === place) a.setAttribute('aria-current', 'page')
    else a.removeAttribute('aria-current')
  }
  for (const row of list.querySelectorAll('.chat-row')) row.classList.toggle('on', where === 'chat' && row.dataset.chat === id)
}

async function show() {
  const [where = '', id = ''] = route()
  const name = {'': 'ask', chat: 'ask', practise: 'practise', quiz: 'practise', stuff: 'stuff', grown: 'grown'}[where] || 'ask'
  if (!views[name] && name === 'practise') add(name, (await import('./practise.js')).makePractise(app))
  if (!views[name] && name === 'grown') add(name, (await import('./grown.js')).makeGrown(app))
  document.body.dataset.view = name
  for (const [key, view] of Object.entries(views)) view.node.hidden = key !== name
  mark()
  await views[name].open?.(where, id)
}

function add(name, view) { views[name] = view; if (!view.node.isConnected) main.append(view.node) }

// ---- the frame

function settingsMenu(anchor) {
  const names = {auto: 'theme_auto', light: 'theme_light', dark: 'theme_dark'}, now = localStorage.getItem('theme') || 'auto'
  menu(anchor, [
    [now === 'dark' ? 'moon' : 'sun', t(names[now]), () => say(t(names[theme(true)]))],
    ...(canRead() ? [['speaker', t(readsAloud() ? 'aloud_on' : 'aloud_off'), () => {
      localStorage.setItem('aloud', String(!readsAloud())); say(t(readsAloud() ? 'aloud_on' : 'aloud_off')) }]] : []),
    ...Object.entries(LANGUAGES).filter(([l]) => l !== language()).map(([l, name]) => ['globe', name, () => chooseLanguage(l)]),
    ...(app.settings.auth ? [['out', t('logout'), () => { location.href = 'logout' }]] : [])])
}

function frame() {
  const link = (place, href, name) => el('a', {href, 'data-place': place, class: 'nav'}, icon(name), el('span', {}, t(`go_${place}`)))
  search = el('input', {type: 'search', placeholder: t('search'), 'aria-label': t('search_label'), id: 'search',
    oninput: () => { clearTimeout(search.timer); search.timer = setTimeout(loadChats, 250) }})
  list = el('div', {class: 'chats', id: 'chats'})
  const settings = iconButton('sun', t('settings'), () => settingsMenu(settings), {'aria-haspopup': 'menu', 'aria-expanded': 'false', id: 'settings'})
  const lock = app.settings.adults && el('a', {href: '#/grown', class: 'round', 'aria-label': t('grown'), title: t('grown'), id: 'go-grown'}, icon('lock'))
  const fresh = () => el('a', {href: '#/', class: 'new', onclick: () => { if (location.hash === '#/' || !location.hash) openChat('', true) }}, icon('plus'), el('span', {}, t('new')))
  const rail = el('nav', {class: 'rail', 'aria-label': t('places')},
    el('div', {class: 'row brand'}, logo(), el('span', {class: 'name grow'}, 'ScienceTutor')),
    fresh(), link('practise', '#/practise', 'star'), el('label', {class: 'searching'}, icon('search'), search), list,
    el('div', {class: 'row foot'}, el('span', {class: 'grow small'}, app.settings.name), settings, lock))
  const head = el('header', {class: 'head'}, logo(), el('span', {class: 'name grow'}, 'ScienceTutor'),
    el('a', {href: '#/', class: 'round', 'aria-label': t('new'), title: t('new'), id: 'new-small'}, icon('plus')),
    iconButton('sun', t('settings'), e => settingsMenu(e.currentTarget), {'aria-haspopup': 'menu', 'aria-expanded': 'false'}), lock && lock.cloneNode(true))
  const tabs = el('nav', {class: 'tabs', 'aria-label': t('places')}, link('ask', '#/', 'chat'), link('practise', '#/practise', 'star'), link('stuff', '#/stuff', 'box'))
  banner = el('div', {class: 'banner', role: 'status', hidden: true}, el('span', {class: 'grow'}), button(t('retry'), connect))
  main = el('main', {id: 'main'})
  document.querySelector('#app').replaceChildren(el('a', {class: 'skip', href: '#main', onclick: e => { e.preventDefault(); main.querySelector('section:not([hidden]) textarea, section:not([hidden]) button')?.focus() }}, t('skip')),
    rail, el('div', {class: 'body'}, head, banner, main, tabs))
  const ask = makeAsk(app)
  add('ask', {node: ask, open: (where, id) => openChat(where === 'chat' ? id : '')})
  add('stuff', {node: stuff(rail), open: () => { placeChats(); loadChats() }})
  matchMedia('(max-width: 800px)').addEventListener('change', placeChats)
  placeChats()
}

let small
function stuff() {
  small = el('section', {class: 'stuff', id: 'view-stuff'}, el('h1', {}, t('go_stuff')))
  return small
}

function placeChats() {  // one list: in the rail, or on a phone on a page of its own
  const parts = [list.parentNode?.querySelector('.searching') || document.querySelector('.searching'), list]
  if (matchMedia('(max-width: 800px)').matches) small.append(...parts)
  else document.querySelector('.rail .foot').before(...parts)
}

async function begin() {
  theme()
  await loadWords()
  for (;;) try { app.settings = await call('page_settings'); break } catch (e) {
    if (!(e instanceof Offline)) { document.querySelector('#app').replaceChildren(el('p', {class: 'fatal', role: 'alert'}, t('broken'), ' ', button(t('retry'), () => location.reload()))); return }
    document.querySelector('#app').replaceChildren(el('p', {class: 'fatal', role: 'status'}, t('reconnecting')))
    await new Promise(r => setTimeout(r, 1500))
  }
  frame()
  let before = isOnline()
  onConnection((online, held) => {
    banner.hidden = online && !held
    banner.querySelector('span').textContent = t(online ? 'held' : 'reconnecting')
    banner.querySelector('button').hidden = online
    if (online && !before) loadChats()
    before = online
  })
  connect()
  addEventListener('hashchange', show)
  await show()
  loadChats()
  document.documentElement.dataset.ready = 'true'
}

begin()
