"Pictures on cards: drawn whole, told whole, refused where they are wrong, and shown with the answer."
import base64, math, re
from itertools import combinations
from xml.etree import ElementTree

import pytest, requests
from fastcore.script import CliError

from sciencetutor.app.cards import load_cards, run_check
from sciencetutor.app.drawings import (BadPicture, KINDS, LIGHT, STYLES, WIDE, alt_text, draw_picture, entries,
                                       picture_data, picture_fault, text_width, wrap)
from sciencetutor.app.retrieval import finder
from sciencetutor.app.turns import Turn, card_picture, reply, shown_picture
from sciencetutor.engine.core import Engine
from sciencetutor.serve.access import route_kind
from sciencetutor.serve.core import Server, open_port
from test_page import browser

SVG = '{http://www.w3.org/2000/svg}'
MEADOW = dict(title='In a meadow', chain=['grass', {'rabbit': 'eats grass'}, 'fox'])
CARD = '''topic: Ice
cards:
- id: ice-floats
  title: Why ice floats
  grades: 3-6
  answer: Ice floats because it is less dense than water.
  asked: [why does ice float]
  picture: {title: Ice in water, layers: [ice, {water: denser}]}
'''


def kind_of(p): return next(k for k in KINDS if k in p)


@pytest.fixture(scope='module')
def pictured(): return {c.id: c for c in load_cards() if c.picture}


def lines_of(svg: str) -> list[tuple[str, float, float, float, float]]:
    "Each line of text, with its left, top, right and bottom as it was measured."
    found = []
    for t in ElementTree.fromstring(svg).iter(SVG+'text'):
        w, size = text_width(t.text, t.get('class')), STYLES[t.get('class')][0]
        x, y = float(t.get('x')), float(t.get('y'))
        left = x-w*dict(start=0, middle=.5, end=1)[t.get('text-anchor')]
        found.append((t.text, left, y-.75*size, left+w, y+.2*size))
    return found


def clash(lines: list) -> list:
    "Pairs of texts that cover each other."
    return [(a[0], b[0]) for i, a in enumerate(lines) for b in lines[:i]
            if a[1] < b[3]-.5 and b[1] < a[3]-.5 and a[2] < b[4]-.5 and b[2] < a[4]-.5]


def test_many_cards_have_a_picture(pictured):
    assert len(pictured) >= 150 and len({c.topic for c in pictured.values()}) >= 60
    assert {kind_of(c.picture) for c in pictured.values()} == set(KINDS)


def test_every_picture_is_drawn_and_told_whole(pictured):
    for name, card in pictured.items():
        p = card.picture
        root, told = ElementTree.fromstring(draw_picture(p)), alt_text(p)
        assert root.find(SVG+'title').text == p['title'] and root.find(SVG+'desc').text == told, name
        words = {str(n) for n, _ in entries(p[kind_of(p)])} | {p['title'].rstrip('.'), p.get('note', '').rstrip('.')}
        assert all(w in told for w in words), (name, told)
        assert not re.search(r'\.\.|\[|\]|None', told), told


def test_no_text_leaves_its_picture_or_covers_another(pictured):
    for name, card in pictured.items():
        svg = draw_picture(card.picture)
        lines, high = lines_of(svg), picture_data(name, card.picture)['height']
        assert all(x0 >= 3 and y0 >= 0 and x1 <= WIDE-3 and y1 <= high for _, x0, y0, x1, y1 in lines), name
        assert not clash(lines), (name, clash(lines))
        assert high <= 800, name


def test_texts_as_a_browser_draws_them(browser, pictured):
    sample = {kind_of(c.picture): c.picture for c in pictured.values()}
    page = browser.new_page(viewport=dict(width=360, height=800))
    measure = '''() => [...document.querySelectorAll('svg text')].map(t => { const b = t.getBoundingClientRect(),
        f = t.ownerSVGElement.getBoundingClientRect()
        return [t.textContent, b.left-f.left, b.top-f.top, b.right-f.left, b.bottom-f.top, f.width, f.height] })'''
    for kind, p in sample.items():
        page.set_content(f'<body style="margin:0">{draw_picture(p)}')
        lines = page.evaluate(measure)
        assert lines and all(l[1] >= 0 and l[2] >= 0 and l[3] <= l[5] and l[4] <= l[6] for l in lines), kind
        tight = [(t, x0, y0+3, x1, y1-3) for t, x0, y0, x1, y1, _, _ in lines]  # without the room above small letters
        assert not clash(tight), (kind, clash(tight))
    page.close()


def drawn(p: dict, tag: str) -> list[dict]:
    "The attributes of a picture's elements of a kind."
    return [e.attrib for e in ElementTree.fromstring(draw_picture(p)).iter(SVG+tag)]


def test_planets_are_counted_from_the_sun(pictured):
    for name in ('solar-system-what', 'planet-order'):
        p = pictured[name].picture
        lines, asked = lines_of(draw_picture(p)), p['orbits']
        numbers = [t for t, *_ in lines if t.isdigit()]
        assert sorted(numbers) == sorted([*'12345678']*2) and 'Number' not in p['note'], name  # on a ring, and below
        beside = {planet: min((x-l[1], l[0]) for l in lines if l[0].isdigit() and abs(l[2]-y) < 4 and l[1] < x)[1]
                  for planet, x, y, *_ in lines if planet in asked}
        assert [beside[planet] for planet in asked[1:]] == [*'12345678'], name
        assert 'In the middle: Sun' in {t for t, *_ in lines}


@pytest.mark.parametrize('unit, values, dashed', [
    ('hertz', (20_000, 440, 20), 4), ('m', (3, 30, 299), 2), ('°C', (15_000_000, 1100, 40), 6)])
def test_a_log_scale_says_so(unit, values, dashed):
    p = dict(title='x', unit=unit, scale=[{f'no. {i}': v} for i, v in enumerate(values)])
    even, log = draw_picture(p), draw_picture(p | dict(log=True))
    assert 'dashed line' in log and 'dash"' in log and 'dashed line' not in even and 'dash"' not in even
    lines = [d for d in drawn(p | dict(log=True), 'path') if 'dash' in d['class']]
    at = [float(d['d'].split()[1]) for d in lines]
    assert len(at) == dashed and len({round(a-b) for a, b in zip(at, at[1:])}) <= 2
    bulb = max((float(c['cy'])+float(c['r']) for c in drawn(p, 'circle')), default=0)
    said, _, top, *_ = next(l for l in lines_of(log) if 'dashed line' in l[0])
    assert top >= bulb and not clash(lines_of(log)), said


def test_no_particle_is_lost_by_melting_and_an_alloy_has_two_sizes():
    def particles(state): return [tuple(float(c[k]) for k in ('cx', 'cy', 'r'))
                                  for c in drawn(dict(title='x', particles=[{'x': state}]), 'circle') if c['r'] != '2']
    solid, liquid, alloy = map(particles, ('solid', 'liquid', 'alloy'))
    assert len(solid) == len(liquid) == len(alloy)
    assert {r for *_, r in solid} == {r for *_, r in liquid} == {6} and {r for *_, r in alloy} == {6, 8}
    marks = [(float(c['cx']), float(c['cy'])) for c in drawn(dict(title='x', particles=[{'x': 'alloy'}]), 'circle')
             if c['r'] == '2']
    assert marks == [(x, y) for x, y, r in alloy if r == 8]
    frame = drawn(dict(title='x', particles=[{'x': 'alloy'}]), 'rect')[-1]
    left, top, side = (float(frame[k]) for k in ('x', 'y', 'width'))
    for kept in (solid, alloy):
        assert all(math.dist(a[:2], b[:2]) >= a[2]+b[2] for a, b in combinations(kept, 2))
        assert all(left <= x-r and x+r <= left+side and top <= y-r and y+r <= top+side for x, y, r in kept)


def test_celery_is_a_leaf_stalk():
    for c in load_cards():
        assert not re.search(r'celery is a stem|stems \(celery', str(vars(c))), c.id


@pytest.mark.parametrize('scheme, color', [('light', (255, 255, 255)), ('dark', (27, 35, 39))])
def test_a_picture_takes_the_theme_of_its_page(browser, scheme, color):
    import io
    from PIL import Image
    uri = 'data:image/svg+xml;base64,' + base64.b64encode(draw_picture(MEADOW).encode()).decode()
    page = browser.new_page(color_scheme='light')
    page.set_content(f'<style>:root {{ color-scheme: {scheme} }} body {{ margin: 0 }}</style><img src="{uri}">')
    page.wait_for_function('document.images[0].complete')
    seen = Image.open(io.BytesIO(page.screenshot())).convert('RGB').getpixel((40, 100))
    page.close()
    assert seen == color


def contrast(a: str, b: str) -> float:
    "The contrast ratio of two colors (WCAG 2.2)."
    def light(color):
        parts = [int(color[i:i+2], 16)/255 for i in (1, 3, 5)]
        return sum(w*(p/12.92 if p <= .04045 else ((p+.055)/1.055)**2.4) for w, p in zip((.2126, .7152, .0722), parts))
    high, low = sorted([light(a), light(b)], reverse=True)
    return (high+.05)/(low+.05)


def test_texts_can_be_read_on_every_color():
    from sciencetutor.app.drawings import DARK
    for theme in (LIGHT, DARK):
        for ground in (theme['paper'], *theme['fills']):
            assert contrast(theme['ink'], ground) >= 7 and contrast(theme['soft'], ground) >= 4.5, ground
        assert contrast(theme['line'], theme['paper']) >= 3


@pytest.mark.parametrize('wrong, says', [
    ('a food chain', 'title and a kind'), (dict(chain=['a', 'b']), 'it needs a title'),
    (dict(title='x'), 'it needs one of chain'),
    (MEADOW | dict(cycle=['a', 'b', 'c']), 'it needs one of chain'),
    (MEADOW | dict(sound='moo'), "there is no 'sound'"),
    (MEADOW | dict(chain=['grass']), '2 to 8 entries'),
    (MEADOW | dict(chain='grass, rabbit'), 'there must be a list'),
    (MEADOW | dict(chain=['a']*9), '2 to 8 entries'),
    (MEADOW | dict(chain=['a', True]), 'must be a text'),
    (MEADOW | dict(chain=['a', {'b': 7}]), 'must be a text'),
    (MEADOW | dict(chain=['a', {'b': 'c', 'd': 'e'}]), 'one name'),
    (MEADOW | dict(chain=['a', 'b'*40]), 'too long a word'),
    (MEADOW | dict(title='x'*71), 'longer than 70'),
    (MEADOW | dict(note='x '*200), 'longer than 200'),
    (MEADOW | dict(chain=['a', 'b\x00']), 'not seen'),
    (MEADOW | dict(chain=['a', 'b\u202e']), 'not seen'),
    (dict(title='x', bars=[dict(a=1), dict(b='2')]), 'there must be a number'),
    (dict(title='x', bars=[dict(a=1), dict(b=-2)]), 'above zero'),
    (dict(title='x', bars=[dict(a=1), dict(b=float('nan'))]), 'there must be a number'),
    (dict(title='x', bars=[dict(a=1), dict(b=float('inf'))]), 'there must be a number'),
    (dict(title='x', bars=[dict(a=1), dict(b=1e-300)], log=True), 'too far from the others'),
    (dict(title='x', scale=[dict(a=1), dict(b=9)], log=True), 'ten times the smallest'),
    (dict(title='x', scale=[dict(a=1), dict(b=3), dict(c=2)]), 'rising or falling'),
    (dict(title='x', scale=[dict(a=1), dict(b=1)]), 'rising or falling'),
    (dict(title='x', share=[dict(a=50), dict(b=60)]), 'add up to 100'),
    (dict(title='x', compare=[dict(a=['b']), dict(c='d')]), 'a list of 1 to 6 texts'),
    (dict(title='x', tree=['a']), 'there is a list'),
    (dict(title='x', tree=[{'a': [{'b': [{'c': [{'d': ['e']}]}]}]}]), 'three steps deep'),
    (dict(title='x', particles=[dict(a='plasma')]), 'one of solid'),
    (dict(title='x', waves=[dict(a=[99, 1])]), '1 to 24'),
    (dict(title='x', forces=[dict(north='wind')]), 'no way'),
    (dict(title='x', forces=[dict(up='a'), dict(up='b')]), 'twice'),
    (dict(title='x', circuit=['bulb', 'switch']), 'needs a battery'),
    (dict(title='x', circuit=['battery', 'cat']), 'no part'),
    (dict(title='x', circuit=['battery', 'switch']), 'nothing is driven'),
    (dict(title='x', moon=['blue moon']), 'no phase'),
    (dict(title='x', atom=[dict(protons=1), dict(neutrons=1), dict(electrons=[99])]), 'numbers are missing'),
    (dict(title='x', atom=[dict(protons=1), dict(neutrons=1), dict(electrons=2)]), 'shell by shell'),
    (dict(title='x', punnett=['Bb', 'Bx']), 'such as Bb'),
    (dict(title='x', cycle=[f'{i} {"word "*11}' for i in range(8)]), 'no room for the arrows'),
    (dict(title='x', chain=[{'word '*11: 'word '*17}]*8), 'too much for one picture'),
])
def test_what_cannot_be_drawn_is_refused(wrong, says):
    fault = picture_fault(wrong)
    assert fault.startswith('picture: ') and says in fault and '\n' not in fault


def test_a_description_that_contains_itself():
    endless = ['a']
    endless.append({'b': endless})
    assert 'three steps deep' in picture_fault(dict(title='x', tree=[{'x': endless}]))
    assert 'must be a text' in picture_fault(dict(title='x', chain=[endless, endless]))


def test_words_stay_words():
    p = dict(title='</title><script>x</script>', chain=['<b onload="x">', "'); }*{fill:red}", '&amp; ]]>'])
    assert picture_fault(p) == ''
    root = ElementTree.fromstring(draw_picture(p))
    known = {'svg', 'title', 'desc', 'style', 'rect', 'text', 'path', 'polygon'}
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= known
    assert root.find(SVG+'title').text == p['title']
    with pytest.raises(BadPicture, match='too long a word'): wrap('honorificabilitudinitatibus', 100)


def test_a_teachers_picture_is_checked_with_file_and_line(tmp_path, capsys):
    (tmp_path/'mine.yaml').write_text(CARD)
    run_check(str(tmp_path))
    (tmp_path/'mine.yaml').write_text(CARD.replace('layers: [ice, {water: denser}]', 'layers: [ice]'))
    with pytest.raises(CliError, match='1 fault'): run_check(str(tmp_path))
    assert 'mine.yaml:3: ice-floats: picture: a layers picture has 2 to 8 entries' in capsys.readouterr().out


def test_the_picture_goes_with_the_cards_answer(pictured):
    turns = []
    for text in ('what is the water cycle', 'give me an example'):
        turn = Turn(text)
        for _ in reply(Engine('tiny'), turn, turns): pass
        turns.append(turn)
    first, second = (shown_picture(t.text, t.sources) for t in turns)
    assert first['file'].startswith('water-cycle.svg?v=') and 'Evaporation' in first['alt'] and second is None
    assert card_picture('water-cycle').startswith('<svg') and card_picture('no-such-card') is None
    assert finder().by_id['water-cycle'].picture == pictured['water-cycle'].picture


@pytest.fixture(scope='module')
def server():
    page, http, stream = (open_port('127.0.0.1', 0) for _ in range(3))
    with Server(Engine('tiny'), page, api_socks=(http, stream), rate=0) as s: yield s


def test_page_and_api_serve_it(server):
    asked = dict(question='What is the water cycle?')
    picture = requests.post(f'{server.api_url}/v1/tutor/answer', json=asked, timeout=60).json()['picture']
    assert 'Evaporation' in picture['alt'] and picture['url'].startswith('/v1/tutor/pictures/water-cycle.svg?v=')
    for url in (server.api_url+picture['url'], f'{server.url}/cards/water-cycle.svg'):
        r = requests.get(url, timeout=60)
        assert r.status_code == 200 and r.headers['content-type'].startswith('image/svg+xml'), r.text
        assert 'max-age' in r.headers['cache-control'] and "default-src 'none'" in r.headers['content-security-policy']
        ElementTree.fromstring(r.text)
    for url in (f'{server.api_url}/v1/tutor/pictures/no-card.svg', f'{server.url}/cards/no-card.svg',
                f'{server.url}/cards/..%2f..%2fetc%2fpasswd.svg', f'{server.url}/cards/x.png'):
        assert requests.get(url, timeout=60).status_code == 404, url
    plain = requests.post(f'{server.api_url}/v1/tutor/answer', json=dict(question='thanks'), timeout=60).json()
    assert plain['picture'] is None
    assert route_kind('GET', '/cards/water-cycle.svg') == 'read' and not route_kind('POST', '/cards/water-cycle.svg')


@pytest.mark.parametrize('path, width', [('/', 360), ('/lab', 360), ('/', 1280)])
def test_both_pages_show_it(browser, server, path, width):
    page = browser.new_page(viewport=dict(width=width, height=800), locale='en')
    page.set_default_timeout(60_000)
    page.goto(server.url+path)
    box = '#box' if path == '/' else '#box textarea'
    page.fill(box, 'What is the water cycle?')
    page.press(box, 'Enter')
    image = page.locator('img.drawing' if path == '/' else 'img[src*="cards/water-cycle"]').first
    image.wait_for()
    page.wait_for_function('i => i.complete && i.naturalWidth == 340', arg=image.element_handle())
    assert 'Evaporation' in image.get_attribute('alt')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    page.close()
