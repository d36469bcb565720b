"""How quick the page is in a browser: a key press in a chat of 200 messages, and an answer of 50 words a second.

    python bench/page_bench.py

The result goes into bench/results/page.json. It needs the package playwright and a Chromium on the path.
"""
import json, sys, tempfile
from pathlib import Path
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT/'tests'))
from test_page import browser_path
from test_page_access import lags, typing_times
from host import machine

with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
    browser = p.chromium.launch(executable_path=browser_path(), args=['--no-sandbox'])
    times = typing_times(browser, folder)
    late, last, took = lags(browser)
    typed = dict(messages=200, keys=len(times), key_median_ms=round(times[len(times)//2]),
                 key_longest_ms=round(times[-1]))
    behind = dict(behind_median_ms=round(1000*late[len(late)//2]), behind_longest_ms=round(1000*late[-1]),
                  behind_last_ms=round(1000*last))
    result = dict(machine=machine(), chromium=browser.version, **typed, words_a_second=round(500/took, 1),
                  pictures=len(late), **behind)
    browser.close()
(ROOT/'bench'/'results'/'page.json').write_text(json.dumps(result, indent=1)+'\n')
print(json.dumps(result, indent=1))
