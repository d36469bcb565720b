"CQM-A strings against ones worked out by hand, and what the other formats promise."
import pytest
from fastcore.script import CliError
from sciencetutor.data.formats import INPUTS, OUTPUTS, Item, parse_format, parse_turns, record

P = dict(question='Q?', choices=['x', 'y'], answer=1, hint='', lecture='Lec.', solution='Sol.', image=None,
         split='train')
PIC = dict(bytes=b'', path='image.png')


def turns(format='CQM-A', image=None, caption='', first=False, **kw):
    r = record(Item('train-0', '1', P | kw, image, caption), parse_format(format), first)
    return r['human'], r['gpt']


CQM = [  # problem, picture?, human, gpt
    (dict(question='Which is a gas?', choices=['iron', 'helium'], answer=1), False,
     'Context: N/A\nQuestion: Which is a gas?\nOptions: (A) iron (B) helium', 'The answer is B.'),
    (dict(question='Which is a gas?', choices=['iron', 'helium'], answer=0, hint='Gases fill their container.'), False,
     'Context: Gases fill their container.\nQuestion: Which is a gas?\nOptions: (A) iron (B) helium',
     'The answer is A.'),
    (dict(question='Which colour is it?', choices=['red', 'blue', 'green'], answer=2), True,
     'Context: N/A\nQuestion: Which colour is it?\nOptions: (A) red (B) blue (C) green\n<image>', 'The answer is C.'),
    (dict(question='Which colour is it?', choices=['red', 'blue'], answer=0, hint='Look at the map.'), True,
     'Context: Look at the map.\nQuestion: Which colour is it?\nOptions: (A) red (B) blue\n<image>',
     'The answer is A.'),
    (dict(question='How many?', choices=['1', '2', '3', '4', '5'], answer=4), False,
     'Context: N/A\nQuestion: How many?\nOptions: (A) 1 (B) 2 (C) 3 (D) 4 (E) 5', 'The answer is E.'),
    (dict(question='Two  spaces?', choices=['a  b', 'c']), False,
     'Context: N/A\nQuestion: Two spaces?\nOptions: (A) a b (B) c', 'The answer is B.'),
    (dict(question='Three   spaces?', choices=['a', 'b']), False,
     'Context: N/A\nQuestion: Three  spaces?\nOptions: (A) a (B) b', 'The answer is B.'),
    (dict(question='Question: which one?', choices=['a', 'b']), False,
     'Context: N/A\nQuestion: Question: which one?\nOptions: (A) a (B) b', 'The answer is B.'),
    (dict(question='Line one\nline two', choices=['a', 'b'], hint='First\n\nSecond'), False,
     'Context: First\n\nSecond\nQuestion: Line one\nline two\nOptions: (A) a (B) b', 'The answer is B.'),
    (dict(question='Ends', choices=['a', 'b  ']), False,
     'Context: N/A\nQuestion: Ends\nOptions: (A) a (B) b', 'The answer is B.'),
    (dict(question='30° or 45°?', choices=['{a}', '100%']), False,
     'Context: N/A\nQuestion: 30° or 45°?\nOptions: (A) {a} (B) 100%', 'The answer is B.'),
    (dict(question='Q?', choices=['a', 'b'], hint='  padded  '), False,
     'Context: padded\nQuestion: Q?\nOptions: (A) a (B) b', 'The answer is B.'),
    (dict(question='Q?', choices=['a', 'b'], hint='  '), False,
     'Context: N/A\nQuestion: Q?\nOptions: (A) a (B) b', 'The answer is B.'),
]


@pytest.mark.parametrize('problem, picture, human, gpt', CQM)
def test_cqm_a_by_hand(problem, picture, human, gpt):
    assert turns(image=PIC if picture else None, **problem) == (human, gpt)


OTHER = {  # format -> human, gpt, of P
    'QCM-AL': ('Q?\nContext: N/A\nOptions: (A) x (B) y', 'The answer is B. BECAUSE: Lec.'),
    'QCML-AE': ('Q?\nContext: N/A\nOptions: (A) x (B) y\nBECAUSE: Lec.', 'The answer is B. BECAUSE: Sol.'),
    'QCME-ALE': ('Q?\nContext: N/A\nOptions: (A) x (B) y\nBECAUSE: Sol.', 'The answer is B. BECAUSE: Lec. Sol.'),
    'QCMLE-AEL': ('Q?\nContext: N/A\nOptions: (A) x (B) y\nBECAUSE: Lec. Sol.', 'The answer is B. BECAUSE: Sol. Lec.'),
    'QCLM-LA': ('Q?\nContext: N/A\nBECAUSE: Lec.\nOptions: (A) x (B) y', 'Lec. The answer is B.'),
    'QCEM-EA': ('Q?\nContext: N/A\nBECAUSE: Sol.\nOptions: (A) x (B) y', 'Sol. The answer is B.'),
    'QCLEM-LEA': ('Q?\nContext: N/A\nBECAUSE: Lec. Sol.\nOptions: (A) x (B) y', 'Lec. Sol. The answer is B.'),
    'CQM-ELA': ('Context: N/A\nQuestion: Q?\nOptions: (A) x (B) y', 'Sol. Lec. The answer is B.'),
    'QCM-LEPA': ('Q?\nContext: N/A\nOptions: (A) x (B) y', 'LECTURE: Lec.\nSOLUTION: Sol.\n###\nANSWER: B.'),
}


@pytest.mark.parametrize('format', OTHER)
def test_other_formats_by_hand(format): assert turns(format) == OTHER[format]


def test_every_format_is_covered():
    assert {f.split('-')[0] for f in OTHER} | {'CQM'} == set(INPUTS)
    assert {f.split('-')[1] for f in OTHER} | {'A'} == set(OUTPUTS)


def test_nothing_dangles():
    assert turns('QCME-AL', lecture='', solution='') == ('Q?\nContext: N/A\nOptions: (A) x (B) y', 'The answer is B.')
    assert turns('QCM-LEPA', lecture='', solution='')[1] == '###\nANSWER: B.'


def test_only_the_leading_label_goes():
    assert turns('QCM-A', question='Question: Question: why?')[0].startswith('Question: Question: why?')
    assert turns('CQM-LA', lecture='Answer: Answer: it.')[1] == 'Answer: it. The answer is B.'


def test_image_first_and_captions():
    assert turns(image=PIC, first=True)[0].startswith('<image>\nContext: N/A')
    assert turns(caption='a map', hint='Look.')[0].startswith('Context: Look. a map\n')


def test_unknown_format():
    for f in ('CQM', 'ABC-A', 'CQM-B', ''): pytest.raises(CliError, parse_format, f)


def test_conversations_are_read_back():
    for format in ('CQM-A', 'QCM-LEA', 'CQM-ALE', 'QCM-LEPA'):
        h, g = turns(format, image=PIC, hint='A hint.')
        assert parse_turns(h, g) == dict(question='Q?', choices=['x', 'y'], answer=1, hint='A hint.')
