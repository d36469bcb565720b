"The report: what it shows, what it must not run, how big it gets."
import json, os, re
from pathlib import Path

import pytest
from PIL import Image

from sciencetutor.eval.metrics import compare, judge, metrics
from sciencetutor.eval.report import make_report, thumbnails

EVIL = '</script><script>window.hit = 1</script><img src=x onerror="window.hit = 1"><!--<script> ${title} $title &amp;'


def make(n=60, text=EVIL, against=True):
    rows = [dict(id=f'val-{i}', pid=str(i), question=f'{i} {text}', hint=text*(i % 2), image='' if i % 3 == 0 else None,
                 choices=[text, 'b', 'c'], answer_index=i % 3, subject='natural science', topic=text, skill=text,
                 grade='grade3') for i in range(n)]
    judged = [judge(r, i % 5 - 1 if i % 5 < 4 else -1, [.5, .3, .2]) for i, r in enumerate(rows)]
    other = [judge(r, 0) for r in rows]
    m = dict(metrics(judged), model=text, protocol='generate', split='val', errors={text: 1})
    if against: m['against'] = dict(name=text, **compare(other, judged))
    return m, rows, judged, [dict(text=text) if i % 2 else dict(error='HTTP 500') for i in range(n)], other


def data(page): return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_page_is_the_same_each_time():
    m, rows, judged, answers, _ = make()
    pages = {make_report(m, rows, judged, answers, lambda i: Image.new('RGB', (50, 50), (i, 0, 0))) for _ in range(2)}
    assert len(pages) == 1


def test_nothing_from_outside_is_markup():
    m, rows, judged, answers, _ = make()
    page = make_report(m, rows, judged, answers)
    assert page.count('<script') == 2 and '<img' not in page and '<!--' not in page
    assert data(page)['questions'][1]['hint'] == EVIL


def test_flips_are_those_of_the_comparison():
    m, rows, judged, answers, other = make()
    for q, o in zip(data(make_report(m, rows, judged, answers))['questions'], other): assert q['was'] == o['correct']


def test_pictures_are_bounded_and_may_be_absent():
    rows = [dict(image='')]*3000
    noise = Image.effect_noise((300, 300), 90)
    got = thumbnails(rows, lambda i: noise, megabytes=.1)
    assert 0 < len(got) < 3000 and sum(map(len, got.values())) <= 1e5
    assert thumbnails(rows[:3], lambda i: None) == {}


def test_in_a_browser(tmp_path):
    browser = pytest.importorskip('playwright.sync_api')
    places = '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'
    chromium = next((p for p in places if os.path.exists(p)), None)
    if not chromium: pytest.skip('no chromium here')
    m, rows, judged, answers, other = make()
    report = make_report(m, rows, judged, answers, lambda i: Image.new('RGB', (50, 50), 'red'))
    Path(tmp_path/'report.html').write_text(report, encoding='utf-8')
    with browser.sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        page, trouble = b.new_page(), []
        page.on('console', lambda x: trouble.append(x.text))
        page.on('pageerror', lambda x: trouble.append(str(x)))
        page.goto((tmp_path/'report.html').as_uri())
        assert page.evaluate('window.hit') is None and not trouble
        count = lambda: int(page.inner_text('#state').split()[0])
        assert count() == 60 and page.locator('article').count() == 25
        page.click('#next'); page.click('#next')
        assert page.locator('article').count() == 10 and page.locator('#next').is_disabled()
        wanted = {'right': sum(q['correct'] for q in judged), 'unread': sum(q['prediction'] < 0 for q in judged),
                  'the two runs disagree': sum(q['correct'] != o['correct'] for q, o in zip(judged, other))}
        for name, want in wanted.items():
            page.select_option('#answer', name)
            assert count() == want
        page.select_option('#answer', 'all')
        page.select_option('#class', 'IMG')
        assert count() == 20 and page.locator('article img').count() == 20
        page.select_option('#class', 'Avg')
        page.fill('#words', 'val-17')
        assert count() == 1 and EVIL in page.inner_text('article')
        b.close()


def test_scored_files_get_a_report_with_pictures(scienceqa, tmp_path):
    from sciencetutor.eval.core import run_score
    run_score(f'{scienceqa}/results/llava_13b_v0.json', source=scienceqa, split='minitest',
              splits=f'{scienceqa}/local_splits.json', out=str(tmp_path))
    page = (tmp_path/'report.html').read_text(encoding='utf-8')
    assert len(page) < 4e6 and sum('img' in q for q in data(page)['questions']) == 204
