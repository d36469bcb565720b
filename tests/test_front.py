"Our own front end in headless Chromium, against the real server with an engine that speaks from a script."
import hashlib, os, re, time
from pathlib import Path
import pytest
from PIL import Image
from sciencetutor.app.store import Store
from sciencetutor.app.views import TEXTS
from sciencetutor.serve.core import Server, open_port
from test_page import PASTE, SOLID, Script, browser, note_other_hosts

T = TEXTS['en']
FRONT = '/'
PLACES = re.compile(r'\{\w+\}').findall
PAGE = Path(__file__).parent.parent/'sciencetutor/assets/page'
SIZES = pytest.mark.parametrize('width,height,scheme', [(1280, 800, 'light'), (390, 844, 'dark'), (390, 844, 'light'),
                                                        (1280, 800, 'dark'), (844, 390, 'light')])

class Teacher(Script):
    "A `Script` that is sure of the second choice."
    def score(self, messages, choices, images=(), request=None):
        self.asked.append((messages, list(images)))
        return [.95 if i == 1 else .05/(len(choices)-1) for i in range(len(choices))]

    hurry = False  # a snail waits for that in the middle of its answer
    def generate(self, messages, images=(), request=None, **kw):
        for i, word in enumerate(super().generate(messages, images, request, **kw)):
            snail = 'snail' in str(messages) and not self.hurry
            if snail: time.sleep(.06)  # so that every word is shown
            while snail and i == 12 and not (self.hurry or self.stops[request].wait(.05)): pass
            yield word

@pytest.fixture(scope='module')
def shared_engine(): return Teacher()

@pytest.fixture
def engine(shared_engine):
    shared_engine.hurry = False
    yield shared_engine
    while shared_engine.running:
        shared_engine.cancel()
        time.sleep(.05)

@pytest.fixture(scope='module')
def server(shared_engine):
    with Server(shared_engine, open_port('127.0.0.1', 0)) as s: yield s

def opened(browser, url, width=1280, height=800, scheme='light', path=FRONT, **kw):
    "A page that is ready; what it says wrongly is noted in `page.wrong`."
    c = browser.new_context(viewport=dict(width=width, height=height), color_scheme=scheme, **dict(locale='en') | kw)
    page = c.new_page()
    page.wrong = []
    page.set_default_timeout(60_000)
    page.on('pageerror', lambda e: page.wrong.append(str(e)))
    page.on('console', lambda m: page.wrong.append(m.text) if 'Content Security' in m.text else None)
    page.goto(url+path)
    page.wait_for_selector('html[data-ready]')
    return page

@pytest.fixture
def visit(browser, server):
    "A function that opens the page; a request to another host, an error and a breach of the policy fail the test."
    pages, other = [], []
    def open_page(*args, **kw):
        pages.append(page := opened(browser, server.url, *args, **kw))
        note_other_hosts(page, server.url, other)
        return page
    yield open_page
    for page in pages: page.context.close()
    assert not other and not [w for p in pages for w in p.wrong]

def send(page, text):
    page.fill('#box', text)
    page.press('#box', 'Enter')

def answered(page, n=1):
    "The card of the n-th turn, once it is written."
    page.wait_for_selector(f'.turn:nth-child({n}) .acts')
    page.wait_for_selector('#stop', state='hidden')
    page.wait_for_timeout(500)
    return page.locator(f'.turn:nth-child({n}) .card')

def ask(page, text, n=1):
    send(page, text)
    return answered(page, n)

def in_view(page, *selectors):
    "Whether all of these can be seen whole, and nothing lies over them."
    for s in selectors:
        box = page.locator(s).last.bounding_box()
        size = page.viewport_size
        assert box and box['x'] >= 0 and box['y'] >= 0, s
        assert box['x']+box['width'] <= size['width'] and box['y']+box['height'] <= size['height'], (s, box)
        seen = page.evaluate("""([s, x, y]) => {
            const n = [...document.querySelectorAll(s)].at(-1), at = document.elementFromPoint(x, y)
            return n.contains(at) || at?.contains(n) }""",
                             [s, box['x']+box['width']/2, box['y']+min(box['height']/2, 8)])
        assert seen, s

def fits(page): return page.evaluate("document.documentElement.scrollWidth <= innerWidth")

def accessible(page):
    "No serious finding of axe-core."
    axe = pytest.importorskip('axe_playwright_python', reason='the package axe-playwright-python is missing')
    page.wait_for_timeout(300)  # colours that change slowly
    page.evaluate((Path(axe.__file__).parent/'axe.min.js').read_text())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")['violations']
    serious = [v for v in found if v['impact'] in ('serious', 'critical')]
    assert not [(v['id'], [(n['html'][:160], n['any'][:1]) for n in v['nodes'][:4]]) for v in serious]

def large_enough(page):
    "Whether all that can be pressed is 44 pixels wide and high."
    small = page.evaluate("""() => [...document.querySelectorAll('button, a, select, summary, input')]
        .filter(n => n.checkVisibility() && n.type != 'file')
        .map(n => [n.outerHTML.slice(0, 80), n.getBoundingClientRect()])
        .filter(([, r]) => r.width && (r.height < 43.5 || r.width < 43.5) && r.top > -1).map(([h]) => h)""")
    assert not small

def shot(page, name):
    if folder := os.environ.get('SCREENSHOTS'):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/front-{name}-{page.viewport_size['width']}.png")

# The files

def test_the_page_is_small_and_its_own():
    files = [f for f in PAGE.rglob('*') if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 400_000
    html = (PAGE/'index.html').read_text()
    assert '<style' not in html and not re.search(r'<script(?![^>]*src=)|\son\w+=|https?://', html)
    ours = ''.join(f.read_text() for f in files if f.suffix == '.js' and f.parent == PAGE)
    assert 'innerHTML' not in ours and 'insertAdjacentHTML' not in ours and 'document.write' not in ours
    temml = hashlib.sha256((PAGE/'vendor/temml.min.js').read_bytes()).hexdigest()
    assert temml == '1ab19148afe0dbc836b7a74f344071b3f3a70a7a8259ae4049e76894fcdf8d95'  # temml 0.13.5 of npm

def test_every_word_is_in_the_tables():
    import json
    ours = ''.join(f.read_text() for f in PAGE.glob('*.js'))
    tables = {f.stem: json.loads(f.read_text()) for f in (PAGE/'lang').glob('*.json')}
    either = re.findall(r"\bt\([^()]*\? '(\w+)' : '(\w+)'", ours)
    used = set(re.findall(r"\bt\('(\w+)'", ours)) | {k for pair in either for k in pair}
    assert used and not used-set(tables['en'])
    assert set(re.findall(r"(\w+): '", re.search(r'LANGUAGES = {(.*)}', ours)[1])) == set(tables) >= {'en', 'es', 'fr'}
    for table in tables.values():
        assert table.keys() == tables['en'].keys()
        assert all(sorted(PLACES(table[k])) == sorted(PLACES(words)) for k, words in tables['en'].items())
        assert all(words for k, words in table.items() if k not in ('english_only', 'refused_show'))
    for name in 'es', 'fr':
        same = [k for k, words in tables[name].items() if words == tables['en'][k] and ' ' in words]
        asked = {'seen_begin', *(k for k in same if re.fullmatch(r'seen_\w+_in', k))}  # asked in English
        alike = {'read_number'} if name == 'fr' else set()  # `Question {n}` is French, too
        assert set(same) <= asked | alike | {'example_1', 'example_2', 'example_3', 'picture_only', 'paper_own_how'}
        assert tables[name]['english_only'] and tables[name]['refused_show']

def test_what_the_server_says_is_known_to_the_tables():
    import json
    en = json.loads((PAGE/'lang/en.json').read_text())
    levels = {f'tutor_level_{k}': v for k, v in T['levels'].items()}
    own = {f'tutor_{k}': v for k, v in T.items() if isinstance(v, str)} | levels
    assert all(own[k] == v for k, v in en.items() if k in own) and levels.items() <= en.items()
    server = ''.join((PAGE.parent.parent/f'app/{f}.py').read_text() for f in ('store', 'logins'))
    for k in 'tutor_tries', 'tutor_pin_digits', 'tutor_pin_easy': assert en[k].partition('{')[0] in server

@pytest.mark.parametrize('language, hello, verdict, stopped', [
    ('es', '¿Qué te gustaría descubrir?', 'Estoy bastante seguro: a rock', 'Me has parado.'),
    ('fr', "Qu'aimerais-tu découvrir ?", 'Je suis assez sûr : a rock', "Tu m'as arrêté.")])
def test_languages(visit, language, hello, verdict, stopped):
    page = visit(locale=f'{language}-{language.upper()}')
    root = page.locator('html')
    assert (root.get_attribute('lang'), root.get_attribute('dir')) == (language, 'ltr')
    assert page.locator('h1').first.inner_text() == hello
    assert ('inglés' if language == 'es' else 'anglais') in page.locator('.careful').inner_text()
    assert page.locator('.example').first.get_attribute('lang') == 'en'
    accessible(page)
    large_enough(page)
    shot(page, f'hello-{language}')
    ask(page, SOLID)
    assert page.locator('.verdict').inner_text() == verdict
    assert page.locator('.answer').get_attribute('lang') == 'en' and fits(page)
    send(page, 'Be slow')
    page.get_by_text('Milk takes').nth(1).wait_for()
    page.click('#stop')
    page.get_by_text(stopped).wait_for()
    page.fill('#box', 'half a')
    page.click('#settings')
    page.click('.menu >> text=English')
    page.wait_for_selector('html[lang=en][data-ready] .turn')
    assert page.input_value('#box') == 'half a' and 'quite sure' in page.locator('.verdict').first.inner_text()
    page.reload()
    page.wait_for_selector('html[lang=en][data-ready]')

def test_plurals_and_refusals_in_another_language(visit):
    page = visit(390, 844, locale='fr')
    said = page.evaluate("""async () => {
        const {t, local} = await import('/page/words.js'), cards = n => t('cards_n', {n})
        return [cards(0), cards(1), cards(2), t('week_label', {minutes: 1}),
                local('perhaps: violence'), local('3 of 4'), local('a bit of this'),
                local('Too many tries: try again in 3 minutes.')] }""")
    assert said == ['0 fiche', '1 fiche', '2 fiches', '1 minute ces 7 derniers jours', 'peut-être : violence',
                    '3 sur 4', 'a bit of this', "Trop d'essais : réessayez dans 3 minutes."]
    send(page, 'kill myself')
    page.locator('.refused', has_text='Montre ceci maintenant').wait_for()
    assert page.locator('.refused [lang=en]').count() == 1
    send(page, 'my phone number is 555 123 4567')
    page.get_by_text('Garde pour toi ton nom').wait_for()
    assert fits(page)

# Asking

@SIZES
def test_ask_with_choices(visit, width, height, scheme):
    page = visit(width, height, scheme)
    color = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
    dark = page.evaluate(f"{color}.reduce((a, b) => a+ +b, 0) < 300")
    assert dark == (scheme == 'dark')
    in_view(page, '#box', '.example', '#send')
    accessible(page)
    large_enough(page)
    shot(page, f'hello-{scheme}')
    card = ask(page, SOLID)
    assert 'a rock' in page.locator('.verdict').inner_text() and 'Finis coronat.' in card.inner_text()
    in_view(page, '.verdict', '.acts', '#box')
    assert card.locator('math').count() == 1 and card.locator('img').count() == 0 and fits(page)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    shot(page, f'answer-{scheme}')
    accessible(page)
    large_enough(page)
    card.locator('.bars summary').click()
    assert page.locator('.bars li').count() == 3 and '95%' in page.locator('.bars .best').inner_text()
    accessible(page)

def test_choices_are_recognised_while_typing(visit):
    page = visit()
    page.fill('#box', SOLID)
    page.wait_for_selector('.chip')
    assert page.locator('.chip').all_inner_texts() == ['A a glass of milk', 'B a rock', 'C the air in a balloon']
    page.fill('#box', 'Why?')
    page.wait_for_selector('.chip', state='detached')

def test_choices_that_come_late_and_two_questions(visit, engine):
    page = visit()
    ask(page, 'Which of these is a solid?')
    ask(page, 'A. milk\nB. a rock', 2)
    assert 'a rock' in page.locator('.turn:nth-child(2) .verdict').inner_text()
    assert 'solid' in page.locator('.turn:nth-child(2) .question').inner_text()
    send(page, '1. Which is a gas?\nA. ice\nB. air\n\n2. Which is a liquid?\nA. iron\nB. milk')
    answered(page, 4)
    assert 'air' in page.locator('.turn:nth-child(3) .verdict').inner_text()
    assert 'milk' in page.locator('.turn:nth-child(4) .verdict').inner_text()

def test_example(visit):
    page = visit()
    page.locator('.example').first.click()
    answered(page)
    assert 'sky' in page.locator('.question').inner_text()

def test_follow_ups_are_in_the_card(visit, engine):
    page = visit(390, 844)
    ask(page, 'What is hibernation?')
    page.click('.act-example')
    answered(page, 2)
    assert engine.asked[-1][0][0]['content'][-1]['text'].endswith('What is hibernation?')
    assert page.locator('.act-simpler').count() == 1  # of the last answer only
    in_view(page, '.turn.last .question', '.turn.last .acts')
    page.click('.turn.last .act-quiz')
    page.locator('.turn.last .check .choice-button').first.click()
    page.locator('.turn.last .check .judged').get_by_text(re.compile('right|Not quite')).wait_for()
    in_view(page, '.turn.last .check .judged')

@pytest.mark.parametrize('how', ['file', 'paste', 'drop'])
def test_pictures(visit, engine, tmp_path, how):
    page = visit()
    if how == 'file':
        Image.effect_noise((4000, 3000), 60).convert('RGB').save(tmp_path/'photo.jpg')
        with page.expect_request('**/upload') as r:
            page.set_input_files('#file', str(tmp_path/'photo.jpg'))
            page.wait_for_selector('.thumb img')
            send(page, 'What is this?')
        assert len(r.value.post_data_buffer or b'') < 2_000_000
    else:
        script = PASTE.replace('#box textarea', '#box')
        other = dict(ClipboardEvent='DragEvent', clipboardData='dataTransfer', paste='drop') if how == 'drop' else {}
        for old, new in other.items(): script = re.sub(rf'\b{old}\b', new, script)
        page.evaluate(script)
        page.wait_for_selector('.thumb img')
        page.press('#box', 'Enter')
    answered(page)
    size = engine.asked[-1][1][0].size
    assert size == ((60, 40) if how != 'file' else (1024, 768))
    page.wait_for_selector('.question img')
    chat = page.url
    page.goto('about:blank')
    page.goto(chat)
    page.wait_for_selector('.question img')
    assert page.evaluate("document.querySelector('.question img').naturalWidth") or page.wait_for_timeout(1000) is None
    assert page.evaluate("document.querySelector('.question img').naturalWidth") == size[0]

def test_not_a_picture(visit, tmp_path):
    (tmp_path/'words.png').write_text('these are words')
    page = visit()
    page.set_input_files('#file', str(tmp_path/'words.png'))
    page.wait_for_selector('.thumb')
    send(page, 'What is this?')
    page.get_by_text(T['bad_picture']).wait_for()

SHEET = [('1. Which of these is a solld?', .7), ('A. a glass of milk', .99), ('B. a rock', .99),
         ('2. Which is a gas?', .99), ('A. air', .99), ('B. ice', .99)]

@pytest.fixture
def sheet(monkeypatch, tmp_path):
    "A picture, and a function that says what is read in it."
    from sciencetutor.app import endpoints
    from sciencetutor.app.reading import Line
    Image.new('RGB', (60, 80), 'white').save(tmp_path/'sheet.png')
    def says(lines):
        box = lambda i: [[0, 40*i], [300, 40*i], [300, 40*i+20], [0, 40*i+20]]
        found = [Line(text, box(i), sure) for i, (text, sure) in enumerate(lines)]
        monkeypatch.setattr(endpoints, 'read_words', lambda picture: found)
    says(SHEET)
    return str(tmp_path/'sheet.png'), says

@SIZES
def test_a_worksheet_is_put_right_and_asked(visit, engine, sheet, width, height, scheme):
    page = visit(width, height, scheme)
    page.set_input_files('#file', sheet[0])
    in_view(page, '#read-words')
    assert '.heic' in page.get_attribute('#file', 'accept')
    large_enough(page)
    shot(page, f'picture-{scheme}')
    page.click('#read-words')
    page.wait_for_selector('dialog .read-all')
    assert page.locator('fieldset.read').count() == 2 and page.locator('fieldset.unsure').count() == 1
    assert page.input_value('fieldset.unsure textarea') == 'Which of these is a solld?' and fits(page)
    accessible(page)
    large_enough(page)
    shot(page, f'read-{scheme}')
    in_view(page, 'dialog button.primary')
    page.wait_for_timeout(300)
    assert not page.locator('.turn').count()  # nothing is asked before it was seen
    page.fill('fieldset.unsure textarea', 'Which of these is a solid?')
    page.fill('fieldset.read:nth-of-type(2) input >> nth=1', 'ice, which melts')
    page.click('dialog button.primary')
    answered(page, 2)
    assert [q.split('\n')[0] for q in page.locator('.turn .question').all_inner_texts()] == [
        'Which of these is a solid?', 'Which is a gas?']
    assert 'ice, which melts' in page.inner_text('.turn:nth-child(2) .question')
    assert not page.locator('.thumb').count() and not engine.asked[-1][1]

LATE = """() => { const opens = createImageBitmap  // a large photo on a small phone
  window.createImageBitmap = async (...a) => { await new Promise(r => setTimeout(r, 700)); return opens(...a) } }"""

def test_a_picture_sent_alone_is_read_first(visit, sheet):
    page = visit()
    page.evaluate(LATE)
    page.set_input_files('#file', sheet[0])
    page.press('#box', 'Enter')
    page.wait_for_selector('dialog .read-all')
    page.click('fieldset.read:nth-of-type(2) [aria-label="Leave this question out"]')
    page.keyboard.press('Escape')
    page.wait_for_selector('dialog', state='detached')
    assert page.locator('.thumb').count() == 1 and not page.locator('.turn').count()  # nothing is lost, nothing asked
    page.click('#read-words')
    page.click('fieldset.read:nth-of-type(1) [aria-label="Leave this question out"]')
    page.click('dialog button.primary')
    answered(page)
    assert page.locator('.turn').count() == 1 and 'Which is a gas?' in page.inner_text('.turn .question')

def test_words_without_a_question_and_no_words(visit, sheet):
    page = visit()
    page.set_input_files('#file', sheet[0])
    sheet[1]([('stem', .9), ('root', .9)])
    page.click('#read-words')
    page.wait_for_selector('dialog .read-all')
    assert page.input_value('fieldset.read textarea') == 'stem root'
    page.keyboard.press('Escape')
    sheet[1]([])
    page.click('#read-words')
    page.get_by_text('I see no words in this picture.').wait_for()
    sheet[1](SHEET)
    page.set_input_files('#file', sheet[0])
    send(page, 'Which is a solid?')  # who writes is not asked what the picture says
    answered(page)
    assert not page.locator('dialog').count()

def test_what_a_grown_up_installs(visit, sheet, monkeypatch):
    from sciencetutor.app import endpoints, reading
    monkeypatch.setattr(endpoints, 'read_words', reading.read_words)
    monkeypatch.setattr(reading, 'find_spec', lambda name: None)
    page = visit()
    page.set_input_files('#file', sheet[0])
    page.click('#read-words')
    page.get_by_text("pip install 'sciencetutor[ocr]'").wait_for()
    page.press('#box', 'Enter')  # it is sent as it is
    answered(page)

def test_a_picture_that_is_of_no_use_is_asked_back(browser, sheet):
    class Small(Script):
        def smaller_than(self, n): return True
    sheet[1]([])
    with Server(Small(), open_port('127.0.0.1', 0)) as s:
        page = opened(browser, s.url, 390, 844)
        for n, how in enumerate(['explain', 'hint'], 1):
            page.click(f'[data-mode={how}]')
            page.set_input_files('#file', sheet[0])
            send(page, 'What cloud is this?')
            page.wait_for_selector(f'.turn:nth-child({n}) .seen')
            card = page.locator(f'.turn:nth-child({n}) .card')
            assert 'What do you see in it?' in card.inner_text() and not card.locator('.source, .hint').count()
            page.wait_for_selector('#stop', state='hidden')
        page.click('[data-mode=explain]')
        accessible(page)
        large_enough(page)
        page.wait_for_timeout(500)
        in_view(page, '.seen')
        shot(page, 'seen')
        page.get_by_role('button', name='The sky').click()
        assert page.input_value('#box') == 'I see the sky. It '
        page.fill('#box', '')
        page.get_by_role('button', name='Kinds of clouds').click()
        assert 'cloud' in answered(page, 3).inner_text() and not page.locator('.seen').count()
        assert not page.wrong
        page.context.close()

def test_stop(visit, engine):
    page = visit()
    send(page, 'Be slow')
    page.get_by_text('Milk takes').first.wait_for()
    began = time.time()
    page.click('#stop')
    page.get_by_text(T['stopped']).wait_for()
    assert time.time()-began < 5 and not engine.running
    assert 'A rock keeps' in page.locator('.card').inner_text()
    page.wait_for_selector('#send')
    ask(page, 'Again', 2)

def test_two_children(visit, engine):
    ada, bob = visit(), visit()
    send(ada, 'Be slow, ada')
    send(bob, 'Be slow, bob')
    for page in (ada, bob): page.get_by_text('A rock').first.wait_for()
    ada.click('#stop')
    ada.get_by_text(T['stopped']).wait_for()
    before = len(bob.locator('.card').inner_text())
    bob.wait_for_timeout(1000)
    assert len(bob.locator('.card').inner_text()) > before and 'ada' not in bob.locator('#thread').inner_text()
    bob.close()
    ada.wait_for_timeout(1500)
    assert engine.running == 1  # what bob has asked is written to its end
    engine.cancel()

def test_a_bug_is_told_kindly(visit, capfd):
    page = visit()
    send(page, 'explode')
    page.get_by_text(T['broken']).wait_for()
    assert 'RuntimeError' in capfd.readouterr().err and 'RuntimeError' not in page.locator('body').inner_text()

@pytest.mark.parametrize('status, key', [(413, 'too_large'), (400, 'broken')])
def test_a_refusal_is_told_kindly(visit, status, key):
    import json
    page = visit()
    body = json.dumps(dict(error=dict(message='send it as Authorization: Bearer KEY')))
    page.route('**/call/chat_ask', lambda r: r.fulfill(status=status, body=body, content_type='application/json'))
    send(page, 'Why?')
    page.get_by_text(json.loads((PAGE/'lang/en.json').read_text())[key]).wait_for()
    assert 'Bearer' not in page.locator('body').inner_text()

@pytest.mark.parametrize('status', [429, 502, 503, 504])
def test_what_is_held_up_goes_on_by_itself(visit, status):
    "With a banner, later and later, and not before the server's time is over."
    page, times = visit(), []
    def hold(route):
        times.append(time.time())
        if len(times) > 3: return route.continue_()
        route.fulfill(status=status, body='{}', headers={'retry-after': '2'} if len(times) == 2 else {})
    page.route('**/call/chat_ask', hold)
    send(page, 'Why do owls hoot?')
    page.get_by_text('So many are asking').wait_for()
    answered(page)
    assert page.locator('.banner').is_hidden() and page.locator('.turn').count() == 1
    first, second, third = (b-a for a, b in zip(times, times[1:4]))
    assert first < second and 2 <= second and 1 < third

def test_too_much_and_nothing(visit):
    page = visit()
    send(page, '   ')
    page.wait_for_timeout(300)
    assert page.locator('.example').first.is_visible()
    send(page, 'why '*2000)
    page.get_by_text(T['too_long']).wait_for()

def test_keyboard_alone(visit):
    page = visit()
    page.keyboard.type('Why?')
    page.keyboard.press('Enter')
    answered(page)
    page.focus('#box')
    page.keyboard.type('first')
    page.keyboard.press('Shift+Enter')
    page.keyboard.type('second')
    assert page.input_value('#box') == 'first\nsecond'
    for _ in range(20):  # past the end of the page to its beginning, however many chats there are
        page.keyboard.press('Tab')
        if page.evaluate("document.activeElement.className") == 'new': break
    page.keyboard.press('Enter')
    page.wait_for_selector('.example', state='visible')

def test_markup_is_harmless(visit, monkeypatch):
    bad = ("<img src=x onerror=\"document.title='x'\"> <script>document.title='x'</script> **bold** "
           "[a](javascript:alert(1)) `<b>`")
    monkeypatch.setattr(Teacher, 'words', bad.split(' '))
    page = visit()
    card = ask(page, f'Is this one: {bad}\nA. <img src=x onerror=alert(1)>\nB. <b onclick=alert(1)>b</b>')
    assert page.title() == 'ScienceTutor' and card.locator('strong').count() >= 1
    assert page.locator('#thread img, #thread script, #thread a, #thread [onclick], #thread [onerror]').count() == 0
    assert '<img src=x' in card.inner_text()
    page.get_by_text('<img src=x').first.wait_for()
    assert not page.locator('.rail img:not(.logo)').count()

def test_again_edit_and_rate(visit, engine, server):
    page = visit()
    ask(page, SOLID)
    before = len(engine.asked)
    page.click('.act-menu')
    page.click('.menu >> text=Answer again')
    page.wait_for_timeout(300)
    answered(page)
    assert len(engine.asked) > before and page.locator('.turn').count() == 1
    page.click('.act-good')
    page.get_by_text(T['thanks']).wait_for()
    page.click('.act-bad')
    page.fill('#correction', 'It is the ice.')
    page.click('dialog .primary')
    page.wait_for_selector('dialog', state='detached')
    page.click('.act-menu')
    page.click('.menu >> text=Change my question')
    page.wait_for_selector('.turn.changed')
    assert 'B. a rock' in page.input_value('#box')
    page.click('.changing button')
    assert not page.locator('.turn.changed').count() and not page.input_value('#box')
    page.click('.act-menu')
    page.click('.menu >> text=Change my question')
    page.wait_for_selector('.turn.changed')
    ask(page, 'Which is a gas?\nA. ice\nB. air')
    page.wait_for_selector('.turn:nth-child(2)', state='detached')
    assert 'gas' in page.locator('.question').inner_text()
    page.reload()
    page.wait_for_selector('.turn .acts')
    assert page.locator('.turn').count() == 1 and 'gas' in page.locator('.question').inner_text()

def test_a_question_with_a_picture_is_changed(visit, engine):
    "Its picture stays, in this visit and after a reload; the old one goes when the new one is there."
    page = visit()
    page.evaluate(PASTE.replace('#box textarea', '#box'))
    page.wait_for_selector('.thumb img')
    ask(page, 'What is in it?')
    for words in ('What is this?', 'What is that?'):
        page.click('.act-menu')
        page.click('.menu >> text=Change my question')
        page.wait_for_selector('.thumb img')
        assert page.locator('.turn').count() == 1
        with page.expect_request('**/call/chat_ask') as r: send(page, words)
        assert r.value.post_data_json['data'][3]
        page.locator('.question', has_text=words).wait_for()
        page.wait_for_selector('.turn:nth-child(2)', state='detached')
        answered(page)
        assert engine.asked[-1][1][0].size == (60, 40)
        page.reload()
        page.wait_for_selector('.turn .acts')

# Hints

@SIZES
def test_hints_are_a_dialogue(visit, engine, width, height, scheme):
    page = visit(width, height, scheme)
    page.click('[data-mode=hint]')
    send(page, "Which of these is a solid, a liquid or a gas?\nA. a glass of milk\nB. a rock\nC. the air in a balloon")
    page.wait_for_selector('.hint-tell')
    page.wait_for_timeout(600)
    scored = len(engine.asked)
    assert not page.locator('.verdict').count() and '95%' not in page.locator('.card').inner_text()
    in_view(page, '.choice-button', '.hint-tell')
    shot(page, f'hint-{scheme}')
    accessible(page)
    large_enough(page)
    page.locator('.choice-button').first.click()
    page.locator('.judged.wrong').wait_for()
    page.wait_for_timeout(600)
    in_view(page, '.judged', '.hint-tell')
    assert page.locator('.choice-button').first.is_disabled() and page.locator('.hint').count() == 2
    send(page, 'I think it is the rock')
    answered(page)
    assert 'a rock' in page.locator('.verdict').inner_text()
    in_view(page, '.verdict', '.acts')
    page.click('.taken summary')
    page.locator('.judged.right').wait_for()
    assert len(engine.asked)-scored == 1  # the question was scored once; this is the explanation
    assert engine.asked[-1][0][-2]['content'][0]['text'] == 'a rock'

def test_a_question_amid_hints_is_a_question(visit):
    page = visit()
    page.click('[data-mode=hint]')
    send(page, SOLID)
    page.wait_for_selector('.hint-tell')
    send(page, 'kill myself')
    page.get_by_text(T['refuse_self-harm'][:40]).wait_for()

def test_wishes_and_taps_leave_the_box_alone(visit):
    page = visit()
    page.fill('#box', 'a half sentence')
    page.locator('.example').first.click()
    answered(page)
    page.evaluate(PASTE.replace('#box textarea', '#box'))
    page.wait_for_selector('.thumb img')
    page.click('.act-more')
    answered(page, 2)
    assert page.input_value('#box') == 'a half sentence' and page.locator('.thumb img').count() == 1

def test_no_voice_leaves_the_device(visit):
    page = visit()
    assert not page.locator('#mic').count()
    page.evaluate('''() => { window.voices = [{localService: false, lang: 'en-US'}]; window.said = []
      speechSynthesis.getVoices = () => voices; speechSynthesis.speak = u => said.push(u) }''')
    ask(page, 'Why do owls hoot?')
    assert not page.locator('.aloud').count()

# Chats

def test_back_reload_draft_search(visit):
    page = visit()
    ask(page, 'Why do zebras have stripes?')
    zebras = page.url
    assert '#/chat/' in zebras
    page.locator('.rail .new').click()
    page.wait_for_selector('.example', state='visible')
    ask(page, 'Why do owls hoot?')
    page.go_back()
    page.get_by_text('zebras').last.wait_for()
    page.wait_for_selector('.turn .acts')
    page.fill('#box', 'a half sentence')
    page.reload()
    page.wait_for_selector('.turn .acts')
    assert page.url == zebras and page.input_value('#box') == 'a half sentence'
    assert 'zebras' in page.locator('.question').inner_text()
    page.fill('#box', '')
    page.fill('#search', 'zebras')
    page.wait_for_timeout(900)
    assert page.locator('.chat-row').count() == 1

def test_rename_save_delete(visit):
    page = visit()
    ask(page, 'Why do tigers have stripes, too?')
    row = page.locator('.chat-row', has_text='tigers').first
    def choose(what):
        page.locator('.chat-row.on button').click()
        page.click(f'.menu >> text={what}')
    choose('Rename')
    page.fill('#title', 'Striped')
    accessible(page)
    page.press('#title', 'Enter')
    page.locator('.chat-row', has_text='Striped').wait_for()
    choose('Rename')
    page.fill('#title', 'Dotted')
    page.click('dialog >> text=Cancel')
    page.wait_for_selector('dialog', state='detached')
    assert not page.locator('.chat-row', has_text='Dotted').count()
    with page.expect_download() as d: choose('Save as text')
    assert 'tigers' in Path(d.value.path()).read_text() and d.value.suggested_filename == 'chat.md'
    choose('Delete')
    page.click('dialog .danger')
    page.locator('.chat-row', has_text='Striped').wait_for(state='detached')
    page.wait_for_selector('.example', state='visible')
    assert not row.count()

def test_two_tabs_are_in_step(visit):
    page = visit()
    ask(page, 'Why do bats fly?')
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector('.turn .acts')
    ask(page, 'And birds?', 2)
    other.wait_for_selector('.turn:nth-child(2) .acts')

SLOW = 'Which of these is slow?\nA. a horse\nB. a snail'

@pytest.mark.parametrize('how', ['reload', 'another chat', 'ask in another chat'])
def test_an_answer_goes_on_while_the_child_is_away(visit, engine, how):
    page, before = visit(), len(engine.asked)
    send(page, SLOW)
    page.get_by_text('Milk takes').first.wait_for()
    chat = page.url
    if how == 'reload': page.reload()
    else:
        page.locator('.rail .new').click()
        page.wait_for_selector('.example', state='visible')
        if how != 'another chat': ask(page, 'Why do owls hoot?')
        assert engine.running == 1
        page.goto(chat)
    page.locator('.turn .waiting').wait_for()
    assert page.locator('#stop').is_visible() and engine.running == 1
    engine.hurry = True
    answered(page)
    assert page.locator('.turn').count() == 1 and not page.locator('.note').count()
    snail = [messages for messages, _ in engine.asked[before:] if 'snail' in str(messages)]
    assert len(snail) == 1  # explained once

def test_what_was_stopped_is_asked_again(visit, engine):
    page = visit()
    send(page, SLOW)
    page.get_by_text('Milk takes').first.wait_for()
    page.click('#stop')
    page.get_by_text(T['stopped']).wait_for()
    page.reload()
    page.get_by_text(T['stopped']).wait_for()
    engine.hurry = True
    page.click('.turn .retry')
    answered(page)
    assert page.locator('.turn').count() == 1 and not page.locator('.note').count()

def test_a_worksheet_stays_in_its_chat(visit, engine):
    "The child looks elsewhere after the first question: the second one waits, and is asked in the worksheet's chat."
    page = visit()
    send(page, f'1. {SLOW}\n\n2. Which is a gas?\nA. ice\nB. air')
    page.get_by_text('Milk takes').first.wait_for()
    sheet = page.url
    page.locator('.rail .new').click()
    page.wait_for_selector('.example', state='visible')
    engine.hurry = True
    ask(page, 'Why do owls hoot?')
    while engine.running: page.wait_for_timeout(100)
    assert page.locator('.turn').count() == 1
    page.goto(sheet)
    answered(page, 2)
    assert 'gas' in page.locator('.turn:nth-child(2) .question').inner_text()

@pytest.mark.parametrize('when', ['before', 'amid'])
def test_the_server_is_gone_and_comes_back(browser, tmp_path, when):
    store = lambda: Store(str(tmp_path))
    sock = open_port('127.0.0.1', 0)
    port = sock.getsockname()[1]
    first = Server(Teacher(), sock, page_options=dict(store=store()))
    with first:
        page = opened(browser, first.url)
        ask(page, 'What is hibernation?')
        if when == 'amid':
            send(page, SLOW)
            page.get_by_text('Milk takes').first.wait_for()
    page.wait_for_selector('.banner', state='visible')
    if when == 'before':
        send(page, 'Why do owls hoot?')
        page.locator('.turn:nth-child(2) .waiting').wait_for()
    shot(page, f'gone-{when}')
    again = Teacher()
    again.hurry = True
    with Server(again, open_port('127.0.0.1', port), page_options=dict(store=store())):
        page.wait_for_selector('.banner', state='hidden')
        answered(page, 2)
        assert page.locator('.turn').count() == 2
        questions = [m['question'] for m in store().asked(store().user(None)['id'])]
    assert len(questions) == 2 and not page.wrong
    page.context.close()

# Practising

@SIZES
def test_ten_questions(visit, width, height, scheme):
    page = visit(width, height, scheme, path=FRONT+'#/practise')
    page.wait_for_selector('.tile')
    accessible(page)
    large_enough(page)
    shot(page, f'practise-{scheme}')
    page.click('#quiz-start')
    for i in range(10):
        page.wait_for_selector('.big-choice:not([disabled])')
        assert f'Question {i+1} of 10' in page.locator('.steps').get_attribute('aria-label')
        if i == 0: accessible(page)
        page.keyboard.press('1')
        page.wait_for_selector('#quiz-next')
        in_view(page, '.sheet .verdict', '#quiz-next')
        if i == 0:
            accessible(page)
            large_enough(page)
            shot(page, f'sheet-{scheme}')
        page.keyboard.press('Enter')
    page.wait_for_selector('#quiz-due')
    in_view(page, '#quiz-again')
    accessible(page)
    shot(page, f'end-{scheme}')
    assert fits(page)

def test_an_answer_that_failed_can_be_tapped_again(visit):
    page = visit(path=FRONT+'#/practise')
    page.click('#quiz-start')
    page.wait_for_selector('.big-choice')
    page.route('**/run/quiz_answer', lambda r: r.fulfill(status=500, body='{}'))
    with page.expect_response('**/run/quiz_answer'): page.keyboard.press('1')
    page.unroute('**/run/quiz_answer')
    page.wait_for_timeout(300)
    page.keyboard.press('1')
    page.wait_for_selector('#quiz-next')

def test_a_skill_of_ones_own(visit, monkeypatch):
    from sciencetutor.app import views
    monkeypatch.setattr(views, 'tutor_agrees', lambda page, problem: True)
    page = visit(path=FRONT+'#/practise')
    page.locator('.subjects button', has_text='Language').click()
    tile = page.locator('.tile').nth(2)
    tile.wait_for()
    page.wait_for_timeout(500)
    skill = tile.locator('span').first.inner_text()
    tile.click()
    page.wait_for_selector('.big-choice')
    assert skill in page.locator('.quiz-body .small').first.inner_text()
    page.go_back()
    page.wait_for_selector('.tile')

# Grown-ups

def unlock(page, pin='2580'):
    page.wait_for_selector('#pin')
    page.fill('#pin', pin)
    page.click('#pin-ok')

@pytest.mark.parametrize('width,height,scheme', [(1280, 800, 'light'), (390, 844, 'dark'), (844, 390, 'light')])
def test_grown_ups(browser, tmp_path, width, height, scheme):
    store = Store(str(tmp_path))
    with Server(Teacher(), open_port('127.0.0.1', 0), page_options=dict(store=store)) as s:
        page = opened(browser, s.url, width, height, scheme)
        ask(page, 'Why do owls hoot?')
        send(page, 'my dad hits me')
        page.get_by_text(T['refuse_hurt'][:24]).wait_for()
        page.goto(s.url+FRONT+'#/grown')
        page.wait_for_selector('#pin')
        accessible(page)
        unlock(page, '1234')
        page.wait_for_selector('#view-grown .note:not([hidden])')
        unlock(page)
        page.locator('.flags', has_text='my dad hits me').wait_for()
        for tab in 'overview', 'class', 'quiz', 'cards', 'data':
            page.click(f'.tabbar a[href="#/grown/{tab}"]')
            page.wait_for_selector(f'#grown-{tab} > *')
            page.wait_for_timeout(500)
            accessible(page)
            large_enough(page)
            assert fits(page)
            shot(page, f'{tab}-{scheme}')
        page.click('.tabbar a[href="#/grown/quiz"]')
        page.fill('#paper-own', 'Which is a gas?\nA. ice\nB. air')
        page.click('#paper-make')
        page.wait_for_selector('#paper li')
        assert page.locator('#paper > ol > li').count() == 11 and page.locator('.answers li').count() == 11
        with page.expect_download() as d: page.click('#paper-save')
        paper = Path(d.value.path()).read_text()
        assert paper.count('type="A"') == 11 and 'Which is a gas?' in paper
        page.click('.tabbar a[href="#/grown/overview"]')
        page.locator('.flags button').click()
        page.locator('.flags').wait_for(state='detached')
        page.click('#lock-again')
        page.wait_for_selector('#view-ask:not([hidden])')
        page.goto(s.url+FRONT+'#/grown/data')
        unlock(page, '9999')
        page.get_by_text('That is not the PIN').wait_for()
        unlock(page)
        page.click('[data-child=local]')
        page.click('dialog .danger')
        page.get_by_text('That is not the PIN').wait_for()
        assert store.asked(store.user(None)['id'])
        page.click('[data-child=local]')
        page.fill('#delete-pin', '2580')
        page.click('dialog .danger')
        page.get_by_text(T['deleted']).wait_for()
        assert not store.asked(store.user(None)['id']) and not page.wrong
        page.context.close()

@pytest.mark.parametrize('width,height,scheme', [(1280, 800, 'light'), (390, 844, 'dark')])
def test_cards_are_mended(browser, tmp_path, width, height, scheme):
    from sciencetutor.app.retrieval import use_cards
    (mine := tmp_path/'mine').mkdir()
    with Server(Teacher(), open_port('127.0.0.1', 0), page_options=dict(store=Store(str(tmp_path)))) as s:
        page = opened(browser, s.url, width, height, scheme, path=FRONT+'#/grown/cards')
        unlock(page)
        page.wait_for_selector('#cards-off')
        page.fill('#card-search', 'what makes a bird')
        page.click('[data-card=bird-what-is]')
        page.wait_for_selector('#card-answer[readonly]')
        assert 'feathers' in page.input_value('#card-answer') and not page.locator('#card-save').count()
        try:
            use_cards(str(mine))
            page.click('#card-back')
            page.click('#card-new')
            page.fill('#card-title', 'Zork')
            page.fill('#card-grades', 'all')
            page.fill('#card-answer', 'A zork is a small toy of wood.')
            page.fill('#card-asked', 'what is a zork\nzork')
            page.click('#card-save')
            page.wait_for_selector('#fault-grades:not([hidden])')
            accessible(page)
            large_enough(page)
            assert fits(page) and page.evaluate('document.activeElement.id') == 'card-grades'
            shot(page, f'card-{scheme}')
            page.fill('#card-grades', '1-4')
            page.click('#card-save')
            page.click('[data-card=zork]')
            page.fill('#card-example', 'Ours is red.')
            page.click('#card-save')
            page.wait_for_selector('#card-search')
        finally: use_cards('')
        assert 'example: Ours is red.' in (mine/'from-the-page.yaml').read_text() and not page.wrong
        page.context.close()

def test_login(browser, tmp_path):
    store, other = Store(str(tmp_path)), []
    store.add_user('ada', 'a long password', grade=3)
    store.add_user('miss', 'another long one', role='adult')
    with Server(Teacher(), open_port('127.0.0.1', 0), page_options=dict(store=store, auth=True)) as s:
        c = browser.new_context(locale='en')
        page = c.new_page()
        page.set_default_timeout(60_000)
        note_other_hosts(page, s.url, other)
        def enter(name, password):
            page.goto(s.url+FRONT)
            page.fill('input[name=username]', name)
            page.fill('input[type=password]', password)
            with page.expect_navigation(): page.keyboard.press('Enter')
            page.goto(s.url+FRONT)
        enter('ada', 'a long password')
        page.wait_for_selector('html[data-ready]')
        ask(page, 'Why do owls hoot?')
        page.goto(s.url+FRONT+'#/grown')
        page.get_by_text(T['adults_only']).wait_for()
        page.click('#settings')
        page.click('.menu >> text=Log out')
        page.wait_for_selector('input[type=password]')
        enter('miss', 'another long one')
        page.wait_for_selector('html[data-ready]')
        assert not page.locator('.chat-row').count()
        page.goto(s.url+FRONT+'#/grown/class')
        page.locator('table', has_text='ada').first.wait_for()
        assert 'miss' not in page.locator('#grown-class').inner_text()
        page.click('#give-pin')
        page.click('dialog .primary')
        pin = page.locator('#given-pin').inner_text()
        accessible(page)
        page.click('dialog .primary')
        c.clear_cookies()
        enter('ada', pin)
        page.wait_for_selector('html[data-ready] .chat-row')
        c.close()
    assert [m['question'] for m in store.asked(store.user('ada')['id'])] == ['Why do owls hoot?'] and not other

def test_what_was_not_sent_is_kept_for_its_writer(browser, tmp_path):
    "The login is over amid a chat: the next child sees nothing of the words; their writer has them again."
    store = Store(str(tmp_path))
    for name in 'ada', 'bob': store.add_user(name, 'a long password')
    with Server(Teacher(), open_port('127.0.0.1', 0), page_options=dict(store=store, auth=True)) as s:
        c = browser.new_context(locale='en')
        page = c.new_page()
        page.set_default_timeout(20_000)
        def enter(name):
            c.clear_cookies()
            page.goto('about:blank')
            page.goto(s.url+FRONT)
            page.fill('input[name=username]', name)
            page.fill('input[type=password]', 'a long password')
            with page.expect_navigation(): page.keyboard.press('Enter')
            page.wait_for_selector('html[data-ready]')
        def send_logged_out(text):
            c.clear_cookies()
            send(page, text)
            page.wait_for_selector('input[type=password]')
        enter('ada')
        send_logged_out('Why do bats fly?')
        enter('bob')
        page.wait_for_timeout(500)
        assert not page.locator('.turn').count() and not page.input_value('#box')
        enter('ada')
        answered(page)
        chat = page.url
        send_logged_out('And birds?')
        enter('ada')
        page.goto(chat)
        page.wait_for_selector('.turn .acts')
        page.wait_for_timeout(500)
        assert page.input_value('#box') == 'And birds?'
        c.close()
    assert [m['question'] for m in store.asked(store.user('ada')['id'])] == ['Why do bats fly?']
    assert not store.asked(store.user('bob')['id'])

# For everybody

def test_right_to_left_motion_zoom(visit):
    page = visit(path=FRONT+'?lang=ar', reduced_motion='reduce')
    assert page.evaluate("document.documentElement.dir") == 'rtl'
    rail = page.locator('.rail').bounding_box()
    assert rail['x'] > 600
    ask(page, SOLID)
    in_view(page, '.verdict', '.acts')
    assert fits(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.toast, .card')).animationName") == 'none'
    page = visit(640, 400)  # as at 200% zoom
    ask(page, SOLID)
    in_view(page, '.verdict', '#box')
    assert fits(page)

def test_text_is_large(visit):
    page = visit()
    ask(page, 'Why?')
    size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('.answer')).fontSize)")
    assert size >= 18

def test_the_look_can_be_chosen(visit):
    page = visit()
    for _ in range(2):
        page.click('#settings')
        page.locator('.menu button').first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == 'dark'
    page.reload()
    page.wait_for_selector('html[data-ready][data-theme=dark]')
