"A data set from elsewhere names files and splits: nothing is read or written outside of it, and nothing hangs."
import json, os, subprocess, sys
from pathlib import Path

import pyarrow as pa
import pytest
from fastcore.script import CliError
from PIL import Image
from sciencetutor.cli import main
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.exports import run_export
from sciencetutor.data.hub import listing
from sciencetutor.data.tables import run_check

P = dict(question='Which?', choices=['a', 'b'], answer=0, split='train')
pytestmark = pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='pipes and devices are elsewhere here')
NAMES = ['{secret}', '../secret.png', 'images/../../secret.png', 'link.png', 'folder/secret.png', 'fifo', '/dev/zero',
         'device']


@pytest.fixture
def here(tmp_path):
    "A private picture, and a folder with links to it, a pipe and a device."
    Image.new('RGB', (9, 9), 'red').save(tmp_path/'secret.png')
    for root in (tmp_path/'set', tmp_path/'set'/'images'):
        root.mkdir()
        os.symlink(tmp_path/'secret.png', root/'link.png')
        os.symlink(tmp_path, root/'folder')
        os.mkfifo(root/'fifo')
        os.symlink('/dev/zero', root/'device')
        Image.new('RGB', (9, 9), 'blue').save(root/'own.png')
        os.symlink('own.png', root/'near.png')
    return tmp_path/'set'


def table(here, name):
    (here/'t.jsonl').write_text(json.dumps(dict(P, answer='A', image=name, pid='7')) + '\n')
    return here/'t.jsonl'


def llava(here, name):
    turns = [{'from': 'human', 'value': 'Which?\nContext: N/A\nOptions: (A) a (B) b'},
             {'from': 'gpt', 'value': 'The answer is A.'}]
    (here/'llava_train_QCM-A.json').write_text(json.dumps([dict(id='7', image=name, conversations=turns)]))
    return here/'llava_train_QCM-A.json'


def write_rows(folder, rows):
    file = next((folder/'train').glob('*.arrow'))
    with pa.OSFile(str(file)) as f: schema = pa.ipc.open_stream(f).schema
    with pa.OSFile(str(file), 'wb') as f, pa.ipc.new_stream(f, schema) as s:
        s.write_table(pa.Table.from_pylist(rows, schema=schema))
    return folder


def saved(here, name):
    run_data('samples', str(here/'saved'), n=1, only=['train'])
    row = load_split(here/'saved', 'train').with_format('arrow')[:].to_pylist()[0]
    return write_rows(here/'saved', [row | dict(pid='7', image=dict(bytes=None, path=str(here/name)))])


@pytest.mark.parametrize('source', [table, llava, saved])
@pytest.mark.parametrize('name', NAMES)
def test_a_picture_elsewhere_is_refused_and_named(here, source, name, capsys):
    "Absolute, `..`, links, pipes and devices: private files were copied into the set, and a pipe hung."
    path = source(here, name.format(secret=here.parent/'secret.png'))
    with pytest.raises(CliError, match=r'1 pictures are refused: 7 '): run_data(str(path), str(here.parent/'out'))
    m = run_data(str(with_sound_record(here, source, path)), str(here.parent/'out'), bad='skip')
    assert m['skipped'] == {'pictures are refused': 1} and m['splits']['train']['images'] == 1
    assert load_split(here.parent/'out', 'train')[0]['image'].getpixel((0, 0)) == (0, 0, 255)


def with_sound_record(here, source, path):
    "The same with another record before."
    sound = dict(P, answer='A', image='near.png', pid='1')
    if source is table: path.write_text(json.dumps(sound) + '\n' + path.read_text())
    elif source is llava:
        r = json.loads(path.read_text())
        path.write_text(json.dumps([dict(r[0], id='1', image='near.png'), *r]))
    else:
        file = next((path/'train').glob('*.arrow'))
        with pa.OSFile(str(file)) as f: rows = pa.ipc.open_stream(f).read_all().to_pylist()
        own = dict(bytes=(here/'own.png').read_bytes(), path='own.png')
        write_rows(path, [dict(rows[0], pid='1', image=own), *rows])
    return path


@pytest.mark.parametrize('change', [dict(split='../..'), dict(image='..'), dict(pid='..'), dict(image='fifo'),
                                    dict(image='link.png')])
def test_the_official_layout(here, change):
    p = dict(P, image='own.png') | change
    pid = p.pop('pid', '7')
    folder = here/'images'/'train'/'7'
    folder.mkdir(parents=True)
    for name in ('fifo', 'link.png'): os.rename(here/'images'/name, folder/name)
    (here/'problems.json').write_text(json.dumps({pid: p}))
    (here/'pid_splits.json').write_text(json.dumps(dict(train=[pid])))
    with pytest.raises(CliError, match=f'1 pictures are refused: {pid} '): run_data(str(here), str(here.parent/'out'))


@pytest.mark.parametrize('split', ['../../victim', '/tmp/victim', '..', 'a/b', '.key', 'manifest.json', 'x' * 300,
                                   '\x1b[31m'])
def test_a_split_becomes_no_folder_elsewhere(tmp_path, split):
    "A split with a slash was written to /tmp/victim."
    (tmp_path/'t.jsonl').write_text(json.dumps(dict(P, split=split, answer='A')) + '\n')
    with pytest.raises(CliError, match='1 questions are bad: row-1 has the split'):
        run_data(str(tmp_path/'t.jsonl'), str(tmp_path/'a'/'b'/'out'))
    (tmp_path/'sqa').mkdir()
    (tmp_path/'sqa'/'problems.json').write_text(json.dumps({'1': P}))
    (tmp_path/'s.json').write_text(json.dumps({split: ['1']}))
    with pytest.raises(CliError, match='1 questions are bad: 1 has the split'):
        run_data(str(tmp_path/'sqa'), str(tmp_path/'a'/'b'/'out'), splits=str(tmp_path/'s.json'))
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['a', 'b', 'problems.json', 's.json', 'sqa', 't.jsonl']


def test_a_saved_set_names_files_elsewhere(tmp_path):
    "Arrow files by `state.json`, splits by `dataset_dict.json`: train and export opened them."
    run_data('samples', str(tmp_path/'other'), n=5)
    run_data('samples', str(tmp_path/'d'), n=5)
    state = tmp_path/'d'/'train'/'state.json'
    was = json.loads(state.read_text())
    state.write_text(json.dumps(was | dict(_data_files=[dict(filename='../../other/train/data-00000-of-00001.arrow')])))
    for call in (lambda: load_split(tmp_path/'d', 'train'), lambda: run_export(str(tmp_path/'d'), str(tmp_path/'x')),
                 lambda: run_data(str(tmp_path/'d'), str(tmp_path/'x'))):
        with pytest.raises(CliError, match='leads out of the folder'): call()
    (tmp_path/'d'/'dataset_dict.json').write_text('{"splits": ["../other/train"]}')
    for call in (lambda: load_split(tmp_path/'d', '../other/train'),
                 lambda: run_export(str(tmp_path/'d'), str(tmp_path/'x')),
                 lambda: run_data(str(tmp_path/'d'), str(tmp_path/'x'))):
        with pytest.raises(CliError, match='is no name for a folder'): call()


def test_named_only(here):
    with pytest.raises(CliError, match='names pictures that are not in it'): load_split(saved(here, 'own.png'), 'train')


def test_the_cache_of_the_hub_is_links(here):
    "A snapshot of the Hugging Face cache holds links to `blobs` beside it: those are its own files."
    repo = here/'datasets--me--sqa'
    (repo/'snapshots'/'1a2b').mkdir(parents=True)
    (repo/'blobs').mkdir()
    os.rename(here/'own.png', repo/'blobs'/'0f')
    os.symlink('../../blobs/0f', repo/'snapshots'/'1a2b'/'a.png')
    m = run_data(str(table(repo/'snapshots'/'1a2b', 'a.png')), str(here.parent/'out'))
    assert m['splits']['train']['images'] == 1


def test_what_goes_up_is_below_the_folder(here):
    os.unlink(here/'images'/'link.png')
    os.unlink(here/'link.png')
    assert 'near.png' in listing(here)
    os.symlink(here.parent/'secret.png', here/'late.png')
    with pytest.raises(CliError, match="'late.png' is a link that leads out"): listing(here)


def test_check_says_so_too(here, capsys):
    with pytest.raises(CliError): run_check(str(table(here, 'fifo')))
    assert "'fifo' is no regular file" in capsys.readouterr().out


def test_a_terminal_does_not_obey(tmp_path, capsys):
    "`check` printed escape sequences of a table, which may rename the window, or overwrite what was said."
    evil = '\x1b]0;owned\x07\x1b[2J\u202eWhich?'
    (tmp_path/'t.jsonl').write_text(json.dumps(dict(P, question=evil, answer='\x1b[31mZ')) + '\n')
    assert main(['check', str(tmp_path/'t.jsonl')]) == 2
    (tmp_path/'u.jsonl').write_text(json.dumps(dict(P, pid=evil, answer='A', image='../x')) + '\n')
    assert main(['data', '--source', str(tmp_path/'u.jsonl'), '--out', str(tmp_path/'d')]) == 2
    said = ''.join(capsys.readouterr())
    assert '\\x1b]0;owned\\x07' in said and '\\u202e' in said and not set('\x1b\x07\u202e') & set(said)


@pytest.mark.parametrize('name,text', [('deep.json', '[' * 100_000), ('deep.jsonl', '{"a":' * 100_000)])
def test_deep_nesting_is_one_line(tmp_path, name, text, capsys):
    (tmp_path/name).write_text(text + ']' * text.count('['))
    command = ['data', '--source'] if name == 'deep.json' else ['check']
    assert main([*command, str(tmp_path/name), *(['--out', str(tmp_path/'d')] if command[0] == 'data' else [])]) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'nested too deeply' in err


USER = """
import os, sys, tempfile
from pathlib import Path
from sciencetutor.cli import main
code = main(sys.argv[1:])
from sciencetutor.files import cache_path
print('cache', cache_path('x'))
sys.exit(code)
"""

@pytest.mark.skipif(not hasattr(os, 'getuid') or os.getuid() != 0, reason='only root may become another user')
@pytest.mark.parametrize('home', [None, '/', '/root'])
def test_a_user_without_a_name(tmp_path, home):
    "OpenShift, `docker --user`: no name, no home; and somebody else's /tmp/gradio."
    tmp = tmp_path/'tmp'
    for p in (tmp_path, *tmp_path.parents[:2]): p.chmod(0o755)
    tmp.mkdir()
    tmp.chmod(0o1777)
    (tmp/'gradio').mkdir(mode=0o700)
    unset = ('GRADIO_TEMP_DIR', 'HOME', 'USER', 'LOGNAME', 'HF_HOME', 'XDG_CACHE_HOME')
    env = {k: v for k, v in os.environ.items() if k not in unset}
    env |= dict(TMPDIR=str(tmp), **(dict(HOME=home) if home else {}))
    # it may read what root may, so that this works where Python itself is in root's home; it may not write there
    as_user = ['setpriv', '--reuid=12345', '--regid=12345', '--clear-groups', '--inh-caps=-all,+dac_read_search',
               '--ambient-caps=-all,+dac_read_search', '--bounding-set=-all,+dac_read_search']
    if subprocess.run([*as_user, 'true'], capture_output=True).returncode: pytest.skip('no setpriv')
    def run(*argv):
        command = [*as_user, sys.executable, '-c', USER, *argv]
        return subprocess.run(command, env=env, cwd=tmp, capture_output=True, text=True)
    done = run('ask', 'Which is a mammal?', '--choices', 'trout', 'bat', '--model', 'tiny')
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'{tmp}/sciencetutor-12345 is used instead' in done.stderr
    assert f'cache {tmp}/sciencetutor-12345' in done.stdout and (tmp/'sciencetutor-12345').stat().st_uid == 12345
    if home != '/root': assert [*(tmp/'sciencetutor-12345').rglob('models/tiny-*')], [*tmp.rglob('*')]  # or root's
    assert run('serve', '--help').returncode == 0
    page = 'import sciencetutor.app.uploads as u, os; f = u.Uploads(); p = f.add(f.folder(), b"x"); print(p)'
    done = subprocess.run([*as_user, sys.executable, '-c', page], env=env, cwd=tmp, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f'{tmp}/sciencetutor-uploads-'), done.stderr[-2000:]
