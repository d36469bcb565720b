"The data stage: bad input, faults, kills, what is on disk."
import io, json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data import atomic_dir, load_split, run_data
from sciencetutor.sources import open_source, Notes
from test_data_roundtrip import write_official

RED = Image.new('RGB', (9, 9), 'red')


def problem(i, **kw):
    return dict(question=f'What is {i}?', choices=['a', 'b'], answer=0, hint='', image=None, task='', grade='', subject='', topic='', category='',
                skill='', lecture='', solution='', split='train') | kw


def folder(tmp, *ps): return write_official(tmp/'sqa', {str(i): p for i, p in enumerate(ps)})


def refused(tmp, match, *args, **kw):
    "One line, and nothing written."
    with pytest.raises(CliError, match=match) as e: run_data(*args, out=str(tmp/'out'), **kw)
    assert '\n' not in str(e.value)
    assert not list(tmp.glob('*out*')) and not list(tmp.glob('.*out*'))


def test_missing_folder(tmp_path): refused(tmp_path, 'no folder', str(tmp_path/'nowhere'))


def test_not_json(tmp_path):
    f = folder(tmp_path, problem(0))
    for text in ('{"0": {"question"', '[1]', 'hello', '', '{"0": 1} trailing {'):
        (f/'problems.json').write_text(text)
        refused(tmp_path, 'problems.json', str(f))


def test_broken_split_file(tmp_path):
    f = folder(tmp_path, problem(0))
    (f/'pid_splits.json').write_text('[1, 2]')
    refused(tmp_path, 'not a split file', str(f))
    refused(tmp_path, 'name a JSON file', str(f), splits=str(tmp_path/'no.json'))


@pytest.mark.parametrize('change, match', [
    (dict(answer=2), r'1 has the answer 2, outside its 2 choices \(0 to 1\)'), (dict(answer=-1), 'outside'), (dict(answer='A'), 'index of a choice'),
    (dict(answer=True), 'index of a choice'), (dict(choices=[]), 'no choices'), (dict(choices=['a', ' ']), r'empty choice \(2 of 2\)'),
    (dict(choices=['a', 3]), 'empty choice'), (dict(choices='ab'), 'no choices'), (dict(question=' '), 'no question'), (dict(hint=3), 'hint that is not text'),
    (dict(question='\ud800'), 'not Unicode'), (dict(image='../../x.png'), 'outside its folder'), (dict(choices=list('abcdefghijklmnopqrstuvwxyz1')), 'at most 26')])
def test_bad_problem(tmp_path, change, match):
    f = folder(tmp_path, problem(0))
    ps = {'0': problem(0), '1': problem(1, **change), '2': problem(2)}
    (f/'problems.json').write_text(json.dumps(ps))
    (f/'pid_splits.json').write_text(json.dumps(dict(train=list(ps))))
    refused(tmp_path, match, str(f))
    m = run_data(str(f), str(tmp_path/'out'), bad='skip')
    assert m['skipped'] == {'questions are bad': 1} and m['splits']['train']['rows'] == 2
    assert load_split(tmp_path/'out', 'train')['id'][:] == ['train-0', 'train-1']


@pytest.mark.parametrize('data, match', [(b'<html>', 'not a picture'), (b'', 'empty file'), (b'\x89PNG\r\n\x1a\n', 'picture')])
def test_bad_picture(tmp_path, data, match):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    (f/'images'/'train'/'0'/'image.png').write_bytes(data)
    refused(tmp_path, f'pictures are bad: 0 .*{match}', str(f))
    assert run_data(str(f), str(tmp_path/'out'), bad='skip')['splits']['train']['rows'] == 1


def test_absent_picture(tmp_path, capsys):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    (f/'images'/'train'/'0'/'image.png').unlink()
    refused(tmp_path, 'named but absent: 0', str(f), missing_images='error')
    m = run_data(str(f), str(tmp_path/'out'))
    assert m['notes'] == {'pictures are named but absent': 1} and m['splits']['train'] | dict(sha256='') == dict(rows=2, images=0, sha256='')
    assert '1 pictures are named but absent: 0' in capsys.readouterr().out
    assert '<image>' not in load_split(tmp_path/'out', 'train')[0]['conversations'][0]['value']
    assert run_data(str(f), str(tmp_path/'out'), missing_images='skip')['splits']['train']['rows'] == 1


def test_split_file_with_gaps_and_repeats(tmp_path):
    f = folder(tmp_path, problem(0), problem(1), problem(2))
    (tmp_path/'s.json').write_text(json.dumps(dict(train=['0', '1', '9'], val=['1', '2'])))
    m = run_data(str(f), str(tmp_path/'out'), splits=str(tmp_path/'s.json'))
    assert m['notes'] == {'pids of the split file have no problem': 1, 'pids stand twice in the split file': 1}
    refused(tmp_path/'..'/tmp_path.name, 'no split tset', str(f), splits=str(tmp_path/'s.json'), only=['tset']) if not (tmp_path/'out').exists() else None
    with pytest.raises(CliError, match='it has train, val'): run_data(str(f), str(tmp_path/'out2'), splits=str(tmp_path/'s.json'), only=['tset'])


def test_a_pid_that_is_there_twice(tmp_path):
    f = folder(tmp_path, problem(0))
    p = json.dumps(problem(0))
    (f/'problems.json').write_text(f'{{"0": {p}, "1": {p}, "0": {p}}}')
    (f/'pid_splits.json').write_text(json.dumps(dict(train=['0', '1'])))
    m = run_data(str(f), str(tmp_path/'out'))
    assert m['splits']['train']['rows'] == 2 and m['notes'] == {'pids have two problems (the first counts)': 1}


def test_load_split(tmp_path):
    with pytest.raises(CliError, match='no data set'): load_split(tmp_path, 'val')
    run_data('samples', str(tmp_path/'d'), n=10)
    assert len(load_split(tmp_path/'d', 'validation')) == len(load_split(tmp_path/'d', 'val')) == 2
    with pytest.raises(CliError, match='it has train, val, test'): load_split(tmp_path/'d', 'tset')


def test_same_input_same_bytes(tmp_path):
    for d in 'ab': run_data('samples', str(tmp_path/d), n=60, seed=4)
    files = sorted(p.relative_to(tmp_path/'a') for p in (tmp_path/'a').rglob('*') if p.is_file())
    assert len(files) == 11
    for f in files: assert (tmp_path/'a'/f).read_bytes() == (tmp_path/'b'/f).read_bytes(), f


def test_pictures_are_the_files_they_were(tmp_path):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    run_data(str(f), str(tmp_path/'d'))
    import datasets
    ds = load_split(tmp_path/'d', 'train')
    assert ds[0]['image'].size == (9, 9) and ds[1]['image'] is None
    raw = ds.cast_column('image', datasets.Image(decode=False))[0]['image']
    assert raw == dict(bytes=(f/'images'/'train'/'0'/'image.png').read_bytes(), path='image.png')
    run_data(str(f), str(tmp_path/'d'), max_side=4)
    assert load_split(tmp_path/'d', 'train')[0]['image'].size == (4, 4)


def test_hub_schema(tmp_path, monkeypatch):
    import datasets
    rows = [{k: v for k, v in problem(i).items() if k not in ('image', 'split')} for i in range(3)]
    ds = datasets.Dataset.from_list(rows).add_column('image', [None, dict(bytes=open_png(), path=None), None]).cast_column('image', datasets.Image())
    monkeypatch.setattr(datasets, 'load_dataset', lambda name: datasets.DatasetDict(train=ds, validation=ds, test=ds))
    m = run_data('someone/ScienceQA', str(tmp_path/'d'))
    assert {s: (c['rows'], c['images']) for s, c in m['splits'].items()} == dict(train=(3, 1), val=(3, 1), test=(3, 1))
    assert load_split(tmp_path/'d', 'val')['id'][:] == [f'validation-{i}' for i in range(3)]
    datasets.DatasetDict(train=ds).save_to_disk(str(tmp_path/'saved'))
    assert run_data(str(tmp_path/'saved'), str(tmp_path/'d2'))['splits']['train']['rows'] == 3


def open_png():
    RED.save(b := io.BytesIO(), 'PNG')
    return b.getvalue()


def test_unreachable_hub(tmp_path, monkeypatch):
    import datasets
    def down(name): raise ConnectionError('no route\nto host')
    monkeypatch.setattr(datasets, 'load_dataset', down)
    refused(tmp_path, 'neither a folder here nor a data set', 'someone/nothing')


def test_another_format_from_our_own_folder(tmp_path):
    run_data('samples', str(tmp_path/'a'), n=20)
    run_data(str(tmp_path/'a'), str(tmp_path/'b'), format='QCM-LEA')
    run_data('samples', str(tmp_path/'c'), n=20, format='QCM-LEA')
    for s in ('train', 'val', 'test'): assert load_split(tmp_path/'b', s)['conversations'][:] == load_split(tmp_path/'c', s)['conversations'][:]


def test_teachers_table_is_a_source(tmp_path):
    (tmp_path/'mine.csv').write_text('question,choices,answer,image\nWhich?,a | b,B,red.png\nWhy?,c | d | e,d,\n')
    RED.save(tmp_path/'red.png')
    run_data(str(tmp_path/'mine.csv'), str(tmp_path/'d'))
    ds = load_split(tmp_path/'d', 'train')
    assert ds['answer'][:] == ['B', 'B'] and ds[0]['image'].size == (9, 9)


def test_light_import():
    code = 'import sciencetutor.data, sys; print([m for m in ("torch", "gradio", "datasets", "transformers") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'


def test_command_line(tmp_path):
    done = subprocess.run([sys.executable, '-m', 'sciencetutor.cli', 'data', '--source', str(tmp_path/'nowhere'), '--out', str(tmp_path/'d')],
                          capture_output=True, text=True)
    if done.returncode == 0 and not done.stderr: pytest.skip('the command line is not runnable as a module')
    assert done.returncode == 2 and 'no folder' in done.stderr and done.stderr.count('\n') == 1


def test_atomic_dir_refuses_a_file(tmp_path):
    (tmp_path/'x').write_text('mine')
    with pytest.raises(CliError, match='is a file'):
        with atomic_dir(tmp_path/'x'): pass
    assert (tmp_path/'x').read_text() == 'mine'


def kill_at(tmp: Path, source: str, seconds: float, n: int) -> bool:
    "Start a conversion, kill it; was it killed before its end?"
    code = f"from sciencetutor.data import run_data; run_data({source!r}, {str(tmp/'d')!r})"
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    p.send_signal(signal.SIGKILL)
    return p.wait() != 0


def check_after_kills(tmp_path, delays):
    run_data('samples', str(tmp_path/'d'), n=30, seed=1)
    old = json.loads((tmp_path/'d'/'manifest.json').read_text())
    ps = {str(i): problem(i, hint='x' * 500) for i in range(20000)}
    f = write_official(tmp_path/'sqa', ps)
    for seconds in delays:
        kill_at(tmp_path, str(f), seconds, len(ps))
        now = json.loads((tmp_path/'d'/'manifest.json').read_text())
        rows = len(load_split(tmp_path/'d', 'train'))
        assert (now == old and rows == 30) or rows == 20000
    run_data(str(f), str(tmp_path/'d'))
    assert len(load_split(tmp_path/'d', 'train')) == 20000
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_killed_conversion_leaves_the_old_data_set(tmp_path): check_after_kills(tmp_path, [.4, .7, 1., 1.3])


@pytest.mark.soak
def test_killed_fifty_times(tmp_path):
    import random
    check_after_kills(tmp_path, [random.Random(i).uniform(.2, 2.5) for i in range(50)])
