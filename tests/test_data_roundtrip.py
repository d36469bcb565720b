"Official layout -> data set -> official layout loses nothing."
import json, os
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.exports import run_export
from sciencetutor.samples.core import make_problems

text = st.text(st.characters(blacklist_categories=['Cs']), max_size=40)
word = text.filter(lambda s: s.strip())
problems = st.lists(st.fixed_dictionaries(dict(question=word, choices=st.lists(word, min_size=1, max_size=6), hint=text,
                                               lecture=text, solution=text, task=text, grade=text, subject=text,
                                               topic=text, category=text, skill=text, image=st.none(),
                                               split=st.sampled_from(['train', 'val', 'test'])),
                                          optional=dict(note=text)),
                    min_size=1, max_size=8)


def write_official(folder: Path, ps: dict, splits: dict | None = None) -> Path:
    "An official folder; pictures given as PIL images are written as files."
    folder.mkdir(parents=True, exist_ok=True)
    ps = {pid: dict(p) for pid, p in ps.items()}
    for pid, p in ps.items():
        if p['image'] is None: continue
        (where := folder/'images'/p['split']/pid).mkdir(parents=True)
        p['image'].save(where/'image.png')
        p['image'] = 'image.png'
    (folder/'problems.json').write_text(json.dumps(ps))
    if splits is None:
        splits = {}
        for k, p in ps.items(): splits.setdefault(p['split'], []).append(k)
    (folder/'pid_splits.json').write_text(json.dumps(splits))
    return folder


def there_and_back(folder: Path, tmp: Path, **kw) -> Path:
    run_data(str(folder), str(tmp/'d'), **kw)
    run_export(str(tmp/'d'), str(tmp/'o'), 'official')
    return tmp/'o'


def same_folder(a: Path, b: Path, pids) -> None:
    pa, pb = (json.loads((f/'problems.json').read_text()) for f in (a, b))
    assert set(pb) == set(pids)
    for pid in pids:
        assert pb[pid] == pa[pid], pid
        f = Path('images')/pa[pid]['split']/pid/(pa[pid]['image'] or 'none')
        before, after = ((d/f).read_bytes() if (d/f).is_file() else None for d in (a, b))
        assert before == after, pid


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ps=problems, data=st.data())
def test_any_problem_comes_back(ps, data, tmp_path_factory):
    tmp = tmp_path_factory.mktemp('trip')
    ps = {str(i): p | dict(answer=data.draw(st.integers(0, len(p['choices']) - 1))) for i, p in enumerate(ps)}
    a = write_official(tmp/'a', ps)
    b = there_and_back(a, tmp)
    same_folder(a, b, ps)
    assert json.loads((b/'pid_splits.json').read_text()) == json.loads((a/'pid_splits.json').read_text())


def test_samples_come_back(tmp_path):
    a = write_official(tmp_path/'a', make_problems(150, 'train', 3) | make_problems(30, 'val', 3))
    same_folder(a, there_and_back(a, tmp_path), json.loads((a/'problems.json').read_text()))


def test_real_problems_come_back(tmp_path):
    if 'SCIENCEQA_DIR' not in os.environ: pytest.skip('SCIENCEQA_DIR is not set')
    real = Path(os.environ['SCIENCEQA_DIR'])
    splits = json.loads((real/'local_splits.json').read_text())
    some = {s: pids[::9] for s, pids in splits.items()}
    (tmp_path/'s.json').write_text(json.dumps(some))
    b = there_and_back(real, tmp_path, splits=str(tmp_path/'s.json'))
    same_folder(real, b, [p for v in some.values() for p in v])
    assert json.loads((b/'pid_splits.json').read_text()) == some


def test_mini_split_keeps_its_order(tmp_path):
    ps = make_problems(12, 'train', 1)
    ps = {str(i): p for i, p in enumerate(ps.values())}
    a = write_official(tmp_path/'a', ps, dict(train=list(ps), minitrain=['7', '3', '5']))
    run_data(str(a), str(tmp_path/'d'), only=['minitrain'])
    assert load_split(tmp_path/'d', 'minitrain')['pid'][:] == ['7', '3', '5']


def test_problems_in_another_order_than_their_split(tmp_path):
    ps = {str(i): p for i, p in enumerate(make_problems(12, 'train', 1).values())}
    a = write_official(tmp_path/'a', dict(reversed(ps.items())), dict(train=list(ps)))
    run_data(str(a), str(tmp_path/'d'))
    assert load_split(tmp_path/'d', 'train')['pid'][:] == list(ps)
