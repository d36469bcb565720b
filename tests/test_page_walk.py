"""A child's and an adult's whole visit, with the tutor that ships.

`SCREENSHOTS=folder pytest -m soak tests/test_page_walk.py` keeps what was seen.
"""
import os, re, subprocess, sys
from pathlib import Path
import pytest
from sciencetutor.app.views import TEXTS
from sciencetutor.samples.core import make_problems
from test_page import SOLID, WIDGETS, attach, as_adult, browser, finished, note_other_hosts, send
from test_page_access import mode
from test_page_lessons import fits, shot

pytestmark = WIDGETS
T = TEXTS['en']
DESERT = ("Which of these helps a cactus to live in the desert?\nA. a thick stem that holds water\n"
          "B. leaves that are wide and thin\nC. flowers that are white")
LENGTHS = """() => { window.lengths = new Set()
  const note = () => window.lengths.add([...document.querySelectorAll('#chat .bot.message')].at(-1)?.textContent.length)
  new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true}) }"""
STOP = """() => {  // as soon as the second answer has words: a hand is slower than the tutor
  const stop = document.querySelector('#box .stop-button'), words = document.querySelectorAll('#chat .st-how')
  if (words.length == 2 && stop) { stop.click(); return true } }"""

@pytest.fixture(scope='module')
def url(tmp_path_factory):
    store, log = tmp_path_factory.mktemp('store'), tmp_path_factory.mktemp('log')/'serve.log'
    command = [sys.executable, '-m', 'sciencetutor.cli', 'serve', '--port', '0', '--one-port', '--store', str(store)]
    options = dict(stdout=subprocess.PIPE, text=True, env=dict(os.environ, HF_HUB_OFFLINE='1'))
    with open(log, 'w') as err, subprocess.Popen(command, stderr=err, **options) as p:
        yield re.search(r'http://\S+', p.stdout.readline())[0]
        p.terminate()
        p.wait(60)
    assert 'Traceback' not in log.read_text()

@pytest.mark.soak
@pytest.mark.parametrize('width,height,scheme', [(1280, 800, 'light'), (390, 844, 'dark')])
def test_a_visit(browser, url, tmp_path, width, height, scheme):
    other, look = [], lambda name: shot(page, f'walk-{name}-{width}')
    c = browser.new_context(viewport=dict(width=width, height=height), color_scheme=scheme, locale='en')
    page = c.new_page()
    page.set_default_timeout(60_000)
    note_other_hosts(page, url, other)
    page.goto(f'{url}/lab')
    page.wait_for_selector('#chat .example')
    look('hello')
    page.evaluate(LENGTHS)
    # a question with a picture
    drawn = next(p for p in make_problems(200, seed=5).values() if p['image'] and 'magnet' in p['question'].lower())
    drawn['image'].save(tmp_path/'drawn.png')
    attach(page, tmp_path/'drawn.png')
    send(page, drawn['question']+'\n'+'\n'.join(f'{"ABCDE"[i]}. {choice}' for i, choice in enumerate(drawn['choices'])))
    page.wait_for_selector('.st-best')
    finished(page)
    look('asked')
    assert fits(page)
    # stop, regenerate, edit
    page.fill('#box textarea', DESERT)
    page.wait_for_selector('.st-chip')
    look('found')
    send(page, DESERT)
    page.wait_for_function(STOP, timeout=60_000)
    page.get_by_text(T['stopped']).wait_for()
    finished(page)
    page.click('#act-again')
    page.get_by_text(T['stopped']).wait_for(state='detached')
    finished(page)
    assert page.evaluate('window.lengths.size') > 10, 'answers came in one piece'
    look('own-words')
    page.click('#act-edit')
    page.wait_for_function("document.querySelector('#box textarea').value.includes('desert')")
    send(page, SOLID)
    page.wait_for_function("[...document.querySelectorAll('.st-choice')].at(-1).innerText.includes('balloon')")
    finished(page)
    assert 'a rock' in page.locator('.st-best').last.inner_text()
    # reload, and find it again
    page.reload()
    page.wait_for_selector('#chat .example')
    page.click('#go-chats')
    page.fill('#search textarea, #search input', 'solid')
    page.locator('#chat-list label').first.wait_for()
    page.wait_for_timeout(1000)
    page.locator('#chat-list label').first.click()
    page.click('#chats-export_json')
    page.wait_for_selector('#chats-link a[download="chat.json"]')
    look('chats')
    page.click('#chats-open')
    page.get_by_text('the air in a balloon').first.wait_for()
    # hints, the answer last
    page.click('#new')
    page.wait_for_selector('#chat .example')
    mode(page, 'hint')
    send(page, SOLID)
    page.wait_for_selector('#act-tell')
    page.click('#act-next_hint')
    page.wait_for_timeout(1000)
    assert not page.locator('.st-choice').count()
    look('hint')
    page.click('#act-tell')
    page.wait_for_selector('.st-leans')
    finished(page)
    look('told')
    # an open question, and one that is not for a tutor
    mode(page, 'explain')
    send(page, 'What is photosynthesis?')
    page.wait_for_function("document.querySelectorAll('#chat .user.message').length == 2")
    finished(page)
    look('open')
    send(page, 'i want to kill myself')
    page.get_by_text(T['refuse_self-harm'][:40]).wait_for()
    finished(page)
    look('refused')
    # ten questions
    mode(page, 'quiz')
    page.click('#quiz-start')
    for i in range(10):
        page.get_by_text(f'Question {i+1} of 10').wait_for()
        page.locator('#quiz-choices label').first.click()
        page.click('#quiz-check')
        page.wait_for_selector('#quiz-feedback .st-known')
        if i == 0: look('quiz-feedback')
        page.click('#quiz-next')
    page.get_by_text('Practise next').wait_for()
    assert page.locator('#quiz-question .st-known').count()
    look('quiz')
    # the adult
    as_adult(page)
    page.click('#go-adults')
    page.locator('#adult-view').get_by_text('i want to kill myself').first.wait_for()
    page.locator('#adult-view .st-known').first.wait_for()
    look('adult')
    assert fits(page)
    page.click('#adult-print')
    page.wait_for_selector('#adult-link a[download="quiz.html"]')
    with page.expect_download() as paper: page.click('#adult-link a')
    paper = Path(paper.value.path()).read_text()
    assert paper.count('type="A"') == 10 and T['quiz_answers'] in paper
    look('adult-print')
    page.click('#adult-sure input')
    page.click('#adult-delete')
    page.locator('#adult-view').get_by_text('i want to kill myself').first.wait_for(state='detached')
    c.close()
    assert not other
