"The words in a picture: how they are read, in which order, and which questions they are."
import math, socket, sys
import pytest
from PIL import Image
from sciencetutor.app import endpoints, reading
from sciencetutor.app.reading import CannotRead, Line, can_read, draw_sheet, read_here, read_words, worksheet
from test_endpoints import call
from test_serve_access import file_data, house, server, upload, visit

needs_ocr = pytest.mark.skipif(not can_read(), reason="the extra is missing: pip install 'sciencetutor[ocr]'")

def line(text, x, y, sure=.99):
    return Line(text, [[x, y], [x+12*len(text), y], [x+12*len(text), y+20], [x, y+20]], sure)

def page(text, x=0, y=0):
    "The lines of a text; what is far apart in it stands beside each other, and an empty line is a gap."
    rows = [(i, part) for i, row in enumerate(text.split('\n')) for part in row.split('   ')]
    return [line(part.strip(), x+12*text.split('\n')[i].index(part), y+30*i) for i, part in rows if part.strip()]

# Read

LEFT = """Science worksheet

1. A student puts a metal
spoon into hot soup. How
did the heat travel?
(a) by radiation
(b) by conduction

2. Which is a solid?
(a) water
(b) a rock"""
RIGHT = """Name:

3. What happens to water
when it freezes?
(a) It becomes a gas.
(b) It becomes a solid.

4. Why do we have seasons?"""
ASKED = [("A student puts a metal spoon into hot soup. How did the heat travel?", ['by radiation', 'by conduction']),
         ('Which is a solid?', ['water', 'a rock']),
         ('What happens to water when it freezes?', ['It becomes a gas.', 'It becomes a solid.']),
         ('Why do we have seasons?', [])]

@needs_ocr
def test_a_photographed_worksheet():
    sheet = draw_sheet([LEFT, RIGHT], font='DejaVuSerif', size=32, angle=-2, noise=15, paper=(205, 200, 190))
    sheet.thumbnail((1024, 1024))  # as an upload is kept
    found = worksheet(read_words(sheet))
    assert [a[:2] for a in found] == ASKED and min(a.sure for a in found) > .8

@needs_ocr
def test_nothing_is_fetched(monkeypatch):
    def refuse(*a): raise AssertionError('the network was used')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    picture = Image.new('RGB', (400, 80), 'white')
    assert read_here(picture) == []
    picture = draw_sheet(['gravity'], size=60).crop((0, 0, 600, 300))
    assert [found.text for found in read_here(picture)] == ['gravity']

def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(reading, 'find_spec', lambda name: None)
    with pytest.raises(CannotRead, match=r"pip install 'sciencetutor\[ocr\]'") as e:
        read_words(Image.new('RGB', (9, 9)))
    assert e.value.why == 'missing' and '\n' not in str(e.value)

@pytest.fixture
def other_reader(monkeypatch):
    "A function that puts another program in the place of what reads."
    monkeypatch.setattr(reading, 'can_read', lambda: True)
    return lambda code: monkeypatch.setattr(reading, '_read', [sys.executable, '-c', code])

@pytest.mark.parametrize('code,why', [('import time; time.sleep(60)', 'slow'), ('1/0', 'failed'),
                                      ('import os; os.abort()', 'failed')])
def test_a_reader_that_fails(other_reader, code, why):
    other_reader(code)
    for _ in range(2):  # the next one has its turn
        with pytest.raises(CannotRead) as e: read_words(Image.new('RGB', (9, 9)), seconds=1. if why == 'slow' else 20.)
        assert e.value.why == why and '\n' not in str(e.value)

def test_one_picture_at_a_time(other_reader):
    other_reader('print("[]")')
    with reading._reader, pytest.raises(CannotRead) as e: read_words(Image.new('RGB', (9, 9)), seconds=.01)
    assert e.value.why == 'busy' and read_words(Image.new('RGB', (9, 9))) == []

def test_pixels_are_bounded(other_reader):
    other_reader('''import io, json, sys
from PIL import Image
size = Image.open(io.BytesIO(sys.stdin.buffer.read())).size
print(json.dumps([["{} {}".format(*size), [[0, 0], [9, 0], [9, 9], [0, 9]], 1]]))''')
    picture = Image.new('RGBA', (4000, 2000))
    assert read_words(picture)[0].text == '1600 800' and picture.size == (4000, 2000)

# In order

@pytest.mark.parametrize('text,asked', [
    ('1. Which is hot?\nA. fire\nB. ice\n\n2. Which is cold?\nA. tea\nB. ice',
     [('Which is hot?', ['fire', 'ice']), ('Which is cold?', ['tea', 'ice'])]),
    ('1. Which tool measures heat?\nA. ruler       B. scale\nC. clock       D. thermometer\n\n'
     '2. Which shines?\nA. the Moon    B. the Sun',
     [('Which tool measures heat?', ['ruler', 'scale', 'clock', 'thermometer']),
      ('Which shines?', ['the Moon', 'the Sun'])]),
    ('1. Which is hot?     3. Which flies?\nA. fire              A. a bat\nB. ice               B. a cow\n\n'
     '2. Which is cold?    4. Which swims?\nA. tea               A. a hen\nB. ice               B. a cod',
     [('Which is hot?', ['fire', 'ice']), ('Which is cold?', ['tea', 'ice']), ('Which flies?', ['a bat', 'a cow']),
      ('Which swims?', ['a hen', 'a cod'])]),
    ('Q1. Which is largest?\n(A)Mars (B) Jupiter\n\nQ2: Which is a baby frog?\n(A) pup (B) tadpole',
     [('Which is largest?', ['Mars', 'Jupiter']), ('Which is a baby frog?', ['pup', 'tadpole'])]),
    ('Which gas do we breathe?\n1) oxygen\n2) helium\n\nWhich melts?\n1) ice\n2) sand',
     [('Which gas do we breathe?', ['oxygen', 'helium']), ('Which melts?', ['ice', 'sand'])]),
    ('Which takes in water?\n□ the leaf\n□ the root\n\nWhich has scales?\nO a fish\nO a cat',
     [('Which takes in water?', ['the leaf', 'the root']), ('Which has scales?', ['a fish', 'a cat'])]),
    ('Which is attracted by\na magnet?\n\nan iron nail\na marble',
     [('Which is attracted by a magnet?', ['an iron nail', 'a marble'])]),
    ('4. A push or a pull is called a\nA force\nB mass', [('A push or a pull is called a', ['force', 'mass'])]),
    ('8. Photosynthesis hap-\npens in which part?\nA. the nucleus of\nthe cell\nB. the wall',
     [('Photosynthesis happens in which part?', ['the nucleus of the cell', 'the wall'])]),
    ('Quiz 3     Name:\n\n1. Why is it dark\nat night?\n\n2. Name two\nplanets.\n\nTurn over',
     [('Why is it dark at night?', []), ('Name two planets.', [])]),
    ('Lena fills two cups with water\nand puts one of them in the sun.\n\n1. What did she find out?\n'
     'a) it warms\nb) it cools',
     [('Lena fills two cups with water and puts one of them in the sun. What did she find out?',
       ['it warms', 'it cools'])]),
    ('Caution: wet floor', []), ('', [])])
def test_common_forms(text, asked): assert [a[:2] for a in worksheet(page(text)[::-1])] == asked

def test_a_page_that_lies_askew():
    c, s = math.cos(.08), math.sin(.08)
    straight = page('1. Which is hot?     2. Which flies?\nA. fire              A. a bat\n'
                    'B. ice               B. a cow')
    askew = [l._replace(corners=[[c*x-s*y, s*x+c*y] for x, y in l.corners]) for l in straight]
    asked = [('Which is hot?', ['fire', 'ice']), ('Which flies?', ['a bat', 'a cow'])]
    assert [a[:2] for a in worksheet(askew)] == asked

def test_the_least_sure_line_counts():
    lines = page('1. Which is hot?\nA. fire\nB. ice')
    assert worksheet([*lines[:2], lines[2]._replace(sure=.55)])[0].sure == .55

def test_hostile_pages_end_soon():
    lines = [line(f'{"AB"[i % 2]}. x{i}', 200*(i % 7), 24*(i//7)) for i in range(700)]
    assert worksheet(lines) is not None and worksheet([line('?'*500, 0, 0)]*50)

# Over HTTP

@pytest.fixture
def read(monkeypatch):
    "Pictures that were read, by a reader that finds a question in each."
    seen = []
    monkeypatch.setattr(endpoints, 'read_words', lambda picture: (seen.append(picture.size),
                        [*page('1. Which is hot?\nA. fire'), line('B. ise', 0, 60, .6)])[1])
    return seen

def test_only_the_visitors_own_upload_is_read(server, house, read):
    v, eve = visit(server.url), visit(server.url)
    path = upload(v).json()[0]
    for bad in '/etc/passwd', str(house/'secret.png'), '../../etc/passwd', 'http://127.0.0.1:9/x.png':
        assert call(v, 'page_words', file_data(bad)) == 403
    assert call(eve, 'page_words', file_data(path)) == 403 and not read
    assert call(v, 'page_words', None)['note'] == 'failed' and not read
    question = dict(question='Which is hot?', choices=['fire', 'ise'], look=True)
    said = call(v, 'page_words', file_data(path))
    assert said == dict(questions=[question], words='1. Which is hot? A. fire B. ise', note='')
    assert read == [(40, 30)] and call(v, 'page_words', file_data(path))['note'] == 'failed'  # it is gone

def test_a_visitor_has_one_picture_read(server, monkeypatch):
    v, other = visit(server.url), visit(server.url)
    paths = [upload(v).json()[0] for _ in range(2)]+[upload(other).json()[0]]
    def read_words(picture):
        inside.append(call(v, 'page_words', file_data(paths[1]))['note'] if not inside else '')
        return []
    inside = []
    monkeypatch.setattr(endpoints, 'read_words', read_words)
    assert call(v, 'page_words', file_data(paths[0])) == dict(questions=[], words='', note='')
    assert inside == ['busy'] and call(other, 'page_words', file_data(paths[2]))['note'] == ''
