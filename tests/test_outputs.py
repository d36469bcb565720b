"What a person has in a folder is never lost to an output, and what was computed is not lost to a folder."
import errno, json, os, shutil, subprocess, sys
from contextlib import contextmanager
from pathlib import Path

import pyarrow, pyarrow.ipc, pytest
from fastcore.script import CliError
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.exports import EXPORTS, run_export
from sciencetutor.data.hub import run_download
from sciencetutor.eval.core import run_eval, run_score
from sciencetutor.files import MARK, SCRATCH, Output, OutputError, atomic_dir, files_in, finish_exchange, write_json


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('outputs')/'data'
    run_data('samples', str(folder), n=10)
    return str(folder)


@pytest.fixture
def mine(tmp_path):
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'thesis.txt').write_text('four years')
    return tmp_path/'mine'


def train(**kw):
    from sciencetutor.train.core import run_train
    return run_train(**dict(model='tiny', steps=1, warmup=1, precision='fp32') | kw)


def release(data, out):
    from sciencetutor.release import run_tutor
    out.rename(out.with_name('packed'))
    try: return run_tutor(data, out=str(out.parent), steps=1)
    finally: out.with_name('packed').rename(out)


def cloud(data, out):
    from sciencetutor.cloud.job import run_job
    return run_job(data, str(out), {}, 'nbs')


def quickstart(out, **kw):
    from sciencetutor.quickstart import run_quickstart
    return run_quickstart(str(out), model='tiny', n=5, serve=False, **kw)


COMMANDS = dict(
    data=lambda d, out: run_data('samples', str(out), n=5),
    export=lambda d, out: run_export(d, str(out)),
    download=lambda d, out: run_download('hf://datasets/me/sqa', str(out)),
    train=lambda d, out: train(data=d, out=str(out)),
    eval=lambda d, out: run_eval(d, 'tiny', out=str(out)),
    score=lambda d, out: run_score('predictions.jsonl', out=str(out)),
    quickstart=lambda d, out: quickstart(out),
    cloud=cloud, release=release)

@pytest.mark.parametrize('command', COMMANDS)
def test_a_folder_of_somebody_is_refused(command, data, mine):
    "thesis.txt went, in silence; also `--out .` beside a project."
    with pytest.raises(CliError, match=r'holds .*thesis.txt, which sciencetutor did not write.*--overwrite') as e:
        COMMANDS[command](data, mine)
    assert '\n' not in str(e.value) and (mine/'thesis.txt').read_text() == 'four years'


@pytest.mark.parametrize('out', ['.', 'mine/..', 'link'])
def test_out_by_any_name(out, mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    os.symlink('mine', 'link')
    with pytest.raises(CliError, match='which sciencetutor did not write'): run_data('samples', out, n=5)
    assert (mine/'thesis.txt').exists()


def test_ours_is_replaced_and_overwrite_says_otherwise(mine, tmp_path):
    run_data('samples', str(tmp_path/'d'), n=10)
    assert run_data('samples', str(tmp_path/'d'), n=5)['splits']['train']['rows'] == 5
    (tmp_path/'d'/'train'/'notes.txt').write_text('')
    (tmp_path/'d'/'.DS_Store').write_text('')  # a file browser's
    with pytest.raises(CliError, match='holds train/notes.txt'): run_data('samples', str(tmp_path/'d'), n=10)
    run_data('samples', str(tmp_path/'d'), n=10, overwrite=True)
    run_data('samples', str(mine), n=10, overwrite=True)
    assert {*files_in(tmp_path/'d')} == {*files_in(mine)}


@pytest.mark.parametrize('to', EXPORTS)
def test_every_export_bears_our_mark(to, data, tmp_path):
    for _ in range(2): run_export(data, str(tmp_path/'x'), to)
    (tmp_path/'x'/'empty').mkdir()
    with pytest.raises(CliError, match='holds empty'): run_export(data, str(tmp_path/'x'), to)


def official(folder):
    folder.mkdir(parents=True)
    p = dict(question='Which?', choices=['a', 'b'], answer=0, split='train')
    (folder/'problems.json').write_text(json.dumps({'1': p}))
    return folder


@pytest.mark.parametrize('out,how', [('raw', 'is'), ('raw/../raw', 'is'), ('link', 'is'), ('.', 'holds'),
                                     ('raw/out', 'lies inside'), ('link/new/out', 'lies inside')])
def test_an_output_is_apart_from_its_input(tmp_path, monkeypatch, out, how):
    "`--source src --out src`, `--source parent/raw --out parent`, with links and dots, whatever is said."
    official(tmp_path/'raw')
    os.symlink('raw', tmp_path/'link')
    monkeypatch.chdir(tmp_path)
    for source in ('raw', str(tmp_path/'link')):
        with pytest.raises(CliError, match=f'{how} what is read'): run_data(source, out, overwrite=True)
    assert [p.name for p in (tmp_path/'raw').iterdir()] == ['problems.json']


def test_other_inputs_count_too(data, tmp_path, monkeypatch):
    official(tmp_path/'raw')
    (tmp_path/'s').mkdir()
    (tmp_path/'s'/'splits.json').write_text('{"train": ["1"]}')
    with pytest.raises(CliError, match='holds what is read'):
        run_data(str(tmp_path/'raw'), str(tmp_path/'s'), splits=str(tmp_path/'s'/'splits.json'), overwrite=True)
    for call in (lambda: run_export(data, data), lambda: run_eval(data, 'tiny', out=data),
                 lambda: train(data=data, out=data), lambda: train(data=data, out=f'{data}/tutor')):
        with pytest.raises(CliError, match='what is read'): call()
    assert len(load_split(data, 'train')) == 10
    monkeypatch.chdir(tmp_path)
    for n in (5, 4): run_data('samples', 'samples', n=n)  # a source by that name is no folder


def test_a_checkpoint_keeps_files_of_others(tmp_path):
    from sciencetutor.models.core import load_model, save_model
    model, processor = load_model('tiny')
    save_model(model, processor, tmp_path/'ck', training={})
    ours = {*files_in(tmp_path/'ck')}
    (tmp_path/'ck'/'logs').mkdir()
    (tmp_path/'ck'/'logs'/'notes.txt').write_text('mine')
    (tmp_path/'ck'/'README.md').write_text('mine, too')
    save_model(model, processor, tmp_path/'ck', card='ours')
    assert {*files_in(tmp_path/'ck')} == ours - {'training.json'} | {'logs/notes.txt', 'README.md', 'README.md.old'}
    assert (tmp_path/'ck'/'logs'/'notes.txt').read_text() == 'mine'
    assert [(tmp_path/'ck'/f'README.md{end}').read_text() for end in ('', '.old')] == ['ours', 'mine, too']


def test_results_replace_only_results(data, mine, tmp_path):
    "An evaluation deleted `predictions*.jsonl`, `metrics.json` and `report.html` of others."
    out = tmp_path/'e'
    m = run_eval(data, 'tiny', out=str(out), limit=1)
    (out/'predictions-mine.jsonl').write_text('{}')
    assert run_eval(data, 'tiny', out=str(out), limit=2, restart=True)['count'] == 2 and m['count'] == 1
    assert (out/'predictions-mine.jsonl').read_text() == '{}'
    (out/MARK).write_text('{"files": []}')
    with pytest.raises(CliError, match='holds (metrics|report|run|predictions)'): run_eval(data, 'tiny', out=str(out))


def fill(out, text='new', **kw):
    with atomic_dir(out, **kw) as tmp:
        (tmp/'sub').mkdir()
        (tmp/'sub'/text).write_text(text)
        (tmp/'both').write_text(text)
        if text == 'fails': raise ValueError


def content(folder): return {n: (folder/n).read_text() for n in files_in(folder)}


def test_a_link_stays_a_link(tmp_path):
    (tmp_path/'real').mkdir()
    os.symlink('real', tmp_path/'link')
    os.symlink('absent', tmp_path/'dangling')
    for name in ('link', 'dangling'):
        for text in ('old', 'new'): fill(tmp_path/name, text)
        assert (tmp_path/name).is_symlink() and content(tmp_path/name) == {'sub/new': 'new', 'both': 'new'}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['absent', 'dangling', 'link', 'real']


def busy(monkeypatch, folder, code=errno.EBUSY):
    "The folder can't be renamed, as a mount point, or a lower layer of an image."
    real = os.rename
    def rename(a, b, **kw):
        if folder in (Path(a), Path(b)): raise OSError(code, os.strerror(code), str(a))
        return real(a, b, **kw)
    monkeypatch.setattr(os, 'rename', rename)


@pytest.mark.parametrize('code', [errno.EBUSY, errno.EXDEV])
def test_a_folder_that_cannot_be_renamed_gets_new_contents(tmp_path, monkeypatch, code):
    out = tmp_path/'out'
    out.mkdir()
    inode = out.stat().st_ino
    busy(monkeypatch, out, code)
    for text in ('old', 'new'): fill(out, text)
    with pytest.raises(ValueError): fill(out, 'fails')
    assert content(out) == {'sub/new': 'new', 'both': 'new'} and out.stat().st_ino == inode
    assert sorted(p.name for p in out.iterdir()) == [MARK, 'both', 'sub'] and [*tmp_path.iterdir()] == [out]


@contextmanager
def mounted(folder):
    folder.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'none', folder], capture_output=True)
    if done.returncode: pytest.skip('only root may mount')
    try: yield folder
    finally: subprocess.run(['umount', folder], check=True)


@pytest.mark.skipif(not shutil.which('mount'), reason='no mount')
def test_a_mounted_volume(tmp_path, data):
    "Every `docker -v`: training ended with EBUSY, and nothing of it was kept."
    with mounted(tmp_path/'out') as out:
        (out/'lost+found').mkdir()
        for n in (10, 5): assert run_data('samples', str(out), n=n)['splits']['train']['rows'] == n
        assert len(load_split(out, 'train')) == 5
        shutil.rmtree(out/'train')
        for p in [*out.iterdir()]: p.is_file() and p.unlink()
        for split in ('val', 'test'): shutil.rmtree(out/split)
        for steps in (1, 2): assert train(data=data, out=str(out), steps=steps)['steps'] == steps
        assert (out/'model.safetensors').exists() and json.loads((out/'training.json').read_text())['steps'] == 2
        assert [p.name for p in out.iterdir() if p.name.startswith(SCRATCH)] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out']


def test_an_exchange_of_contents_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    import sciencetutor.files as f
    move, moves = shutil.move, []
    for stop in range(1, 9):
        out = tmp_path/f'out{stop}'
        fill(out, 'old')
        (out/f'{SCRATCH}new'/'sub').mkdir(parents=True)
        (out/f'{SCRATCH}new'/'sub'/'new').write_text('new')
        (out/f'{SCRATCH}new'/'both').write_text('new')
        write_json(out/f'{SCRATCH}new'/MARK, dict(files=['sub/new', 'both']))
        moves.clear()
        def killed(a, b):
            moves.append(a)
            if len(moves) == stop: raise KeyboardInterrupt
            return move(a, b)
        with monkeypatch.context() as m:
            m.setattr(f.shutil, 'move', killed)
            if stop <= 6:
                with pytest.raises(KeyboardInterrupt): finish_exchange(out)
            else: finish_exchange(out)
        Output(out)
        assert content(out) == {'sub/new': 'new', 'both': 'new'} and not [*out.glob(f'{SCRATCH}*')]


def test_what_cannot_be_written_is_said_at_once(tmp_path, monkeypatch, data):
    "A read-only parent, a file in the way, a disk that is full already: one line, and no work before it."
    (tmp_path/'file').write_text('mine')
    with pytest.raises(OutputError, match='could not be written: .*name another folder'):
        run_data('samples', str(tmp_path/'file'/'d'))
    with pytest.raises(CliError, match='is a file'): run_data('samples', str(tmp_path/'file'))
    real, codes = os.mkdir, dict(EROFS='Read-only file system', EACCES='Permission denied', ENOSPC='make room')
    for code, said in codes.items():
        def mkdir(path, *a, **kw):
            if not str(path).startswith(str(tmp_path)): return real(path, *a, **kw)
            raise OSError(number := getattr(errno, code), os.strerror(number), str(path))
        with monkeypatch.context() as m:
            m.setattr(os, 'mkdir', mkdir)
            m.setattr('sciencetutor.data.core.open_source', lambda *a: pytest.fail('it had begun to work'))
            m.setattr('sciencetutor.train.core.plan_and_fit', lambda *a: pytest.fail('it had begun to work'))
            with pytest.raises(OutputError, match=said): run_data('samples', str(tmp_path/'d'))
            with pytest.raises(OutputError, match=said): train(data=data, out=str(tmp_path/'ck'))
    assert [p.name for p in tmp_path.iterdir()] == ['file']


def test_a_disk_that_fills_up_keeps_the_finished_shards(tmp_path, monkeypatch, capsys):
    import sciencetutor.data.arrow as arrow
    folder, p = tmp_path/'sqa', dict(question='Which?', choices=['a', 'b'], answer=0, split='train')
    folder.mkdir()
    (folder/'problems.json').write_text(json.dumps({str(i): p for i in range(40)}))
    fresh = run_data(str(folder), str(tmp_path/'fresh'))
    for name, value in dict(SHARD_BYTES=1, BATCH_ROWS=8).items(): monkeypatch.setattr(arrow, name, value)
    real, opened = pyarrow.ipc.new_stream, []
    def new_stream(*a):
        opened.append(a)
        if len(opened) == 4: raise OSError(errno.ENOSPC, 'No space left on device')
        return real(*a)
    with monkeypatch.context() as m:
        m.setattr(pyarrow.ipc, 'new_stream', new_stream)
        with pytest.raises(OutputError, match='No space left on device; make room, and run the same command again'):
            run_data(str(folder), str(tmp_path/'d'))
    assert run_data(str(folder), str(tmp_path/'d'))['splits'] == fresh['splits']
    assert 'its finished shards are kept' in capsys.readouterr().out


def test_what_cannot_be_put_in_its_place_is_kept(tmp_path, monkeypatch):
    "Somebody writes a file into the folder meanwhile, or the rename fails after all."
    fill(tmp_path/'d', 'old')
    with pytest.raises(OutputError, match='holds late.txt.*what was made is in ') as e:
        with atomic_dir(tmp_path/'d') as tmp:
            (tmp/'a').write_text('hours of work')
            (tmp_path/'d'/'late.txt').write_text('mine')
    assert (e.value.kept/'a').read_text() == 'hours of work' and str(e.value.kept) in str(e.value)
    assert content(tmp_path/'d') == {'sub/old': 'old', 'both': 'old', 'late.txt': 'mine'}
    monkeypatch.setattr('sciencetutor.files.swap_dirs', lambda *a: os.rename(tmp_path/'absent', tmp_path/'absent'))
    (tmp_path/'d'/'late.txt').unlink()
    with pytest.raises(OutputError, match='what was made is in ') as e: fill(tmp_path/'d', 'new')
    assert content(e.value.kept) == {'sub/new': 'new', 'both': 'new'} and (tmp_path/'d'/'sub'/'old').exists()


def test_a_model_that_cannot_be_written_is_saved_elsewhere(tmp_path, monkeypatch):
    import sciencetutor.train.core as core
    from sciencetutor.train.settings import TrainSettings
    real, (model, processor) = core.save_model, core.load_model('tiny')
    def save(net, processor, out, *a, **kw):
        if str(out) == str(tmp_path/'ck'): raise OSError(errno.ENOSPC, 'No space left on device')
        return real(net, processor, out, *a, **kw)
    monkeypatch.setattr(core, 'save_model', save)
    with pytest.raises(CliError, match='ck could not be written: .*No space left.*what was trained is in ') as e:
        core.save_result(model, TrainSettings(model='tiny', out=str(tmp_path/'ck')), processor, dict(steps=9), '# card')
    kept = Path(str(e.value).partition('what was trained is in ')[2].partition(':')[0])
    assert json.loads((kept/'training.json').read_text()) == dict(steps=9) and (kept/'model.safetensors').exists()
    shutil.rmtree(kept.parent)


def test_two_on_one_folder(tmp_path, data):
    "The second `train` cleared the first one's checkpoints away, and both ended in tracebacks."
    out = Output(tmp_path/'ck', keep=True)
    with out.lock():
        with pytest.raises(CliError, match='ck is being written by another process: wait'):
            train(data=data, out=str(tmp_path/'ck'))
    with out.lock(): pass
    assert [*tmp_path.iterdir()] == []
    (tmp_path/'ck.training').mkdir()
    (tmp_path/'ck.training'/'thesis.txt').write_text('mine')
    with pytest.raises(CliError, match='holds thesis.txt'): train(data=data, out=str(tmp_path/'ck'))


def test_quickstart_beside_a_project(tmp_path, monkeypatch):
    (tmp_path/'data').mkdir()
    (tmp_path/'data'/'survey.csv').write_text('mine')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CliError, match='holds data/survey.csv'): quickstart('.')
    with pytest.raises(CliError, match='holds survey.csv'): quickstart('data')
    assert [p.name for p in tmp_path.iterdir()] == ['data']


def test_modules_that_are_not_on_windows():
    "`fcntl` at the top of a module is an import that fails; so does `pwd`."
    import ast
    absent = {'fcntl', 'pwd', 'grp', 'resource', 'termios', 'tty', 'pty', 'syslog'}
    for path in (Path(__file__).parent.parent/'sciencetutor').rglob('*.py'):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, 'module', None)]
            assert not absent & {*names}, path
