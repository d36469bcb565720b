"Every skill over many seeds: right answers, balance, splits that share nothing, the same problems on every machine."
import hashlib, random, re, subprocess, sys
from collections import Counter, defaultdict
import pytest
from fastcore.script import CliError
from sciencetutor.samples.physics import lit
from sciencetutor.samples.diagrams import cross
from sciencetutor.samples.core import lecture_cards, make_problem, make_problems
from sciencetutor.resources import cards, words
from sciencetutor.samples.skills import SKILLS, SPLITS, ask, ladder, show, sort_out, split_of

N = 120

@pytest.fixture(scope='module')
def drawn():
    "Skill -> questions as its generator makes them, the right choice known."
    return {k: [f(random.Random(i)) for i in range(N)] for k, f in SKILLS.items()}

@pytest.fixture(scope='module')
def mixed():
    "Skill id -> problems of train in random order, pictures not drawn."
    return {k: [make_problem(k, 'train', random.Random(i), draw=False) for i in range(N)] for k in SKILLS}

def test_enough():
    subjects = Counter(c['subject'] for c in lecture_cards())
    assert len(SKILLS) >= 40 and len(subjects) == 3 and min(subjects.values()) >= 10
    assert sum(bool(f(random.Random(0))['picture']) for f in SKILLS.values()) >= 10

def test_cards():
    assert set(SKILLS) <= set(cards()) and [c['id'] for c in lecture_cards()] == [k for k in cards() if k in SKILLS]
    assert len(cards()) >= 200 and len({c['title'] for c in cards().values()}) == len(cards())
    for c in cards().values():
        assert 120 < len(c['text']) < 600 and 1 <= c['grades'][0] <= c['grades'][1] <= 12, c['id']
        assert 2 <= len(re.findall(r'[.!?:](?=\s|$)', c['text'])), c['id']
        if 'answers' in c: assert len(set(c['answers'])) == len(c['answers']) >= 2 and re.compile(c['asks']), c['id']
        assert all(c[k] for k in ('subject', 'topic', 'category', 'skill', 'title'))

@pytest.mark.parametrize('name', list(SKILLS))
def test_skill(name, drawn, mixed):
    for q in drawn[name]:
        assert q['right'] not in q['wrong'] and len(set(q['wrong'])) == len(q['wrong']) and 1 <= len(q['wrong']) <= 4
        assert q['question'] and q['solution'] and all([q['right'], *q['wrong']])
        said = ' & '.join([q['question'], q['hint'], q['solution'], q['right'], *q['wrong']]).replace(' &  & ', ' & ')
        assert not re.search(r'[{}]|None|\bTrue\b|\bFalse\b|  ', said), said
        assert not re.search(r'\ba [aeio]\w|\ban [bcdfgjklmnpqrstvwxyz]\w|\b(\w+) \1\b(?<!that that)', said), said
        assert hash(q['key']) is not None
    for p in mixed[name]:
        assert 0 <= p['answer'] < len(p['choices']) <= 5 and 2 <= len(p['choices'])
        lo, hi = cards()[name]['grades']
        assert lo <= int(p['grade'].removeprefix('grade')) <= hi
        assert p['task'] == 'yes or no' if set(p['choices']) == {'yes', 'no'} else p['task'] == 'closed choice'

@pytest.mark.parametrize('name', [k for k, f in SKILLS.items() if f(random.Random(0))['picture']])
def test_picture(name, drawn):
    for q in drawn[name][:6]:
        f, *args = q['picture']
        im = f(*args)
        assert im.mode == 'RGB' and 180 <= min(im.size) and max(im.size) <= 480
        assert im.tobytes() == f(*args).tobytes() and len(im.getcolors(1 << 20)) > 8

def test_same_everywhere():
    "A fresh process with another hash seed makes the same problems and pixels."
    code = '''
import hashlib
from sciencetutor.samples.core import make_problems
h = hashlib.sha256()
for k, p in make_problems(100, 'val', 3).items():
    im = p.pop('image')
    h.update(repr((k, p)).encode())
    if im: h.update(im.tobytes())
print(h.hexdigest())'''
    def once(seed):
        env = dict(PYTHONHASHSEED=seed, PATH='')
        return subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True).stdout
    assert once('1') == once('2')

def test_prefix_and_seed():
    a, b, c = (list(make_problems(n, seed=s).items()) for n, s in ((60, 0), (20, 0), (20, 1)))
    strip = lambda x: [(k, {f: v for f, v in p.items() if f != 'image'}) for k, p in x]
    assert strip(a[:20]) == strip(b) and [p['question'] for _, p in b] != [p['question'] for _, p in c]
    assert not {k for k, _ in a} & {k for k, _ in c}

def test_errors():
    with pytest.raises(CliError, match="no split 'dev'"): make_problems(3, 'dev')
    with pytest.raises(CliError, match="no skill 'alchemy'"): make_problems(3, skills=['alchemy'])
    with pytest.raises(CliError, match='ask for fewer'): make_problems(10_000, 'test', skills=['gravity-energy'])

def test_distinct():
    pixels = lambda im: im and hashlib.md5(im.tobytes()).digest()
    ps = make_problems(1500).values()
    seen = {(p['question'], p['hint'], tuple(sorted(p['choices'])), pixels(p['image'])) for p in ps}
    assert len(seen) == 1500

def test_splits_share_nothing(drawn):
    "A value has one split; and no text, whatever its picture, is asked with the same values in two."
    keys = defaultdict(set)
    for name, f in SKILLS.items():
        for s in SPLITS:
            rng, n = random.Random(5), 0
            while n < 25:
                q = f(rng)
                if split_of(name, q['key']) != s: continue
                n += 1
                keys[name, q['key']].add(s)
                keys[name, q['question'], q['hint'], q['right'], *sorted(q['wrong']), repr(q['picture'])].add(s)
    assert max(map(len, keys.values())) == 1

def test_no_entry_without_a_test_split():
    for name in ('mammal', 'solid', 'verbs', 'capitals', 'formal', 'organs'):
        assert {split_of('any', (name, e)) for e in words(name)} == set(SPLITS)

def _share(pick, ps):
    "How often a rule picks the right choice, how often chance does, and three standard errors."
    hits, chance = [pick(p) == p['choices'][p['answer']] for p in ps], [1/len(p['choices']) for p in ps]
    n = len(hits)
    return sum(hits)/n, sum(chance)/n, 3*(sum(c*(1-c) for c in chance)/n**2)**.5

def test_positions(mixed):
    ps = [p for v in mixed.values() for p in v]
    for n in (2, 3, 4, 5):
        at = Counter(p['answer'] for p in ps if len(p['choices']) == n)
        total = sum(at.values())
        assert all(abs(at[i]-total/n) < 4*(total/n)**.5 for i in range(n)), (n, at)

@pytest.mark.parametrize('rule', ['longest', 'shortest', 'middle', 'first in the alphabet'])
def test_no_shortcut(mixed, rule):
    "A rule that reads nothing but the choices is at chance, over all skills."
    numbers = lambda c: [float(d) for d in re.findall(r'-?\d+', c)] or [0]
    pick = {'longest': lambda c: max(c, key=len), 'shortest': lambda c: min(c, key=len),
            'middle': lambda c: sorted(c, key=numbers)[len(c)//2], 'first in the alphabet': min}[rule]
    ps = [p for v in mixed.values() for p in v]
    got, chance, err = _share(lambda p: pick(p['choices']), ps)
    assert abs(got-chance) < max(err, .03), (rule, got, chance)

@pytest.mark.parametrize('name', [k for k, f in SKILLS.items() if f(random.Random(0))['picture']])
def test_picture_is_needed(name):
    "Neither the choice that tends to be right nor the one most like the others tells the answer of a picture question."
    ps = [make_problem(name, 'train', random.Random(i), draw=False) for i in range(600)]
    good, all_ = Counter(), Counter()
    for p in ps[:400]:
        for c in p['choices']: all_[c] += 1
        good[p['choices'][p['answer']]] += 1
    best = lambda p: max(p['choices'], key=lambda c: (good[c]+.4)/(all_[c]+1))
    letters = lambda c: re.findall(r'\w', c)
    same = lambda c, d: sum(x == y for x, y in zip(letters(c), letters(d)))
    near = lambda p: max(p['choices'], key=lambda c: sum(same(c, d) for d in p['choices']))
    for rule in (best, near):
        got, chance, err = _share(rule, ps[400:])
        assert got < chance+err+.03, (name, got, chance)

# answers once more, from the picture's own arguments

def each(name, n=200):
    for i in range(n):
        q = SKILLS[name](random.Random(i))
        yield q, q['picture'][1:] if q['picture'] else ()

def test_concentration():
    for q, ((m, n), (v, w), *_) in each('concentration'):
        a, b = m/v, n/w
        more = 'lower' not in q['question'] and 'less' not in q['question']
        if abs(a-b) < 1e-12: assert q['right'] == 'neither; their concentrations are the same'
        else: assert q['right'] == ('Solution A' if (a > b) == more else 'Solution B')

def test_gas():
    for q, (m, v, *_) in each('gas-temperature'):
        a, b = (k*s**2 for k, s in zip(m, v))
        higher = not re.search('lower|colder', q['question'])
        if a == b: assert q['right'] == 'neither; the samples have the same temperature'
        else: assert q['right'] == ('sample A' if (a > b) == higher else 'sample B')

def test_magnets():
    for q, (poles, *_) in each('magnets'): assert q['right'] == ('repel' if poles[1] == poles[2] else 'attract')
    for q, ((g, h), *_) in each('magnet-strength'):
        if g == h: assert 'equally' in q['right']
        else: assert ('Pair 1' in q['right']) == ((g < h) == bool(re.search('stronger|greater', q['right'])))

def test_net_force():
    for q, (l, r, *_) in each('net-force'):
        want = 'right' if r > l else 'left' if l > r else None
        assert want in q['right'] if want else re.search('rest|balanced', q['right'])

def test_scales():
    for q, (t, low, high, step, unit) in each('thermometer'):
        assert q['right'] == f'{t}{unit}' and low < t < high and t % (step//5) == 0
    for q, (v, high, step, _) in each('cylinder'):
        assert q['right'] == f'{v} mL' and 0 < v <= high and v % (step//5) == 0

def test_punnett():
    big = lambda g: sum(x.isupper() for x in g)
    def dominant(trait, letter, hint):
        return f'for {trait} ({letter}) is dominant' in hint or f'{letter} for {trait} is dominant' in hint
    want = {'homozygous dominant': 2, 'heterozygous': 1, 'homozygous recessive': 0}
    for q, (p, r, _) in each('punnett-probability'):
        cells = cross(p, r)
        n = next((sum(big(g) == k for g in cells) for w, k in want.items() if w in q['question']), None)
        if n is None:
            asked = re.search(r'will have (.+)\?', q['question']).group(1)
            shows = big if dominant(asked, p.upper()[0], q['hint']) else lambda g: not big(g)
            n = sum(bool(shows(g)) for g in cells)
        assert q['right'] == f'{n}/4'
    for q, (p, r, _) in each('punnett-ratio'):
        n = sum(big(g) > 0 for g in cross(p, r))
        first = re.search(r'offspring with (.+?) to offspring', q['question']).group(1)
        assert q['right'] == (f'{n}:{4-n}' if dominant(first, p.upper()[0], q['hint']) else f'{4-n}:{n}')

def test_food_webs():
    for q, (_, edges, _) in each('food-web'):
        named = lambda y, text=q['question'].replace('food web', ''): re.search(rf'\b{y}\b', text)
        eater = next(y for _, y in sorted(edges, key=lambda e: -len(e[1])) if named(y))
        assert (q['right'], eater) in edges and not any((w, eater) in edges for w in q['wrong'])
    for q, (levels, edges, _) in each('food-web-matter'):
        first = q['question'].split('?')[0]
        start = next(x for x in levels[0] if first.endswith(x) or f'from the {x}.' in q['question'])
        reach = {start}
        for _ in levels: reach |= {y for x, y in edges if x in reach}
        assert q['right'] in reach and not reach & set(q['wrong'])

def test_molecules():
    for q, (atoms, *_) in each('molecule-class'): assert (q['right'] == 'a compound') == (len(set(atoms)) > 1)
    for q, (atoms, *_) in each('molecule-formula'):
        count = lambda f: Counter({e: int(n or 1) for e, n in re.findall(r'([A-Z][a-z]?)(\d*)', f)})
        assert count(q['right']) == Counter(atoms) and all(count(w) != Counter(atoms) for w in q['wrong'])

def test_circuits():
    for q, (labels, closed, main, branches) in each('circuit'):
        on = sorted(l for l, s in zip(labels, lit(closed, main, branches)) if s)
        said = {'none of them': [], 'all of them': sorted(labels)}.get(q['right'], re.findall(r'\b[A-Z]\b', q['right']))
        assert said == on
    assert lit((True, False), None, True) == (True, False) and lit((True, False), None, False) == (False, False)
    assert not any(lit((True,)*3, False, True))

def test_heat():
    for q, (((a, b), (c, d)), *_) in each('heat-transfer'):
        assert (q['right'] == 'Pair 1') == ((abs(a-b) > abs(c-d)) == bool(re.search('faster|higher', q['question'])))

def test_moon():
    parts = {'crescent': lambda part: 0 < part < .5, 'quarter': lambda part: part == .5,
             'gibbous': lambda part: .5 < part < 1, 'new moon': lambda part: part == 0,
             'full moon': lambda part: part == 1}
    for q, (part, waxing, _) in each('moon'):
        name = q['right']
        wanes = 'waning' in name or name == 'third quarter'
        assert not wanes if waxing or part in (0, 1) else wanes
        assert parts[re.sub('waxing |waning |first |third ', '', name)](part)

def test_fossils():
    for q, (fossils, _) in each('fossils'):
        at = {f'the {f}': i for i, f in enumerate(fossils)}
        want = max if re.search('youngest|last', q['question']) else min
        assert q['right'] == want([q['right'], *q['wrong']], key=at.get)

def test_chart():
    for q, (names, v, *_) in each('climate-chart'):
        at = dict(zip(names, v))
        want = min if re.search('least|driest|coldest', q['question']) else max
        assert len(set(v)) == len(v) and q['right'] == want([q['right'], *q['wrong']], key=lambda m: at[m[:3]])

def test_maps():
    for q, (towns, turn, _) in each('map-directions'):
        asked = q['question'].split('town')[-1].split('these')[-1] if 'most' in q['question'] else q['question']
        wind = ('north', 'east', 'south', 'west').index(re.search('north|east|south|west', asked).group())
        dx, dy = [(0, -1), (1, 0), (0, 1), (-1, 0)][(wind+turn) % 4]
        assert q['right'] == max(towns, key=lambda t: t[1]*dx+t[2]*dy)[0]
    for q, (things, _) in each('map-grid'):
        at = {'ABCDE'[c]+str(r+1): t for t, (c, r) in things}
        cell = re.search(r'\b[A-E][1-5]\b', q['question'])
        if cell: assert q['right'] == f'the {at[cell.group()]}'
        else: assert at[q['right']] in q['question'] and not any(at.get(w) == at[q['right']] for w in q['wrong'])
    for q, (_, _, points, _) in each('latitude'):
        for letter, lat, lon in points:
            if q['right'] == letter: assert f'{abs(lat)}°' in q['question'] and f'{abs(lon)}°' in q['question']

def test_markets():
    for q, (equal, price, *_) in each('shortage'):
        says = ('neither a shortage nor a surplus', 'a surplus', 'a shortage')
        assert q['right'] == says[(price > equal)-(price < equal)]
    for q, ((p, _), (mine, yours), _) in each('trade'):
        giver, give, get = re.match(r'(\w+) gives (.+) and gets (.+)\.', q['right']).groups()
        assert giver == p and give in mine and get in yours
        n = {w: i for i, w in enumerate(('first', 'second', 'third'))}
        assert {n[w] for w in re.findall('first|second|third', q['hint'])} == {mine.index(give), yours.index(get)}

def test_organizers():
    for q, (f, *args) in ((q, q['picture']) for q, _ in each('organizer')):
        if f.__name__ == 'timeline':
            rows, year = args[0], re.search(r'\d{4}', q['question'])
            i = [w for _, w in rows].index(q['right'])
            if 'after' in q['question']: assert rows[i-1][0] == year.group()
            elif year: assert rows[i][0] == year.group()
            else: assert rows[i+1][1] in q['question']
        else:
            names, parts = args[:2]
            alone = [i for i, n in enumerate(names) if re.search(f'does only {n}|does {n} like but', q['question'])]
            part = 2*alone[0] if alone else 1
            assert q['right'] in parts[part] and not set(q['wrong']) & set(parts[part])
    for q, args in each('describe'):
        kind, n, color, *_ = args
        assert f'{color} {kind}s' in q['right'] and q['right'].startswith(('Two', 'Three', 'Four', 'Five', 'Six')[n-2])

def test_dictionary():
    for q, _ in each('guide-words'):
        lo, hi = q['question'].split('\n')[1].split(' - ')
        inside = lambda w: lo < w < hi
        if q['right'] in ('yes', 'no'):
            assert inside(re.search(r'word (\w+)', q['question']).group(1)) == (q['right'] == 'yes')
        else: assert inside(q['right']) and not any(map(inside, q['wrong']))

def test_rhymes_and_categories_do_not_overlap():
    for section in ('rhymes', 'categories', 'dictionary'):
        flat = [w for e in words(section) for w in (e if isinstance(e, tuple) else (e,))]
        assert len(flat) == len(set(flat)), [w for w, n in Counter(flat).items() if n > 1]

def test_word_lists_have_no_entry_twice():
    pairs = (('solid', 'liquid'), ('liquid', 'gas'), ('physical-change', 'chemical-change'), ('mammal', 'fish'),
             ('reptile', 'amphibian'), ('minerals', 'not-minerals'), ('goods', 'services'))
    for a, b in pairs:
        both = words(a)+words(b)
        assert len(both) == len(set(both))

def test_forces_come_in_pairs():
    for q, _ in each('force-pair'):
        f, side = re.search(r'force of (\d+) newtons (?:to the )?(\w+)', q['hint']).groups()
        opposite = 'left right up down north south east west'.split()
        back = opposite[opposite.index(side) ^ 1]  # the other of its pair
        assert re.match(rf'{f} newtons, (to the )?{back}', q['right'])

def test_comparisons_in_words():
    for q, _ in each('thermal-energy'):
        t = lambda c: int(re.search(r'at (\d+)', c).group(1))
        assert (t(q['right']) > t(q['wrong'][0])) == ('more' in q['question'])
    for q, _ in each('speed'):
        s = lambda c: (lambda d, h: int(d)/int(h))(*re.search(r'moved (\d+) \w+ in (\d+)', c).groups())
        assert (s(q['right']) > s(q['wrong'][0])) == bool(re.search('faster|higher', q['question']))

def test_ladder():
    at = Counter()
    for i in range(2000):
        right, wrong = ladder(random.Random(i), -20, 120, 4, 4)
        rungs = sorted([right, *wrong])
        at[rungs.index(right)] += 1
        assert -20 <= rungs[0] and rungs[-1] <= 120 and (right+20) % 4 == 0
        assert len({b-a for a, b in zip(rungs, rungs[1:])}) == 1
    assert set(at) == {0, 1, 2, 3} and min(at.values()) > 400

def test_sort_out_and_show(capsys):
    assert show(lambda rng: ask('Is it?', 'yes', ['no'], ('k',), 'It is.')) is None
    assert '* yes' in capsys.readouterr().out
    q = sort_out(random.Random(0), {'a bird': 'bird', 'a fish': 'fish'}, (), ('Which is {kind}?',))
    assert q['right'] in words(q['key'][0]) and not set(q['wrong']) & set(words(q['key'][0]))
