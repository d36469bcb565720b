"""How quick the page is in a browser: when it is there, what it weighs, and how soon it answers.

    python bench/page_bench.py

Server and headless Chromium are on one machine; every figure is a median of several visits, each with an empty cache.
The answers come from the cards, or from an engine that only speaks, so that the page is measured and no model.
The result goes into bench/results/page.json. It needs the package playwright and a Chromium on the path.
"""
from __future__ import annotations
import json, statistics, sys, tempfile, time
from collections.abc import Callable
from pathlib import Path
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tests'))
from sciencetutor.app.retrieval import finder
from sciencetutor.app.store import Store
from sciencetutor.serve.core import Server, open_port
from test_page import Script, browser_path
from test_page_access import LATENCY, SEEN, Fast
from host import machine

VISITS, SLOW = 5, 400_000/8  # visits; bytes a second
QUESTION, SAID = 'What is hibernation?', '#thread .turn:last-child .acts'
LAB_CHAT = "'#chat .bot.message:last-of-type')?.closest('#chat')"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"

class Cards(Script):
    "An engine so small that the cards answer for it."
    def smaller_than(self, parameters): return True

def visit(browser: Browser, url: str, work: Callable[[Page], dict], speed: float = 0) -> dict:
    "What came until the page was ready, and when, in a fresh browser; and what `work(page)` measures then."
    context = browser.new_context(locale='en', viewport=dict(width=1280, height=800))
    page = context.new_page()
    page.set_default_timeout(120_000)
    cdp, sizes = context.new_cdp_session(page), []
    cdp.send('Network.enable')
    cdp.on('Network.loadingFinished', lambda e: sizes.append(e['encodedDataLength']))
    if speed: cdp.send('Network.emulateNetworkConditions', dict(offline=False, latency=0, downloadThroughput=speed,
                                                                uploadThroughput=speed))
    begun = time.perf_counter()
    page.goto(url, wait_until='commit')
    page.wait_for_selector('html[data-ready] #box')
    told = dict(usable_ms=1000*(time.perf_counter()-begun), bytes=sum(sizes))
    until(page, f'{PAINT} > 0')  # a page may be ready before the frame in which it is painted
    told |= dict(paint_ms=page.evaluate(PAINT)) | work(page)
    context.close()
    return told

def until(page: Page, condition: str):
    "Wait for a condition; the page's policy allows no `wait_for_function`."
    end = time.monotonic()+60
    while not page.evaluate(condition):
        if time.monotonic() > end: raise TimeoutError(condition)
        page.wait_for_timeout(100)

def middle(runs: list[dict]) -> dict:
    "The medians of what several visits measured, as whole numbers."
    return {k: round(statistics.median(r[k] for r in runs)) for k in runs[0]}

def ask(page: Page) -> dict:
    "From Enter to the whole answer of a card; the question is the visit's first."
    page.fill('#box', QUESTION)
    begun = time.perf_counter()
    page.press('#box', 'Enter')
    page.wait_for_selector(SAID)
    return dict(answer_ms=1000*(time.perf_counter()-begun))

def long_chat(store: Store) -> str:
    "A chat of 200 messages; its id."
    me, chat, choices = store.user(None)['id'], None, ['a glass of milk', 'a rock', 'the air in a balloon']
    for i in range(100):
        chat, m = store.add_message(me, chat, f'Question {i}: which of these is a solid?', choices=choices)
        store.set_answer(m, text='A rock keeps its shape wherever you put it. $$E = m c^2$$', probs=[.2, .7, .1])
    return chat

def keys(browser: Browser, folder: str) -> dict:
    "From a key press to the frame after it, in a chat of 200 messages."
    chat = long_chat(store := Store(folder))
    def press(page):
        until(page, "document.querySelectorAll('.turn').length >= 100")
        page.wait_for_timeout(1000)
        times = page.evaluate(LATENCY.replace('#box textarea', '#box'))
        return dict(messages=200, keys=len(times), key_median_ms=times[len(times)//2], key_longest_ms=times[-1])
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store)) as s:
        told = visit(browser, f'{s.url}/#/chat/{chat}', press)
    return {k: round(v) for k, v in told.items() if k.startswith(('key', 'messages'))}

def lags(browser: Browser) -> dict:
    "How far the screen is behind an engine that says 50 words a second."
    engine = Fast()
    def count(page):
        page.evaluate(SEEN.replace(LAB_CHAT, "'#thread .turn:last-child .answer')"))
        page.fill('#box', 'Count for me, please.\nA. one\nB. two')
        page.press('#box', 'Enter')
        until(page, "window.seen.at(-1)?.[0] >= 499")
        late = [(t-engine.said[n])*1000 for n, t in page.evaluate('window.seen')]
        return dict(pictures=len(late), behind_median_ms=statistics.median(late), behind_longest_ms=max(late),
                    behind_last_ms=late[-1])
    with Server(engine, open_port('127.0.0.1', 0)) as s: told = visit(browser, s.url, count)
    shown = {k: round(v) for k, v in told.items() if k.startswith(('pictures', 'behind'))}
    return dict(words_a_second=round(499/(engine.said[499]-engine.said[0]), 1), **shown)

def main():
    "Measure, and keep the result."
    finder().find(QUESTION, 1)  # as on a server that has been up for a while
    with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
        browser = p.chromium.launch(executable_path=browser_path(), args=['--no-sandbox'])
        with Server(Cards(), open_port('127.0.0.1', 0)) as s:
            visit(browser, s.url, ask)  # warms server and browser
            near = middle([visit(browser, s.url, ask) for _ in range(VISITS)])
            far = middle([visit(browser, s.url, ask, SLOW) for _ in range(VISITS)])
        result = dict(machine=machine(), chromium=browser.version, visits=VISITS, **near,
                      **{f'slow_{k}': v for k, v in far.items()}, **keys(browser, folder), **lags(browser))
        browser.close()
    (ROOT/'bench'/'results'/'page.json').write_text(json.dumps(result, indent=1)+'\n')
    print(json.dumps(result, indent=1))

if __name__ == '__main__': main()
