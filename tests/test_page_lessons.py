"Learning on the page, in headless Chromium: what is remembered, hints, the quiz, the adult's view, safety."
import os, time
from pathlib import Path
import pytest
from sciencetutor.app.safety import Verdict
from sciencetutor.app.views import TEXTS, accept_flag, child_html, flag_choices
from sciencetutor.app.turns import SAID_AS
from sciencetutor.app.core import Actions, Page, PageSettings, PageTurn, chat_messages
from sciencetutor.serve.core import Server, open_port
from sciencetutor.app.store import Store
from test_page_access import accessible
from test_page import SOLID, WIDGETS, Script, as_adult, browser, engine, finished, last, send, server, visit

pytestmark = WIDGETS
T = TEXTS['en']
SHOTS = os.environ.get('SCREENSHOTS')

def shot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(400)
        page.screenshot(path=f'{SHOTS}/{name}.png')

def fits(page): return page.evaluate("document.documentElement.scrollWidth <= innerWidth")

def mode(page, key): page.locator('#mode label').filter(has_text=T['mode_'+key]).click()

@pytest.fixture
def quiet():
    page = Page(Script(), PageSettings(examples=0))
    yield page
    page.store.close()

def last_of(page, text, **kw):
    turn = PageTurn.read(text)
    for k, v in kw.items(): setattr(turn, k, v)
    me = page.store.user(None)
    page.admit(turn, me, None)
    for _ in page.answer(turn, [], 's'): pass
    return turn

def test_refusals_and_flags(quiet):
    turn = last_of(quiet, 'I want to kill myself')
    assert turn.note == 'refuse_self-harm' and not turn.text and not quiet.engine.asked
    assert 'adult' in chat_messages([turn], T)[1]['content']
    assert quiet.store.asked(quiet.store.user(None)['id'], flagged=True)[0]['flag'] == 'self-harm'
    turn = last_of(quiet, 'my email is sam@example.com')
    assert turn.note == 'refuse_personal' and 'sam@' not in str(quiet.store.asked(quiet.store.user(None)['id']))

def test_an_adult_sees_that_a_flag_was_deleted(quiet):
    me = quiet.store.user(None)
    last_of(quiet, 'I want to kill myself')
    assert T['gone'] not in child_html(quiet, me)
    quiet.store.drop_conversation(me['id'], quiet.store.asked(me['id'])[0]['conversation_id'])
    assert T['gone'] in child_html(quiet, me)

def test_what_an_adult_finds_to_be_no_problem(quiet):
    "The words that led to a flag are shown; an accepted flag is gone, and the same words are let through."
    me = quiet.store.user(None)
    assert last_of(quiet, 'my dad hits me').note == 'refuse_hurt'
    assert T['levels']['hurt'] in child_html(quiet, me) and 'dad hits me' in child_html(quiet, me)
    (_, flagged), = flag_choices(quiet, 'local')
    assert not accept_flag(quiet, 'somebody', flagged) and accept_flag(quiet, 'local', flagged)
    assert not flag_choices(quiet, 'local') and T['levels']['hurt'] not in child_html(quiet, me)
    assert last_of(quiet, 'My dad  hits me').note == '' and last_of(quiet, 'my mom hits me').note == 'refuse_hurt'

def test_what_is_only_suspected_is_a_quiet_line(quiet, monkeypatch):
    monkeypatch.setattr(quiet.guard, 'suspect', lambda text: Verdict('hurt', text, perhaps=True))
    turn = last_of(quiet, 'the blue elephant sings')
    assert turn.note == '' and turn.text
    me = quiet.store.user(None)
    assert T['perhaps'].format(level=T['levels']['hurt']) in child_html(quiet, me)
    assert quiet.store.summary(me['id'])['flags'] == 0 and not quiet.store.asked(me['id'], flagged=True)

def test_the_turn_before_counts(quiet):
    turn = PageTurn.read('myself')
    quiet.admit(turn, quiet.store.user(None), None, [PageTurn.read('how do i kill')])
    assert turn.note == 'refuse_self-harm'

def test_a_bad_answer_is_withdrawn(quiet):
    quiet.engine.words = 'You should kill yourself now'.split()
    turn = last_of(quiet, 'Why is the sky blue?')
    assert turn.note == 'withdrawn' and not turn.text and 'kill' not in str(chat_messages([turn], T)[1])
    assert quiet.store.asked(quiet.store.user(None)['id'])[0]['flag'] == 'self-harm'

def test_fails_closed(quiet, monkeypatch):
    monkeypatch.setattr(type(quiet.guard), 'find', lambda *a: 1/0)
    assert last_of(quiet, 'Why?').note == 'refuse_error' and not quiet.engine.asked

def test_daily_limit(quiet):
    quiet.daily_limit = 2
    assert [last_of(quiet, 'Why?').note for _ in range(3)] == ['', '', 'limit']
    assert last_of(quiet, 'I want to die').note == 'refuse_self-harm'

def test_no_store_no_answer(quiet, monkeypatch):
    monkeypatch.setattr(quiet.store, 'set_answer', lambda *a, **k: 1/0)
    assert last_of(quiet, 'Why?').text  # the answer is shown although it could not be stored

def test_hints_before_the_answer(quiet):
    turn = last_of(quiet, SOLID, mode='hint')
    said = chat_messages([turn], T)[1]['content']
    assert turn.hinting and not turn.text and 'st-choices' not in said and T['hint_wait'] in said
    turn.hints_shown = len(turn.hints)
    list(quiet.answer(turn, [], 's'))
    assert turn.text and 'st-choices' in chat_messages([turn], T)[1]['content']

def test_a_question_is_scored_once(quiet):
    "Its answer was scored again with its own guess in the prompt, and contradicted the first."
    turn = last_of(quiet, SOLID, mode='hint')
    first, asked = list(turn.probs), len(quiet.engine.asked)
    quiet.engine.score = lambda *a, **kw: 1/0
    turn.hints_shown = len(turn.hints)
    list(quiet.answer(turn, [], 's'))
    assert turn.probs == first and turn.text and len(quiet.engine.asked) == asked+1

def test_current_is_dropped(quiet):
    list(quiet.answer(PageTurn('Why?'), [], 'api-1'))
    assert not quiet.current and not [p for p in quiet.uploads.root.iterdir() if p.name.startswith('api')]

def test_a_login_is_needed():
    page = Page(Script(), PageSettings(examples=0, auth=True))
    class Nobody: username = None
    with pytest.raises(PermissionError): page.user_of(Nobody)
    page.store.add_user('ada', 'long enough')
    class Ada: username = 'ada'
    assert page.user_of(Ada)['name'] == 'ada' and not page.is_adult(Ada)

def test_texts_are_used():
    source = ''.join(Path(f'sciencetutor/app/{m}.py').read_text() for m in ('core', 'views', 'turns', 'retrieval'))
    made_up = ('refuse_', 'mode_', 'why_', 'hint_', 'card_', 'how_', 'login')  # known later, or said by the server
    named = (*SAID_AS, *Actions._fields)
    for k in T: assert k.startswith(made_up) or k in named or f"'{k}'" in source or f'"{k}"' in source, k

# In a browser

def test_reload_and_find_it_again(visit):
    page = visit()
    name = f'zebras{time.time_ns()}'  # of this run
    send(page, f'Why do {name} have stripes?')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    page.reload()
    page.wait_for_selector('#chat .example')
    mode(page, 'quiz')
    page.wait_for_selector('#quiz-start')
    mode(page, 'hint')
    page.wait_for_selector('#box')
    page.click('#go-chats')
    page.fill('#search textarea, #search input', name)
    page.locator('#chat-list label', has_text=name).wait_for()
    page.locator('#chat-list label').nth(1).wait_for(state='detached')
    assert page.locator('#chat-list label').count() == 1 and page.locator('#chats-open').is_disabled()
    page.locator('#chat-list label').first.click()
    page.wait_for_selector('#chats-open:enabled')  # the choice has arrived, and its title
    page.fill('#title textarea, #title input', 'Striped')
    page.click('#chats-rename')
    page.locator('#chat-list label', has_text='Striped').wait_for()
    page.locator('#chats-sure label', has_text='Delete: Striped').wait_for()  # still chosen, by its new name
    page.click('#chats-export_md')
    page.wait_for_selector('#chats-link a[download="chat.md"]')
    with page.expect_download() as d: page.click('#chats-link a')
    assert 'zebras' in Path(d.value.path()).read_text()
    shot(page, 'chats')
    accessible(page, '#view-chats')
    page.click('#chats-open')
    page.get_by_text('Finis coronat.').wait_for()
    page.locator('#mode .selected', has_text=T['mode_hint']).wait_for()  # the way of helping is kept
    mode(page, 'explain')
    send(page, 'And horses?')
    page.get_by_text('Finis coronat.').nth(1).wait_for()
    finished(page)
    page.click('#go-chats')
    page.locator('#chat-list label', has_text='Striped').click()
    page.locator('#chats-sure label', has_text='Delete: Striped').wait_for()
    assert page.locator('#chats-delete').is_disabled()
    page.click('#chats-sure input')
    page.wait_for_selector('#chats-delete:enabled')
    page.wait_for_timeout(500)  # its colour changes slowly
    shot(page, 'chats-sure')
    accessible(page, '#view-chats')
    page.click('#chats-delete')
    page.locator('#chat-list label', has_text='Striped').wait_for(state='detached')
    page.locator('#chats-sure').wait_for(state='hidden')
    assert page.locator('#chats-delete').is_disabled()

def test_again_and_edit(visit, engine):
    page = visit()
    send(page, SOLID)
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    before = len(engine.asked)
    page.click('#act-again')
    page.wait_for_timeout(500)
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    assert len(engine.asked) > before and page.locator('#chat .user.message').count() == 1
    page.click('#act-edit')
    page.wait_for_function("document.querySelector('#box textarea').value.includes('B. a rock')")
    send(page, 'Why is a rock solid?')
    page.get_by_text('Finis coronat.').wait_for()
    assert page.locator('#chat .user.message').count() == 1

@pytest.mark.parametrize('width,scheme', [(1280, 'light'), (390, 'dark')])
def test_hint_ladder(visit, width, scheme):
    page = visit(width, 800, scheme)
    mode(page, 'hint')
    send(page, "Which of these is a solid, a liquid or a gas?\nA. a glass of milk\nB. a rock\nC. the air in a balloon")
    page.wait_for_selector('#act-tell')
    assert not page.locator('.st-choice').count()
    shot(page, f'hint-{width}-{scheme}')
    while page.locator('#act-next_hint').count():
        n = len(last(page).inner_text())
        page.click('#act-next_hint')
        page.wait_for_function(f"[...document.querySelectorAll('#chat .bot.message')].at(-1).innerText.length != {n}")
        page.wait_for_timeout(300)
    page.click('#act-tell')
    page.wait_for_selector('.st-best')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    page.wait_for_selector('.st-leans')
    shot(page, f'told-{width}-{scheme}')
    accessible(page, '.st-acts', '.st-leans', '.st-choices', '.st-top', '#mode')
    assert fits(page)

@pytest.mark.parametrize('width,scheme', [(1280, 'dark'), (390, 'light')])
def test_ten_questions_and_the_adult(visit, width, scheme):
    page = visit(width, 800, scheme)
    mode(page, 'quiz')
    page.click('#quiz-start')
    for i in range(10):
        page.get_by_text(f'Question {i+1} of 10').wait_for()
        page.locator('#quiz-choices label').first.click()
        page.click('#quiz-check')
        page.wait_for_selector('#quiz-feedback .st-known')
        if i == 0:
            shot(page, f'quiz-{width}-{scheme}')
            accessible(page, '#quiz-question', '#quiz-feedback', '#quiz-choices')
        page.click('#quiz-next')
    page.get_by_text('Practise next').wait_for()
    assert page.locator('#quiz-question .st-known').count() >= 1 and fits(page)
    shot(page, f'done-{width}-{scheme}')
    as_adult(page)
    page.click('#go-adults')
    page.locator('#adult-view .st-known').first.wait_for()
    shot(page, f'adult-{width}-{scheme}')
    accessible(page, '#view-adult')
    page.click('#adult-print')
    page.wait_for_selector('#adult-link a[download="quiz.html"]')
    assert fits(page)

def test_who_is_deleted_is_who_the_tick_names(browser, tmp_path):
    store, held = Store(str(tmp_path)), []
    for name in 'ada', 'bob', 'cyd': store.add_user(name)
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store)) as s:
        c = browser.new_context(locale='en')
        page = c.new_page()
        page.set_default_timeout(60_000)
        page.goto(f'{s.url}/lab')
        page.wait_for_selector('#chat .example')
        as_adult(page)
        page.click('#go-adults')
        def tick(name):
            page.locator('#adult-sure label', has_text=T['sure_delete'].format(child=name)).click()
            page.wait_for_selector('#adult-delete:enabled')
        def choose(name):
            page.click('#adult-child input')
            page.locator('ul[role=listbox] li', has_text=name).click()
        tick('ada')
        shot(page, 'adult-sure')
        choose('bob')
        page.wait_for_selector('#adult-delete:disabled')  # another child needs another tick
        assert not page.locator('#adult-sure input').is_checked()
        tick('bob')
        page.route('**/queue/join*', lambda route: held.append(route))  # the server is slow
        choose('cyd')
        page.click('#adult-delete')
        for _ in range(200):
            if len(held) == 2: break
            page.wait_for_timeout(50)
        held.pop(0).continue_()
        page.locator('#adult-sure label', has_text='cyd').wait_for()  # the server has offered cyd's tick
        for route in held: route.continue_()  # before it hears of bob's
        page.unroute('**/queue/join*')
        page.get_by_text(T['deleted']).wait_for()
        c.close()
    assert {u['name'] for u in store.users()} == {'ada', 'cyd', 'local'}

def test_delete_a_child(visit):
    page = visit()
    send(page, 'Why do owls hoot?')
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    page.click('#act-good')
    mode(page, 'quiz')
    page.wait_for_selector('#quiz-start')
    as_adult(page)
    page.click('#go-adults')
    page.locator('#adult-view').get_by_text('Why do owls hoot?').first.wait_for()
    assert page.locator('.st-on').inner_text() == T['adults']  # one place is marked at a time
    assert not page.locator('#mode .selected').count()
    mode(page, 'explain')
    page.get_by_text('Finis coronat.').wait_for()  # and the conversation is where it was
    assert not page.locator('.st-on').count()
    page.click('#go-adults')
    page.wait_for_timeout(1000)  # Gradio's client can lose an event that is sent while the stream of another closes
    page.click('#adult-feedback')
    page.wait_for_selector('#adult-saved a[download="feedback.zip"]')
    assert page.locator('#adult-delete').is_disabled()
    page.click('#adult-sure input')
    page.click('#adult-delete')
    page.locator('#adult-view').get_by_text('Why do owls hoot?').first.wait_for(state='detached')
