"The safety rules on their own test set, written differently, and when they break."
import pytest
from fastcore.script import CliError
from sciencetutor.safety import Guard, keep_words, measure, plain, read_rules, safety_lines
from sciencetutor.samples import make_problems

@pytest.fixture(scope='module')
def guard(): return Guard()

def test_the_test_set_is_large_and_its_halves_differ():
    first, second = safety_lines('first'), safety_lines('second')
    assert len(first)+len(second)>=300 and len(second)>=len(first)*.45
    assert not {plain(r['text']) for r in first} & {plain(r['text']) for r in second} and {r['level'] for r in first}=={r['level'] for r in second}

def test_what_the_rules_were_tuned_on(guard):
    m = measure(guard, safety_lines('first'))
    assert m['ok']['false_alarms']==0 and all(v['caught']==v['lines'] for k,v in m.items() if k!='ok')

def test_harmless_science_of_the_other_half(guard):
    m = measure(guard, safety_lines('second'))['ok']
    assert m['false_alarms'] <= .03*m['lines']

@pytest.mark.parametrize('text', ["I WANT TO KILL MYSELF", "i want to k1ll myself", "I want to kill my self", "I  want\nto kill  myself!!", "i want to кill myself".replace('к', 'k'),
    "I w\u200bant to kill mys\u200belf", "I want to kíll mysèlf", "ｉ ｗａｎｔ ｔｏ ｋｉｌｌ ｍｙｓｅｌｆ", "s.u.i.c.i.d.e", "s u i c i d e", "Why is the sky blue? Also I want to kill myself. Thanks"])
def test_written_differently(guard, text): assert guard.check(text).level=='self-harm'

def test_self_harm_comes_first(guard): assert guard.check('you are stupid and I want to kill myself, call me at 555-201-4433').level=='self-harm'

def test_an_excuse_does_not_cover_the_rest(guard): assert guard.check('apoptosis is cell suicide. I want to kill myself') and not guard.check('apoptosis is cell suicide')

def test_samples_pass(guard):
    for p in make_problems(300, split='test').values():
        assert not guard.check('\n'.join([p['hint'], p['question'], *p['choices']])) and not guard.check(p['lecture']+'\n'+p['solution'], 'out')

def test_fails_closed(guard, monkeypatch, capfd):
    monkeypatch.setattr(Guard, 'find', lambda *a: 1/0)
    assert guard.check('Why?').level=='error' and 'ZeroDivisionError' in capfd.readouterr().err

@pytest.mark.parametrize('text', ['', 'levels=[]', 'x = ', "levels=['a']\n[[rule]]\nlevel='b'\nwhere='in'\npatterns=['x']", "levels=['a']\n[[rule]]\nlevel='a'\nwhere='in'\npatterns=['(']"])
def test_broken_rules_do_not_start(text, tmp_path):
    (tmp_path/'rules.toml').write_text(text)
    with pytest.raises(CliError): Guard(str(tmp_path/'rules.toml'))

def test_binary_rules(tmp_path):
    (tmp_path/'rules.toml').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(CliError): Guard(str(tmp_path/'rules.toml'))

def test_personal_data_is_not_kept(guard):
    s = 'my email is sam@example.com'
    assert keep_words(s, guard.check(s))=='[personal]' and keep_words('Why?', None)=='Why?'

def test_long_and_strange_texts_are_quick(guard):
    import time
    t = time.perf_counter()
    for s in ('a'*20000, 'i want to '*2000, '1 '*9000, 'my '*6000, '\u0301'*10000, 'how do i '*2000, '12-'*6000): guard.check(s)
    assert time.perf_counter()-t < 30  # a pattern that backtracks would take hours
