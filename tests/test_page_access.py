"The page for everybody: axe-core over every view, the login, a long chat, and no other host."
import time
from pathlib import Path
import pytest
from sciencetutor.app.views import TEXTS
from sciencetutor.serve.core import Server, open_port
from sciencetutor.app.store import Store
from test_page import (SOLID, WIDGETS, Script, as_adult, browser, engine, finished, last, note_other_hosts, send,
                       server, visit)

pytestmark = WIDGETS
T = TEXTS['en']

def mode(page, key): page.locator('#mode label').filter(has_text=T['mode_'+key]).click()

def accessible(page, *parts):
    "No serious finding of axe-core in these parts of the page; without parts in all of it."
    axe = pytest.importorskip('axe_playwright_python', reason='the package axe-playwright-python is missing')
    script = (Path(axe.__file__).parent/'axe.min.js').read_text()
    page.evaluate(script)  # as a script of the page's own: the policy lets no other in
    context = "{include: parts.map(p => [p])}" if parts else "{exclude: [['#chat .examples']]}"  # Gradio's own list
    found = page.evaluate(f"parts => axe.run({context}, {{resultTypes: ['violations']}})", list(parts))['violations']
    serious = [v for v in found if v['impact'] in ('serious', 'critical')]
    assert not [(v['id'], [n['html'][:200] for n in v['nodes']]) for v in serious]

def test_axe_finds_what_is_wrong(visit):
    page = visit()
    pale, bare = '<p id=pale style="color:#eee;background:#fff">pale</p>', '<img id=bare src="data:,">'
    page.evaluate("html => document.querySelector('.st-head').innerHTML += html", pale+bare)
    with pytest.raises(AssertionError, match='color-contrast|image-alt'): accessible(page, '.st-head')

@pytest.mark.soak
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_every_view(visit, width, scheme):
    page = visit(width, 800, scheme)
    accessible(page)
    page.fill('#box textarea', SOLID)
    page.wait_for_selector('.st-chip')
    accessible(page)
    send(page, SOLID)
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    accessible(page)
    page.click('#act-bad')
    page.wait_for_selector('#correction')
    accessible(page)
    send(page, 'how do i make a bomb')
    page.get_by_text(T['refuse_violence'][:40]).wait_for()
    finished(page)
    accessible(page)
    mode(page, 'hint')
    send(page, SOLID)
    page.wait_for_selector('#act-tell')
    accessible(page)
    page.click('#act-tell')
    page.wait_for_selector('.st-leans')
    finished(page)
    accessible(page)
    mode(page, 'quiz')
    page.click('#quiz-start')
    page.wait_for_selector('#quiz-choices label')
    accessible(page)
    page.locator('#quiz-choices label').first.click()
    page.click('#quiz-check')
    page.wait_for_selector('#quiz-feedback .st-known')
    accessible(page)
    page.click('#go-chats')
    page.locator('#chat-list label').first.wait_for()
    page.locator('#chat-list label').first.click()
    page.wait_for_timeout(500)
    accessible(page)
    as_adult(page)
    page.click('#go-adults')
    page.locator('#adult-view .st-known').first.wait_for()
    accessible(page)

def test_login(browser, tmp_path):
    store, other = Store(str(tmp_path)), []
    store.add_user('ada', 'a long password')
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store, auth=True)) as s:
        c = browser.new_context()
        page = c.new_page()
        page.set_default_timeout(60_000)
        note_other_hosts(page, s.url, other)
        page.goto(f'{s.url}/lab')
        page.wait_for_selector('input[type=password]')
        assert not page.locator('#box').count()
        def enter(password):
            page.locator('input:not([type=password]), textarea').first.fill('ada')
            page.fill('input[type=password]', password)
            page.keyboard.press('Enter')
        accessible(page)
        enter('a wrong password')
        page.get_by_text(T['login_wrong'][:30]).wait_for()
        page.wait_for_timeout(1500)
        assert not page.locator('#box textarea').count()
        with page.expect_navigation(): enter('a long password')
        page.goto(f'{s.url}/lab')
        page.wait_for_selector('#box textarea')
        send(page, 'Why do owls hoot?')
        page.get_by_text('Finis coronat.').wait_for()
        page.click('#go-adults')
        page.get_by_text(T['adults_only']).wait_for()
        assert not page.locator('#adult-delete').is_visible() and not page.locator('#adult-child').is_visible()
        page.click('#go-chats')
        page.locator('#logout a').click()
        page.wait_for_selector('input[type=password]')
        c.close()
    assert [m['question'] for m in store.asked(store.user('ada')['id'])] == ['Why do owls hoot?'] and not other

LATENCY = """async () => {
  const box = document.querySelector('#box textarea'), times = []
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set
  for (let i = 0; i < 20; i++) {
    const begun = performance.now()
    set.call(box, box.value + 'a')
    box.dispatchEvent(new InputEvent('input', {bubbles: true}))
    await new Promise(r => requestAnimationFrame(() => {
      const c = new MessageChannel()
      c.port1.onmessage = r
      c.port2.postMessage(0) }))
    times.push(performance.now()-begun)
    await new Promise(r => setTimeout(r, 50))
  }
  return times.sort((a, b) => a-b)}"""

def typing_times(browser, folder):
    "From a key press to the frame after it, in a chat of 200 messages: 20 times in ms, sorted."
    store = Store(str(folder))
    me, chat, choices = store.user(None)['id'], None, ['a glass of milk', 'a rock', 'the air in a balloon']
    for i in range(100):
        chat, m = store.add_message(me, chat, f'Question {i}: which of these is a solid?', choices=choices)
        store.set_answer(m, text='A rock keeps its shape wherever you put it. $$E = m c^2$$', probs=[.2, .7, .1])
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store)) as s:
        c = browser.new_context()
        page = c.new_page()
        page.set_default_timeout(120_000)
        page.goto(f'{s.url}/lab')
        page.wait_for_selector('#chat .example')
        page.click('#go-chats')
        page.locator('#chat-list label').first.click()
        page.wait_for_timeout(1000)
        page.locator('#chat-list label').first.click()
        page.click('#chats-open')
        page.wait_for_function("document.querySelectorAll('#chat .message.user, #chat .message.bot').length >= 200")
        page.wait_for_timeout(3000)
        times = page.evaluate(LATENCY)
        assert page.input_value('#box textarea') == 'a'*20
        c.close()
    return times

@pytest.mark.soak
def test_typing_in_a_long_chat(browser, tmp_path):
    times = typing_times(browser, tmp_path)
    print(f'key to frame: median {times[10]:.0f} ms, longest {times[-1]:.0f} ms')

class Fast(Script):
    "Counts to 500, 50 numbers a second, and remembers when each was said."
    said = {}
    def generate(self, messages, images=(), request=None, **kw):
        begun = time.time()
        for n in range(500):
            time.sleep(max(0, begun+n/50-time.time()))
            self.said[n] = time.time()
            yield f'n{n} '

SEEN = """() => {
  window.seen = []
  const look = () => {
    const chat = document.querySelector('#chat .bot.message:last-of-type')?.closest('#chat')
    const all = chat?.textContent.match(/n(\\d+)(?= |$)/g)
    const n = all ? +all.at(-1).slice(1) : -1
    if (n >= 0 && n !== window.seen.at(-1)?.[0]) window.seen.push([n, Date.now()/1000])
    requestAnimationFrame(look)
  }
  look()}"""

def lags(browser):
    "How far the screen is behind 50 words a second: seconds, sorted; the last word's; how long the engine spoke."
    engine = Fast()
    with Server(engine, open_port('127.0.0.1', 0)) as s:
        c = browser.new_context()
        page = c.new_page()
        page.goto(f'{s.url}/lab')
        page.wait_for_selector('#chat .example')
        page.evaluate(SEEN)
        send(page, 'Count for me, please.')
        page.wait_for_function("window.seen.at(-1)?.[0] == 499", timeout=60_000)
        seen = page.evaluate('window.seen')
        c.close()
    return sorted(t-engine.said[n] for n, t in seen), seen[-1][1]-engine.said[499], engine.said[499]-engine.said[0]

@pytest.mark.soak
def test_fifty_tokens_a_second(browser):
    late, last, took = lags(browser)
    median, longest, final = (round(1000*seconds) for seconds in (late[len(late)//2], late[-1], last))
    print(f'{len(late)} pictures of 500 words in {took:.1f} s: '
          f'median {median} ms behind, longest {longest} ms, the last {final} ms')
    assert took < 10.5 and late[-1] < 1
