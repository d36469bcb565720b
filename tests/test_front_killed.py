"The server is killed at random moments of a visit: nothing that was typed or answered is lost, and the page goes on."
import os, random, threading, time
from contextlib import suppress
import pytest, requests
from killable import FORKS
from sciencetutor.app.store import Store
from sciencetutor.serve.core import Server, open_port
from test_front import SOLID, Teacher, browser, opened, send

FORKS.set_forkserver_preload(['sciencetutor.serve.core', 'sciencetutor.app.endpoints', 'test_front'])

def serve(folder, port):
    for stream in (1, 2): os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    with Server(Teacher(), open_port('127.0.0.1', port), page_options=dict(store=Store(folder)), rate=0) as s:
        s.thread.join()

class Fragile:
    "A server that is killed so many times, each a random while after it was there again."
    def __init__(self, folder, kills, seed):
        with open_port('127.0.0.1', 0) as s: self.port = s.getsockname()[1]
        self.folder, self.url = str(folder), f"http://127.0.0.1:{self.port}"
        self.left, self.rng = kills, random.Random(seed)
        self.begin()
        self.killer = threading.Thread(target=self.kill_all, daemon=True)
    def begin(self):
        self.process = FORKS.Process(target=serve, args=(self.folder, self.port), daemon=True)
        self.process.start()
        for _ in range(600):
            with suppress(requests.RequestException):
                if requests.get(self.url, timeout=5).ok: return
            time.sleep(.1)
        raise RuntimeError('the server does not come back')
    def kill_all(self):
        while self.left:
            time.sleep(self.rng.uniform(.2, 8))
            self.process.kill()
            self.process.join()
            self.left -= 1
            self.begin()

def visit(page, server, asked):
    "Ask in three ways until the server has been killed often enough."
    page.set_default_timeout(300_000)  # for a busy machine: cards are read anew at each start
    def whole():
        page.wait_for_selector('.turn.last .acts')
        page.wait_for_selector('#stop', state='hidden')
    server.killer.start()
    while server.left:
        n = len(asked)
        page.click(f"[data-mode={'hint' if n % 3 == 2 else 'explain'}]")
        question = SOLID.replace('solid', f'solid, no. {n}') if n % 3 else f'Why do owls hoot, no. {n}?'
        asked.append(question.split('\n')[0])
        send(page, question)
        page.fill('#box', f'a half sentence {n}')
        if n % 3 == 2:
            page.locator('.turn.last .choice-button').first.click()
            page.locator('.turn.last .judged.wrong').wait_for()
            page.locator('.turn.last .choice-button').nth(1).click()
        whole()
        assert page.input_value('#box') == f'a half sentence {n}' and page.locator('.turn').count() == n+1
        page.fill('#box', '')
    server.killer.join()

@pytest.mark.soak
@pytest.mark.parametrize('kills', [5, 20])
def test_killed_at_random_moments(browser, tmp_path, kills):
    server, asked = Fragile(tmp_path, kills, seed=kills), []
    try:
        page = opened(browser, server.url)
        visit(page, server, asked)
        page.fill('#box', 'the end of it')
        page.reload()
        page.wait_for_selector('.turn.last .acts')
        assert page.input_value('#box') == 'the end of it' and page.locator('.turn').count() == len(asked)
        assert page.locator('.turn .answer').count() == len(asked) and not page.locator('.turn .retry').count()
        page.context.close()
    finally: server.process.kill()
    store = Store(str(tmp_path))
    kept = store.asked(store.user(None)['id'])[::-1]
    assert [m['question'] for m in kept] == asked and all(m['text'] for m in kept) and not page.wrong
    assert [len(m['kept']['tries']) for m in kept] == [2 if i % 3 == 2 else 0 for i in range(len(asked))]
