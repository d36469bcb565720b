"Gradio's page of widgets at /lab, in headless Chromium, on the real server with an engine that speaks from a script."
import os, shutil, threading, time
from pathlib import Path
import pytest
from PIL import Image
from sciencetutor.engine.protocol import AnyEngine
from sciencetutor.app.turns import Turn
from sciencetutor.app.core import (Page, PageSettings, PageTurn, bars, chat_messages, no_pictures, pick_examples,
                                    throttle)
from sciencetutor.app.views import TEXTS
from sciencetutor.serve.core import Server, open_port

T = TEXTS['en']
# Gradio's client can lose an event sent while the stream of the one before closes: its own stream is never opened.
WIDGETS = pytest.mark.flaky(reruns=2, only_rerun='TimeoutError')
pytestmark = WIDGETS
SOLID = "Which of these is a solid?\nA. a glass of milk\nB. a rock\nC. the air in a balloon"

class Script(AnyEngine):
    "Says the same words to everybody, a word at a time; certain words in a question make it fail or be slow."
    words = ("A rock keeps its shape wherever you put it. Milk takes the shape of its glass. $$E = m c^2$$ "
             "![x](http://example.com/x.png) <img src='http://example.com/y.png'> Finis coronat.").split(' ')
    def __init__(self): self.stops, self.asked, self.running, self.waiting, self.name = {}, [], 0, 0, 'script'
    def score(self, messages, choices, images=(), request=None):
        self.asked.append((messages, list(images)))
        p = [1, *[6 if i == 1 else 1 for i in range(1, len(choices))]]
        return [x/sum(p) for x in p]
    def generate(self, messages, images=(), request=None, **kw):
        self.asked.append((messages, list(images)))
        text = messages[-1]['content'][-1]['text'].rpartition('Question:')[2]  # without the notes from the cards
        if 'explode' in text: raise RuntimeError('a bug')
        stop = self.stops[request] = threading.Event()
        self.running += 1
        try:
            for w in self.words*(20 if 'slow' in text else 1):
                if stop.wait(.1 if 'slow' in text else .01): return
                yield w+' '
        finally: self.running -= 1
    def cancel(self, request=None):
        for r in list(self.stops) if request is None else [request]:
            if r in self.stops: self.stops[r].set()

# Without a browser

def test_texts_have_the_same_keys(): assert all(t.keys() == T.keys() for t in TEXTS.values())

def test_bars_escape():
    html = bars(Turn('q', ['<script>alert(1)</script>', 'a "quoted" & b'], probs=[.5, .5]), T)
    assert '<script' not in html and '&quot;quoted&quot; &amp; b' in html and '\n\n' not in html

def test_show_is_a_conversation():
    turns = [PageTurn('Which?', ['x', 'y'], probs=[.9, .1], text='Because.'), PageTurn('Why?', note='stopped'),
             PageTurn('And?')]
    msgs = chat_messages(turns, T, waiting=T['thinking'])
    assert [m['role'] for m in msgs] == ['user', 'assistant']*3
    assert 'quite sure' in msgs[1]['content'] and T['stopped'] in msgs[3]['content']
    assert T['thinking'] in msgs[5]['content']

@pytest.mark.parametrize('text,ok', [("![a](b) c", "[a](b) c"), ("<img src=x>", "img src=x>"), ("2 < 3!", "2 < 3!"),
                                     ("<  ImG src=x>", "  ImG src=x>")])
def test_no_pictures(text, ok): assert no_pictures(text) == ok

def test_examples_differ():
    ex = pick_examples(4)
    assert len({p['skill'] for p in ex}) == 4 and [p['image'] is not None for p in ex] == [True, False]*2
    assert all(p['split'] == 'test' for p in ex)

def test_pace():
    assert list(throttle(range(100), every=60))[-1] == 99 and len(list(throttle(range(100), every=60))) <= 2
    assert list(throttle(range(5), every=0)) == [0, 1, 2, 3, 4] and list(throttle([])) == []

@pytest.mark.parametrize('uri', ['x', '/etc/passwd', 'http://x/y.png', 'data:image/png,abc', 'data:image/png;base64,a',
                                 'data:text/plain;base64,YQ=='])
def test_data_uri(uri):
    page = Page(Script(), PageSettings(examples=0))
    assert [s['note'] for s in page.api_ask('What?', picture=uri)][-1] == T['bad_picture'] and not page.engine.asked

@pytest.mark.parametrize('state, waiting, key', [
    ('asleep', 0, 'waking'), ('waking', 3, 'waking'), ('ready', 3, 'waiting'), ('ready', 0, 'thinking')])
def test_a_question_that_needs_the_model_says_what_it_waits_for(state, waiting, key):
    from types import SimpleNamespace as NS
    page, shown = Page(Script(), PageSettings(examples=0)), []
    page.engine.state, page.engine.waiting, page.chat_view = state, waiting, NS(chat_id='chat')
    page.action_updates = lambda *_, **__: {}
    page.chat_updates = lambda turns, busy=False, waiting='', **_: shown.append(waiting) or {}
    for _ in page.stream(PageTurn('Which?', ['a', 'b']), [], None, NS(session_hash='s', username=None)): pass
    assert shown[0] == T[key]

INDEX = object()  # stands for solved questions with pictures

@pytest.mark.parametrize('words_only,memory,choices,picture,ignored', [
    (True, None, [], True, True), (True, INDEX, [], True, True), (True, INDEX, ['a', 'b'], True, False),
    (True, None, ['a', 'b'], True, True), (False, None, [], True, False), (True, None, [], False, False),
    (None, None, [], True, False)])
def test_a_picture_that_is_not_looked_at(words_only, memory, choices, picture, ignored):
    from types import SimpleNamespace as NS
    from sciencetutor.models.core import WORDS_ONLY
    engine = Script()
    if words_only is not None:
        engine.processor = NS(chat_template=WORDS_ONLY if words_only else 'with pictures')
        engine.model = NS(knn_index=memory)
    page = Page(engine, PageSettings(examples=0))
    turn = PageTurn('What is this?', choices, Image.new('RGB', (9, 9)) if picture else None)
    page.admit(turn, user := page.store.user(None), None)
    for _ in page.answer(turn, [], 's'): pass
    assert (T['blind'] in chat_messages([turn], T)[1]['content']) == ignored and turn.text
    chat = page.store.history(user['id'])[0]['id']
    again = page.turn_of(page.store.messages(user['id'], chat)[0], page.session_folder('x'))
    assert again.picture_ignored == ignored  # found again, it says so again

# With one

def browser_path():
    found = map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))
    return next(filter(None, found), None)

def note_other_hosts(page, url, other):
    "Collect the addresses of requests that leave for another host than `url`."
    ours = (url, 'data:', 'blob:')
    page.on('request', lambda r: other.append(r.url) if not r.url.startswith(ours) else None)

def as_adult(page):
    "Give the grown-ups' PIN in a page's browser, the first time as a new one."
    page.evaluate("""() => fetch('/gradio_api/run/class_open', {
        method: 'POST', headers: {'content-type': 'application/json'},
        body: JSON.stringify({data: ['2580', ''], session_hash: 'adult'})}).then(r => r.json())""")

@pytest.fixture(scope='module')
def browser():
    sync = pytest.importorskip('playwright.sync_api', reason='the package playwright is missing')
    if not (path := browser_path()): pytest.skip('no chromium on this machine')
    with sync.sync_playwright() as p:
        b = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield b
        b.close()

@pytest.fixture(scope='module')
def engine(): return Script()

@pytest.fixture(scope='module')
def server(engine):
    with Server(engine, open_port('127.0.0.1', 0)) as s: yield s

@pytest.fixture
def visit(browser, server):
    "A function that opens the page; every request that leaves for another host fails the test."
    contexts, other = [], []
    def open_page(width=1280, height=800, scheme='light', lang='en'):
        c = browser.new_context(viewport=dict(width=width, height=height), color_scheme=scheme, locale=lang)
        contexts.append(c)
        page = c.new_page()
        page.set_default_timeout(60_000)
        note_other_hosts(page, server.url, other)
        page.goto(f'{server.url}/lab')
        page.wait_for_selector('#box textarea')
        page.wait_for_selector('#chat .example')
        return page
    yield open_page
    for c in contexts: c.close()
    assert not other

def send(page, text):
    page.fill('#box textarea', text)
    page.press('#box textarea', 'Enter')

def last(page): return page.locator('#chat .bot.message').last
def finished(page):
    box, button = "document.querySelector('#box textarea')", "document.querySelector('#box .submit-button')"
    page.wait_for_function(f"{box}.value == '' && {button}")
    page.wait_for_timeout(200)

def attach(page, path):
    with page.expect_response('**/upload*'): page.set_input_files('#box input[type=file]', str(path))
    page.wait_for_selector('#box .thumbnail-item')
    page.wait_for_timeout(200)

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width,height', [(1280, 800), (390, 844)])
def test_ask_with_choices(visit, width, height, scheme, tmp_path):
    page = visit(width, height, scheme)
    color = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0,3)"
    dark = page.evaluate(f"{color}.reduce((a,b)=>a+ +b,0) < 300")
    assert dark == (scheme == 'dark')
    send(page, SOLID)
    page.wait_for_selector('.st-choice')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    assert page.locator('.st-choice').count() == 3 and 'a rock' in page.locator('.st-best').inner_text()
    assert '75%' in page.locator('.st-best').inner_text()
    assert last(page).locator('.katex').count() == 1 and last(page).locator('img').count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    box = page.locator('#box').bounding_box()
    assert box['y']+box['height'] <= height and box['x'] >= 0 and box['x']+box['width'] <= width
    if folder := os.environ.get('SCREENSHOTS'):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f'{folder}/{width}-{scheme}.png')

def test_choices_are_recognised_while_typing(visit):
    page = visit()
    page.fill('#box textarea', SOLID)
    page.wait_for_selector('.st-chip')
    assert page.locator('.st-chip').all_inner_texts() == ['A a glass of milk', 'B a rock', 'C the air in a balloon']
    page.fill('#box textarea', 'Why?')
    page.wait_for_selector('.st-chip', state='detached')

def test_example(visit, engine):
    page = visit()
    page.locator('#chat .example').first.click()
    page.wait_for_selector('.st-choice')
    page.locator('#chat .user.message img').wait_for()
    finished(page)
    assert engine.asked[-1][1] and engine.asked[-1][0][0]['content'][0] == dict(type='image')

def test_upload_and_follow_up(visit, engine, tmp_path):
    Image.new('RGB', (300, 200), 'teal').save(tmp_path/'teal.png')
    page = visit()
    attach(page, tmp_path/'teal.png')
    send(page, 'What colour is this?')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    assert engine.asked[-1][1][0].size == (300, 200)
    page.locator('#chat .user.message img').first.wait_for()
    send(page, 'And why?')
    page.wait_for_function("document.querySelectorAll('#chat .bot.message').length == 2")
    page.get_by_text('Finis coronat.').nth(1).wait_for()
    finished(page)
    asked_of, pictures = engine.asked[-1]
    assert [m['role'] for m in asked_of] == ['user', 'assistant', 'user'] and len(pictures) == 1

PASTE = """async () => {
  const c = document.createElement('canvas'); c.width = 60; c.height = 40; c.getContext('2d').fillRect(0, 0, 30, 40)
  const blob = await new Promise(r => c.toBlob(r, 'image/png')), data = new DataTransfer()
  data.items.add(new File([blob], 'pasted.png', {type: 'image/png'}))
  const pasted = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})
  document.querySelector('#box textarea').dispatchEvent(pasted)}"""

def test_pasted_picture(visit, engine):
    page = visit()
    page.focus('#box textarea')
    with page.expect_response('**/upload*'): page.evaluate(PASTE)
    page.wait_for_selector('#box .thumbnail-item')
    page.wait_for_timeout(200)
    page.press('#box textarea', 'Enter')
    page.get_by_text('Finis coronat.').wait_for()
    assert engine.asked[-1][1][0].size == (60, 40)
    assert T['picture_only'] in page.locator('#chat .user.message').last.inner_text()

def test_not_a_picture(visit, tmp_path):
    (tmp_path/'words.png').write_text('these are words')
    page = visit()
    attach(page, tmp_path/'words.png')
    send(page, 'What is this?')
    page.get_by_text(T['bad_picture']).wait_for()
    finished(page)

def test_stop(visit, engine):
    page = visit()
    send(page, 'Be slow')
    page.get_by_text('Milk takes').first.wait_for()
    page.click('#box .stop-button')
    page.get_by_text(T['stopped']).wait_for()
    finished(page)
    assert 'A rock keeps' in last(page).inner_text() and not engine.running
    send(page, 'Again')
    page.get_by_text('Finis coronat.').wait_for()

def test_new_chat_while_writing(visit, engine):
    page = visit()
    send(page, 'Be slow')
    page.get_by_text('A rock').first.wait_for()
    page.click('#new')
    page.wait_for_selector('#chat .example')
    finished(page)
    page.wait_for_timeout(600)
    assert page.locator('#chat .message').count() == 0 and not engine.running
    send(page, 'Again')
    page.get_by_text('Finis coronat.').wait_for()
    assert len(engine.asked[-1][0]) == 1

def test_two_children(visit, engine):
    ada, bob = visit(), visit()
    send(ada, 'Be slow, ada')
    send(bob, 'Be slow, bob')
    for page in (ada, bob): page.get_by_text('A rock').first.wait_for()
    ada.click('#box .stop-button')
    ada.get_by_text(T['stopped']).wait_for()
    before = len(last(bob).inner_text())
    bob.wait_for_timeout(1000)
    assert len(last(bob).inner_text()) > before and 'ada' not in bob.locator('#chat').inner_text()
    assert engine.running == 1
    bob.close()
    end = time.time()+20
    while engine.running and time.time() < end: ada.wait_for_timeout(100)
    assert not engine.running

def test_a_bug_is_told_kindly(visit, capfd):
    page = visit()
    send(page, 'explode')
    page.get_by_text(T['broken']).wait_for()
    finished(page)
    assert 'RuntimeError' in capfd.readouterr().err and 'RuntimeError' not in page.locator('body').inner_text()

def test_too_much(visit):
    page = visit()
    send(page, 'why '*2000)
    page.get_by_text(T['too_long']).wait_for()

def test_nothing_asked(visit):
    page = visit()
    send(page, '   ')
    page.wait_for_timeout(500)
    assert page.locator('#chat .example').count() and page.locator('#box .submit-button').count()

def test_keyboard_alone(visit):
    page = visit()
    page.keyboard.type('Why?')
    page.keyboard.press('Enter')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    page.keyboard.type('first')
    page.keyboard.press('Shift+Enter')
    page.keyboard.type('second')
    assert page.input_value('#box textarea') == 'first\nsecond'
    for _ in range(30):
        page.keyboard.press('Shift+Tab')
        if page.evaluate("document.activeElement.id") == 'new': break
    page.keyboard.press('Enter')
    page.wait_for_selector('#chat .example')

def test_markup_in_a_question_is_harmless(visit):
    page = visit()
    send(page, "Is <script>document.title='x'</script><b onclick='y'>2 < 3</b>? ![z](http://example.com/z.png)")
    page.get_by_text('Finis coronat.').wait_for()
    assert page.title() == T['title']
    assert page.locator('#chat .user.message [onclick], #chat .user.message img').count() == 0
