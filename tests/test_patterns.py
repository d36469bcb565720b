"Every regular expression of the package takes time in proportion to a text, whatever the text is."
import ast, importlib, itertools, re, time
import pytest
from sciencetutor.app.uploads import Refusal
from test_house import modules

METHODS = 'sub', 'subn', 'search', 'match', 'findall', 'split', 'fullmatch', 'finditer'
LOCALS = dict(  # what patterns that are put together inside a function have for their parts
    k='seed', tags='img|video|link', script='äöüß', part='[^/@?#]+', c='a choice',
    letters='ABCD',
    pattern='/(assets|static)(/[a-z]+)*',
    mine='/tmp/uploads/(public|0{32})/[A-Za-z0-9_-]{1,64}')
ASSEMBLED = {'app.answers', 'app.calculations', 'app.safety', 'models.core'}  # compile patterns inside a function
SIZES = 16, 20, 24, 28, 34, 42, 54, 70, 100, 1000, 10_000  # characters; slowly at first, for what doubles with each
MOST, SECONDS = 30, .05  # how much longer a text ten times as long may take, and what is too little to judge

def compiled(value):
    "The patterns in a value: in lists, dicts and what is kept beside them."
    if isinstance(value, re.Pattern): yield value
    elif isinstance(value, (list, tuple, set, frozenset)): yield from itertools.chain(*(compiled(v) for v in value))
    elif isinstance(value, dict): yield from compiled(list(value.values()))

def uses(tree):
    "Name of a global -> the methods that are called on it."
    found = {}
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and isinstance(n.func.value, ast.Name):
            if n.func.attr in METHODS: found.setdefault(n.func.value.id, set()).add(n.func.attr)
    return found

def literals(tree, namespace):
    "(method, line, pattern) of every call such as `re.sub(...)`."
    evaluate = lambda e: eval(compile(ast.Expression(e), '?', 'eval'), {**LOCALS, **namespace})
    for n in ast.walk(tree):
        if not (isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in METHODS
                and isinstance(n.func.value, ast.Name) and n.func.value.id == 're'): continue
        flags = [k.value for k in n.keywords if k.arg == 'flags']
        flags += n.args[dict(sub=4, subn=4, split=3).get(n.func.attr, 2):][:1]
        yield n.func.attr, n.lineno, re.compile(evaluate(n.args[0]), evaluate(flags[0]) if flags else 0)

def patterns_of(name):
    "(name, pattern, how it is applied, longest text) of a module."
    module, tree = importlib.import_module(f'sciencetutor.{name}'), ast.parse(modules()[name].read_text())
    used = uses(tree)
    for key, value in vars(module).items():
        for p in compiled(value):
            for how in used.get(key, ()) or ['search']: yield f'{key}.{how}', p, how, 10**5
    for how, line, p in literals(tree, vars(module)): yield f'line {line}, {how}', p, how, 10**5

def assembled_patterns():
    "The same, for what is compiled inside a function."
    from sciencetutor.app.answers import LONGEST_TALK, talk
    for kind, p in [*talk()['follow'].items(), *((k, p) for k, p, _ in talk()['replies'])]:
        yield f'talk.toml {kind}', p, 'fullmatch', LONGEST_TALK
    from sciencetutor.app.calculations import quantity_pattern
    yield 'units', quantity_pattern(), 'findall', 500
    from sciencetutor.app.safety import Guard
    guard = Guard()
    yield 'safety.toml spelling', guard.misspelled, 'sub', 10**5
    for i, rule in enumerate(guard.rules):
        for p in rule.patterns: yield f'safety.toml {i} {rule.level}', p, 'search', 10**3  # longer takes minutes
        if rule.unless: yield f'safety.toml {i} {rule.level} unless', rule.unless, 'sub', 10**3

def pieces(pattern, most=12):
    "Texts that a pattern knows: its runs of plain characters, spread over all of it, and the first halves of these."
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode('latin-1')
    plain = re.sub(r'\(\?(P<\w+>|<?[=!]|[a-z]*:)|\\[bBdDsSwWAZ]|\{[\d,]+\}|[\[\](|)?*+^$]', '\0', source)
    words = list(dict.fromkeys(w for w in plain.replace('\\', '').split('\0') if w))
    signs = list(dict.fromkeys(c for c in source if not c.isalnum() and c not in '\\'))[:20]
    words = words[::max(1, -(-len(words)//most))]
    return list(dict.fromkeys([*words, *(w[:(len(w)+1)//2] for w in words), *signs]))

def repeat(unit, n): return (unit*(n//len(unit)+1))[:n]

def hostile(pattern):
    "Functions that write a text of about n characters, by name."
    known, found = pieces(pattern), {}
    units = [' ', '\n', 'a', 'A', '0', '.', 'a ', 'a\n', '\n ', '0a', *known]
    units += [p+end for p in known for end in ' \na']
    for u in dict.fromkeys(units):
        found[f'{u!r}*n'] = lambda n, u=u: repeat(u, n)
        found[f'{u!r}*n+!'] = lambda n, u=u: repeat(u, n)+'\0!'
    for first in known[:12]:
        for u in ' ', 'a', '\n', '0', *known[:3]:
            found[f'{first!r}+{u!r}*n'] = lambda n, first=first, u=u: first+repeat(u, n)+'\0'
    for one, two in itertools.pairwise(known[:12]):
        found[f'{one!r}*n+{two!r}*n'] = lambda n, one=one, two=two: repeat(one, n//2)+repeat(two, n//2)
    if known: found['all of it'] = lambda n: repeat(''.join(known), n)
    return found

def seconds(pattern, how, text):
    "Of the processor, for all of a text."
    if isinstance(pattern.pattern, bytes): text = text.encode()
    work = getattr(pattern, 'finditer' if how in ('sub', 'subn', 'split', 'findall') else how)
    began = time.thread_time()
    found = work(text)
    if hasattr(found, '__next__'):
        for _ in found: pass
    return time.thread_time()-began

def too_steep(pattern, how, write, sizes):
    "What a pattern took for texts of growing size: the last, and whether it was too long."
    took = []
    for n in sizes:
        took.append(seconds(pattern, how, write(n)))
        if took[-1] > SECONDS: took[-1] = min(took[-1], seconds(pattern, how, write(n)))  # the machine may be busy
        steep = len(took) > 1 and took[-1] > MOST*max(took[-2], 1e-5)*n/sizes[len(took)-2]/10
        if took[-1] > 2 or took[-1] > SECONDS and steep: return took[-1], f'{took[-1]:.2f} s at {n:,} characters'
    return took[-1], ''

def grows(pattern, how, longest=10**5):
    "The text for which a pattern needs too long, with what it took; None if there is none."
    took = {}
    for name, write in (texts := hostile(pattern)).items():
        took[name], why = too_steep(pattern, how, write, [n for n in SIZES if n <= longest])
        if why: return f'{name}: {why}'
    for name in sorted(took, key=took.get)[-3:]:  # the slowest once more, ten times as long
        _, why = too_steep(pattern, how, texts[name], [n for n in (10_000, 100_000) if n <= longest] or [longest])
        if why: return f'{name}: {why}'

def test_the_judge_knows_a_bad_one():
    assert "' '*n" in grows(re.compile(r'\s+$'), 'search') and grows(re.compile(r'(a|a)*b'), 'match')
    assert grows(re.compile('<img.*?>'), 'sub') and not grows(re.compile('<[^<>]{0,99}>'), 'sub')
    assert not grows(re.compile(r'\s+'), 'sub')

def test_all_are_found():
    "What a module compiles inside a function is known to `assembled_patterns`."
    for name, path in modules().items():
        functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
        inside = [ast.unparse(n) for f in functions for n in ast.walk(f) if isinstance(n, ast.Attribute)]
        assert 're.compile' not in inside or name in ASSEMBLED, name
    assert {'_img.split', '_img.findall'} <= {name for name, *_ in patterns_of('serve.api')}
    assert len(list(assembled_patterns())) > 20

@pytest.mark.parametrize('name', [*modules(), 'assembled'])
def test_patterns_are_linear(name):
    found = {key: why for key, p, how, longest in (assembled_patterns() if name == 'assembled' else patterns_of(name))
             if (why := grows(p, how, longest))}
    assert not found

def functions():
    "What reads a text that somebody typed, and the longest that reaches it."
    from sciencetutor.app import answers, core, safety, turns
    from sciencetutor.data.formats import parse_turns
    from sciencetutor.eval.answer_parsing import read_tolerant
    from sciencetutor.serve.api import form_messages
    guard = safety.Guard()
    return dict(
        choices=(turns.find_choices, 10**5), read=(turns.Turn.read, 10**5), sentences=(turns.whole_sentences, 10**5),
        no_pictures=(core.no_pictures, 10**5), bare=(answers.bare, 10**5), language=(answers.other_language, 20_000),
        yes_or_no=(answers.wants_yes_or_no, 10**5), leans=(answers.leans_on_last, 10**5),
        normal=(safety.normalize_text, 20_000), guard=(lambda t: guard.match(t, 'in'), safety.MAX_CHECKED//4),
        form=(lambda t: form_messages('x'+t, [t], 8), 10**5), answer=(lambda t: read_tolerant(t, ['a', 'b']), 10**5),
        turn=(lambda t: parse_turns('Context: '+t, 'The answer is A.'), 10**5))

TYPED = [
    ' ', '\n', 'a', 'a ', '\n ', '0', '.', '<ima', '<im<image>', '<image>', 'A. ', '(A)', '(A) a (B) b ', '1. ', '- ',
    '?\n', 'Options: ', 'Choices:\n', 'Context: ', '\nQuestion: ', '\nOptions: ', 'answer ', 'a.b.c.d', 'k.i.l.l ',
    'kill ', "i'm ", 'e\u0301', '\u2800', 'ä', '我', '![', '<']

@pytest.mark.parametrize('name', [
    'choices', 'read', 'sentences', 'no_pictures', 'bare', 'language', 'yes_or_no', 'leans', 'normal', 'guard', 'form',
    'answer', 'turn'])
def test_what_reads_a_text_is_linear(name):
    work, longest = functions()[name]
    def spent(text):
        began = time.thread_time()
        try: work(text)
        except Refusal: pass
        return time.thread_time()-began
    for unit in TYPED:
        for end in '', '\0!':
            few, many = repeat(unit, longest//10)+end, repeat(unit, longest)+end
            if (took := spent(many)) < SECONDS: continue
            took, before = min(took, spent(many)), spent(few)  # the machine may be busy
            assert took < MOST*before, (unit, end, before, took)
