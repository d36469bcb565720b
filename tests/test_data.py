"The data stage: bad input, faults, kills, what is on disk."
import glob, json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data.core import LARGEST, load_split, run_data
from sciencetutor.data.images import png_bytes
from sciencetutor.files import atomic_dir
from sciencetutor.data.sources import open_source, Notes
from test_data_roundtrip import write_official

RED = Image.new('RGB', (9, 9), 'red')


def problem(i, **kw):
    p = dict(question=f'What is {i}?', choices=['a', 'b'], answer=0, hint='', image=None)
    return p | dict.fromkeys(('task', 'grade', 'subject', 'topic', 'category', 'skill', 'lecture', 'solution'), '') \
        | dict(split='train') | kw


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
    (dict(answer=2), r'1 has the answer 2, outside its 2 choices \(0 to 1\)'), (dict(answer=-1), 'outside'),
    (dict(answer='A'), 'index of a choice'), (dict(answer=True), 'index of a choice'), (dict(choices=[]), 'no choices'),
    (dict(choices=['a', ' ']), r'empty choice \(2 of 2\)'), (dict(choices=['a', 3]), 'empty choice'),
    (dict(choices='ab'), 'no choices'), (dict(question=' '), 'no question'), (dict(hint=3), 'hint that is not text'),
    (dict(question='\ud800'), 'not Unicode'), (dict(image='../../x.png'), 'outside its folder'),
    (dict(choices=list('abcdefghijklmnopqrstuvwxyz1')), 'at most 26')])
def test_bad_problem(tmp_path, change, match):
    f = folder(tmp_path, problem(0))
    ps = {'0': problem(0), '1': problem(1, **change), '2': problem(2)}
    (f/'problems.json').write_text(json.dumps(ps))
    (f/'pid_splits.json').write_text(json.dumps(dict(train=list(ps))))
    refused(tmp_path, match, str(f))
    m = run_data(str(f), str(tmp_path/'out'), bad='skip')
    assert m['skipped'] == {'questions are bad': 1} and m['splits']['train']['rows'] == 2
    assert load_split(tmp_path/'out', 'train')['id'][:] == ['train-0', 'train-1']


@pytest.mark.parametrize('data, match', [
    (b'<html>', 'not a picture'), (b'', 'empty file'), (b'\x89PNG\r\n\x1a\n', 'picture')])
def test_bad_picture(tmp_path, data, match):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    (f/'images'/'train'/'0'/'image.png').write_bytes(data)
    refused(tmp_path, f'pictures are bad: 0 .*{match}', str(f))
    assert run_data(str(f), str(tmp_path/'out'), bad='skip')['splits']['train']['rows'] == 1


def test_endless_picture(tmp_path):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    os.truncate(f/'images'/'train'/'0'/'image.png', LARGEST+1)  # padded with zeros that take no room
    refused(tmp_path, f'pictures are bad: 0 {LARGEST+1:,} bytes', str(f))


def test_absent_picture(tmp_path, capsys):
    f = folder(tmp_path, problem(0, image=RED), problem(1))
    (f/'images'/'train'/'0'/'image.png').unlink()
    refused(tmp_path, 'named but absent: 0', str(f), missing_images='error')
    m = run_data(str(f), str(tmp_path/'out'))
    assert m['notes'] == {'pictures are named but absent': 1}
    assert m['splits']['train'] | dict(hash='') == dict(rows=2, images=0, hash='')
    assert '1 pictures are named but absent: 0' in capsys.readouterr().out
    assert '<image>' not in load_split(tmp_path/'out', 'train')[0]['conversations'][0]['value']
    assert run_data(str(f), str(tmp_path/'out'), missing_images='skip')['splits']['train']['rows'] == 1


def test_split_file_with_gaps_and_repeats(tmp_path):
    f = folder(tmp_path, problem(0), problem(1), problem(2))
    (tmp_path/'s.json').write_text(json.dumps(dict(train=['0', '1', '9'], val=['1', '2'])))
    m = run_data(str(f), str(tmp_path/'out'), splits=str(tmp_path/'s.json'))
    assert m['notes'] == {'pids of the split file have no problem': 1, 'pids stand twice in the split file': 1}
    with pytest.raises(CliError, match='no split tset .*it has train, val'):
        run_data(str(f), str(tmp_path/'out2'), splits=str(tmp_path/'s.json'), only=['tset'])
    assert not (tmp_path/'out2').exists()


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
    assert len(files) == 12
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
    pictures = [None, dict(bytes=png_bytes(RED), path=None), None]
    ds = datasets.Dataset.from_list(rows).add_column('image', pictures).cast_column('image', datasets.Image())
    monkeypatch.setattr(datasets, 'load_dataset', lambda name: datasets.DatasetDict(train=ds, validation=ds, test=ds))
    m = run_data('someone/ScienceQA', str(tmp_path/'d'))
    assert {s: (c['rows'], c['images']) for s, c in m['splits'].items()} == dict(train=(3, 1), val=(3, 1), test=(3, 1))
    assert load_split(tmp_path/'d', 'val')['id'][:] == [f'validation-{i}' for i in range(3)]
    datasets.DatasetDict(train=ds).save_to_disk(str(tmp_path/'saved'))
    assert run_data(str(tmp_path/'saved'), str(tmp_path/'d2'))['splits']['train']['rows'] == 3


def test_unreachable_hub(tmp_path, monkeypatch):
    import datasets
    def down(name): raise ConnectionError('no route\nto host')
    monkeypatch.setattr(datasets, 'load_dataset', down)
    refused(tmp_path, 'neither a folder here nor a data set', 'someone/nothing')


def test_another_format_from_our_own_folder(tmp_path):
    run_data('samples', str(tmp_path/'a'), n=20)
    run_data(str(tmp_path/'a'), str(tmp_path/'b'), format='QCM-LEA')
    run_data('samples', str(tmp_path/'c'), n=20, format='QCM-LEA')
    for s in ('train', 'val', 'test'):
        b, c = (load_split(tmp_path/d, s)['conversations'][:] for d in 'bc')
        assert b == c


def test_teachers_table_is_a_source(tmp_path):
    (tmp_path/'mine.csv').write_text('question,choices,answer,image\nWhich?,a | b,B,red.png\nWhy?,c | d | e,d,\n')
    RED.save(tmp_path/'red.png')
    run_data(str(tmp_path/'mine.csv'), str(tmp_path/'d'))
    ds = load_split(tmp_path/'d', 'train')
    assert ds['answer'][:] == ['B', 'B'] and ds[0]['image'].size == (9, 9)


def test_light_import():
    heavy = ('torch', 'gradio', 'datasets', 'transformers')
    code = f'import sciencetutor.data.core, sys; print([m for m in {heavy} if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'


def test_command_line(tmp_path):
    done = subprocess.run([sys.executable, '-m', 'sciencetutor.cli', 'data', '--source', str(tmp_path/'nowhere'),
                           '--out', str(tmp_path/'d')],
                          capture_output=True, text=True)
    if done.returncode == 0 and not done.stderr: pytest.skip('the command line is not runnable as a module')
    assert done.returncode == 2 and 'no folder' in done.stderr and done.stderr.count('\n') == 1


def test_atomic_dir_refuses_a_file(tmp_path):
    (tmp_path/'x').write_text('mine')
    with pytest.raises(CliError, match='is a file'):
        with atomic_dir(tmp_path/'x'): pass
    assert (tmp_path/'x').read_text() == 'mine'


def kill_at(tmp: Path, source: str, more: int, seconds: float) -> int:
    "Start a conversion into small shards and kill it after it has finished so many; how many there are then."
    code = ('import sciencetutor.data.arrow as s; from sciencetutor.data.core import run_data; '
            's.SHARD_BYTES = s.BATCH_BYTES = 1 << 18; s.BATCH_ROWS = 200; print(flush=True); '
            f"run_data({source!r}, {str(tmp/'d')!r})")
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.readline()  # imported
    # under either name; a folder that is renamed meanwhile is no error, as it is for Path.glob
    there = lambda: len(glob.glob(f'{tmp}/.d.tmp*/*/*.arrow'))
    goal = there() + more
    while there() < goal and p.poll() is None: time.sleep(.001)
    time.sleep(seconds)
    p.send_signal(signal.SIGKILL)
    p.wait()
    return there()


def check_after_kills(tmp_path, moments) -> int:
    "Kill it again and again: the old data set stays, finished shards only grow in number, the end is as ever."
    run_data('samples', str(tmp_path/'d'), n=30, seed=1)
    old = json.loads((tmp_path/'d'/'manifest.json').read_text())
    ps = {str(i): problem(i, hint='x' * 500) for i in range(8000)}
    f = write_official(tmp_path/'sqa', ps)
    fresh, most, shards = run_data(str(f), str(tmp_path/'fresh')), 0, 0
    for more, seconds in moments:
        before, shards = shards, kill_at(tmp_path, str(f), more, seconds)
        now = json.loads((tmp_path/'d'/'manifest.json').read_text())
        assert now in (old, fresh) and len(load_split(tmp_path/'d', 'train')) == now['splits']['train']['rows']
        assert shards >= before or now == fresh
        most = max(most, shards)
    assert run_data(str(f), str(tmp_path/'d')) == fresh
    assert load_split(tmp_path/'d', 'train').data.table.equals(load_split(tmp_path/'fresh', 'train').data.table)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []
    assert [p.name for p in (tmp_path/'d').rglob('.*')] == ['.sciencetutor.json']
    assert not list((tmp_path/'d').rglob('*.part'))
    return most


def test_killed_conversion_leaves_the_old_data_set_and_resumes(tmp_path):
    assert check_after_kills(tmp_path, [(0, .01), (2, 0), (3, .02)]) >= 5


def stop_after(monkeypatch, n: int):
    "Ctrl-C when `n` shards are finished."
    import sciencetutor.data.arrow as shards
    ended, real = [], shards.SplitWriter.end_shard
    def end_shard(self):
        if self.sink is not None and len(ended) == n: raise KeyboardInterrupt
        ended.append(1) if self.sink is not None else None
        real(self)
    monkeypatch.setattr(shards.SplitWriter, 'end_shard', end_shard)


@pytest.mark.parametrize('order', [1, -1])
def test_finished_shards_are_kept(tmp_path, monkeypatch, capsys, order):
    "Also where the questions come in another order than their split."
    import sciencetutor.data.arrow as shards
    f = folder(tmp_path, *[problem(i, image=RED if i % 3 == 0 else None) for i in range(60)])
    splits = dict(train=list(map(str, range(40)))[::order], val=list(map(str, range(40, 60))))
    (f/'pid_splits.json').write_text(json.dumps(splits))
    fresh = run_data(str(f), str(tmp_path/'fresh'))
    for name, value in dict(SHARD_BYTES=1, BATCH_ROWS=8).items(): monkeypatch.setattr(shards, name, value)
    with monkeypatch.context() as m:
        stop_after(m, 3)
        with pytest.raises(KeyboardInterrupt): run_data(str(f), str(tmp_path/'d'))
    kept = {p.name: p.stat().st_ino for p in tmp_path.glob('.d.tmp*/*/shard-*.arrow')}
    assert len(kept) == 3 or order == -1 and kept
    capsys.readouterr()
    assert run_data(str(f), str(tmp_path/'d')) == fresh
    assert 'finished shards are kept' in capsys.readouterr().out
    assert set(kept.values()) <= {p.stat().st_ino for p in (tmp_path/'d').rglob('*.arrow')}
    for s in ('train', 'val'):
        again, once = (load_split(tmp_path/d, s).data.table for d in ('d', 'fresh'))
        assert again.equals(once)


@pytest.mark.parametrize('change', ['questions', 'options', 'pictures'])
def test_shards_of_another_input_are_not_kept(tmp_path, monkeypatch, capsys, change):
    import sciencetutor.data.arrow as shards
    for name, value in dict(SHARD_BYTES=1, BATCH_ROWS=8).items(): monkeypatch.setattr(shards, name, value)
    f = folder(tmp_path, *[problem(i, image=None if i else RED) for i in range(40)])
    with monkeypatch.context() as m:
        stop_after(m, 3)
        with pytest.raises(KeyboardInterrupt): run_data(str(f), str(tmp_path/'d'))
    if change == 'pictures': RED.resize((5, 5)).save(f/'images'/'train'/'0'/'image.png')
    if change == 'questions':
        (f/'problems.json').write_text((f/'problems.json').read_text().replace('What is', 'What was'))
    other = dict(format='QCM-A') if change == 'options' else {}
    assert run_data(str(f), str(tmp_path/'d'), **other) == run_data(str(f), str(tmp_path/'fresh'), **other)
    assert 'are kept' not in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


@pytest.mark.soak
def test_killed_fifty_times(tmp_path):
    import random
    draw = random.Random(0)
    assert check_after_kills(tmp_path, [(draw.randrange(9), draw.uniform(0, .05)) for _ in range(50)]) > 9


def test_odd_pictures_are_counted(tmp_path, capsys):
    f = folder(tmp_path, *[problem(i, image=RED) for i in range(5)])
    blue = Image.new('RGB', (9, 9), 'blue')
    odd = [(RED.convert('CMYK'), dict(format='JPEG')), (Image.new('I;16', (9, 9), 5), dict(format='PNG')),
           (RED, dict(format='GIF', save_all=True, append_images=[blue]))]
    for i, (im, kw) in enumerate(odd):
        im.save(f/'images'/'train'/str(i)/'image.png', **kw)
    exif = Image.Exif()
    exif[0x0112] = 6
    RED.save(f/'images'/'train'/'3'/'image.png', format='JPEG', exif=exif)
    m = run_data(str(f), str(tmp_path/'d'))
    kinds = ('cmyk', '16-bit', 'animated', 'rotated')
    assert m['notes'] == {f'pictures are {k}': 1 for k in kinds} and m['splits']['train']['images'] == 5
    out = capsys.readouterr().out
    for i, kind in enumerate(kinds): assert f'note: 1 pictures are {kind}: {i}\n' in out
