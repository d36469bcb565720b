"Upload and download against an emulator of Cloud Storage and a hub on loopback."
import codecs, os, shutil, signal, socket, subprocess, sys, time
from pathlib import Path
import pytest
from fastcore.script import CliError
from hub_server import Hub
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.hub import listing, load_env, run_download, run_upload


@pytest.fixture
def gcs(monkeypatch):
    emulator = pytest.importorskip('gcp_storage_emulator.server')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    server = emulator.create_server('127.0.0.1', port, in_memory=True, default_bucket='b')
    server.start()
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', f'http://127.0.0.1:{port}')
    yield server
    server.stop()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    hub = Hub()
    env = dict(HF_ENDPOINT=hub.url, HF_TOKEN=hub.token, HF_HUB_DISABLE_XET='1', HF_HUB_OFFLINE='0')
    for k, v in (env | dict(HF_HOME=str(tmp_path/'hf'))).items(): monkeypatch.setenv(k, v)
    import huggingface_hub.constants as c
    monkeypatch.setattr(c, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(c, 'HF_HUB_DISABLE_XET', True)
    monkeypatch.setattr(c, 'HF_HUB_CACHE', str(tmp_path/'hf'/'hub'))
    yield hub
    hub.close()


@pytest.fixture
def data(tmp_path):
    run_data('samples', str(tmp_path/'data'), n=30)
    return tmp_path/'data'


def test_gcs_there_and_back(gcs, data, tmp_path):
    where = run_upload(str(data), 'gs://b/sets/sqa')
    run_download('gs://b/sets/sqa', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data)
    old = listing(data)
    run_data('samples', str(data), n=12, seed=3)
    run_upload(str(data), 'gs://b/sets/sqa')
    run_download('gs://b/sets/sqa', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data) != old
    run_download(where, str(tmp_path/'back'))
    assert listing(tmp_path/'back') == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ['back', 'data']


def test_gcs_upload_is_all_or_nothing_and_goes_on(gcs, data, tmp_path, monkeypatch):
    from google.cloud.storage import Blob
    real, sent = Blob.upload_from_filename, []
    def flaky(self, file, **kw):
        if len(sent) == 3: raise ConnectionError('gone')
        sent.append(Path(file).name)
        return real(self, file, **kw)
    monkeypatch.setattr(Blob, 'upload_from_filename', flaky)
    with pytest.raises(CliError, match='refuses the upload'): run_upload(str(data), 'gs://b/x')
    with pytest.raises(CliError, match='nothing in gs://b/x'): run_download('gs://b/x', str(tmp_path/'back'))
    monkeypatch.setattr(Blob, 'upload_from_filename',
                        lambda self, file, **kw: sent.append(Path(file).name) or real(self, file, **kw))
    run_upload(str(data), 'gs://b/x')
    assert len(sent) == len(listing(data))  # nothing was sent twice
    run_download('gs://b/x', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data)


def test_gcs_download_keeps_the_old_and_goes_on(gcs, data, tmp_path, monkeypatch):
    from google.cloud.storage import Blob
    run_upload(str(data), 'gs://b/x')
    run_data('samples', str(tmp_path/'back'), n=5)
    old, real, got = listing(tmp_path/'back'), Blob.download_to_filename, []
    def flaky(self, file, **kw):
        if len(got) == 4: raise ConnectionError('gone')
        got.append(file)
        return real(self, file, **kw)
    monkeypatch.setattr(Blob, 'download_to_filename', flaky)
    with pytest.raises(CliError, match='run the same command again'): run_download('gs://b/x', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == old
    monkeypatch.setattr(Blob, 'download_to_filename',
                        lambda self, file, **kw: got.append(file) or real(self, file, **kw))
    run_download('gs://b/x', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data) and len(got) == len(listing(data))


def test_gcs_damaged_on_the_way(gcs, data, tmp_path, monkeypatch):
    from google.cloud.storage import Blob
    run_upload(str(data), 'gs://b/x')
    monkeypatch.setattr(Blob, 'download_to_filename', lambda self, file, **kw: Path(file).write_bytes(b'?'))
    with pytest.raises(CliError, match='did not arrive'): run_download('gs://b/x', str(tmp_path/'back'))
    assert not (tmp_path/'back').exists()


def killed_transfers(address, tmp_path, kills):
    "Transfers killed at random moments: at either end there is the old version or the new one, and a retry goes on."
    import random
    import google.cloud.storage, huggingface_hub
    draw, src, back, look = random.Random(kills), tmp_path/'src', tmp_path/'back', tmp_path/'look'
    def change():
        for i in range(20): (src/f'{i}.bin').write_bytes(draw.randbytes(60000))
        return listing(src)
    src.mkdir()
    (src/'dataset_dict.json').write_text('{}')
    new = there = change()
    start = time.monotonic()
    run_upload(str(src), address)
    took, here, halfway = time.monotonic() - start, None, 0
    for i in range(kills):
        kind = ('upload', 'download')[i % 2]
        if i % 4 == 0: new = change()
        arguments = (str(src), address) if kind == 'upload' else (address, str(back))
        code = ('import sciencetutor.data.hub as p, huggingface_hub, google.cloud.storage; print(flush=True); '
                f'p.run_{kind}{arguments!r}')
        p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        p.stdout.readline()  # imported
        time.sleep(draw.uniform(0, took))
        halfway += p.poll() is None
        p.send_signal(signal.SIGKILL)
        p.communicate()
        if kind == 'download':
            now = listing(back) if back.exists() else None
            assert now in (here, there)
            here = now
        else:
            run_download(address, str(look))
            assert listing(look) in (there, new)
            there = listing(look)
    assert halfway >= kills // 4
    run_upload(str(src), address)
    run_download(address, str(back))
    assert listing(back) == listing(src)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_gcs_killed(gcs, tmp_path): killed_transfers('gs://b/k', tmp_path, 2)


@pytest.mark.soak
def test_gcs_killed_fifty_times(gcs, tmp_path): killed_transfers('gs://b/k', tmp_path, 50)


@pytest.mark.soak
def test_hub_killed_fifty_times(hub, tmp_path): killed_transfers('hf://datasets/me/k', tmp_path, 50)


def test_hub_there_and_back(hub, data, tmp_path):
    run_upload(str(data), 'hf://datasets/me/sqa')
    assert hub.private['me/sqa'] == 'private'
    run_download('hf://datasets/me/sqa', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data)
    assert len(load_split(tmp_path/'back', 'train')) == 30
    (data/'config.json').write_text('{}')
    for split in ('train', 'val', 'test'): shutil.rmtree(data/split)
    run_upload(str(data), 'hf://me/public-model', public=True)
    assert hub.private['me/public-model'] == 'public'


def test_hub_upload_is_one_commit_and_goes_on(hub, data):
    hub.fail_after = 1
    with pytest.raises(CliError, match='the hub refuses me/sqa'): run_upload(str(data), 'hf://datasets/me/sqa')
    assert hub.repos['me/sqa'] == {} and len(hub.lfs) <= 1
    hub.fail_after = None
    run_upload(str(data), 'hf://datasets/me/sqa')
    assert len(hub.repos['me/sqa']) == len(listing(data))
    puts = [path for method, path in hub.calls if method == 'PUT']
    assert len(set(puts)) == 3 and len(puts) <= 5


def test_hub_download_keeps_the_old_and_goes_on(hub, data, tmp_path):
    run_upload(str(data), 'hf://datasets/me/sqa')
    run_data('samples', str(tmp_path/'back'), n=5)
    old = listing(tmp_path/'back')
    hub.fail_after = 4
    with pytest.raises(CliError, match='the hub refuses'): run_download('hf://datasets/me/sqa', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == old
    hub.fail_after = None
    run_download('hf://datasets/me/sqa', str(tmp_path/'back'))
    assert listing(tmp_path/'back') == listing(data)


def test_hub_keeps_what_is_there(hub, tmp_path, capsys):
    "An upload deleted README, LICENSE and everything else of the repository."
    src = tmp_path/'src'
    (src/'data').mkdir(parents=True)
    for name in ('data/train-00000-of-00001.parquet', 'config.json'): (src/name).write_text('new')
    theirs = {'README.md': b'theirs', 'LICENSE': b'MIT', 'config.json': b'old', '.gitattributes': b'*'}
    old = {f'data/train-0000{i}-of-00002.parquet': b'old' for i in range(2)}
    hub.repos['me/sqa'], hub.private['me/sqa'] = theirs | old | {'data/val-00000-of-00001.parquet': b'val'}, 'private'
    run_upload(str(src), 'hf://datasets/me/sqa')
    new = {'data/train-00000-of-00001.parquet': b'new', 'config.json': b'new'}
    assert hub.repos['me/sqa'] == theirs | {'data/val-00000-of-00001.parquet': b'val'} | new
    said = capsys.readouterr().out
    assert 'me/sqa is private and holds 6 files: 1 are replaced, 2 deleted, 3 stay (LICENSE, README.md, ' in said
    run_upload(str(src), 'hf://datasets/me/sqa', replace=True)
    assert hub.repos['me/sqa'] == {'.gitattributes': b'*'} | new and '3 deleted, 0 stay' in capsys.readouterr().out


def test_hub_nothing_private_goes_public(hub, data, capsys):
    "A repository that was public already took what was called private."
    hub.repos['me/open'], hub.private['me/open'] = {'README.md': b'theirs'}, 'public'
    with pytest.raises(CliError, match='me/open is public, everybody could read this: say --public'):
        run_upload(str(data), 'hf://datasets/me/open')
    assert hub.repos['me/open'] == {'README.md': b'theirs'} and not hub.lfs
    run_upload(str(data), 'hf://datasets/me/open', public=True)
    assert {*hub.repos['me/open']} == {'README.md', *listing(data)}
    assert 'me/open is public and holds 1 files' in capsys.readouterr().out


def test_hub_names_files_elsewhere(hub, tmp_path):
    hub.repos['me/evil'], hub.private['me/evil'] = {'../evil.txt': b'x', 'a.txt': b'x'}, 'private'
    with pytest.raises(CliError, match="'../evil.txt' leads out"):
        run_download('hf://datasets/me/evil', str(tmp_path/'d'))
    assert not (tmp_path/'evil.txt').exists() and not (tmp_path/'d').exists()


def test_download_keeps_files_of_others(hub, data, tmp_path):
    run_upload(str(data), 'hf://datasets/me/sqa')
    for _ in range(2): run_download('hf://datasets/me/sqa', str(tmp_path/'back'))
    (tmp_path/'back'/'thesis.txt').write_text('mine')
    with pytest.raises(CliError, match='holds thesis.txt'): run_download('hf://datasets/me/sqa', str(tmp_path/'back'))
    run_download('hf://datasets/me/sqa', str(tmp_path/'back'), overwrite=True)
    assert listing(tmp_path/'back') == listing(data)


def test_wrong_token(hub, data, monkeypatch):
    monkeypatch.setenv('HF_TOKEN', 'hf_wrong')
    with pytest.raises(CliError, match='set HF_TOKEN'): run_upload(str(data), 'hf://datasets/me/sqa')


@pytest.mark.parametrize('status, said, step, headers', [
    (403, 'Private repository storage limit reached, please upgrade your plan', 'make room on the hub', {}),
    (403, 'Forbidden: you must use a token with write rights', 'settings/tokens', {}),
    (403, 'Access to me/sqa is restricted and you are not in the authorized list', 'ask for access at .*/me/sqa', dict(
        X_Error_Code='GatedRepo')),
    (429, 'We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes period', 'wait for', {}),
    (400, 'Your card is too large', 'docs/hub', {})])
def test_the_hubs_own_words_and_the_next_step(hub, data, tmp_path, status, said, step, headers):
    "huggingface/huggingface_hub 3049, 3366, 3071 and 2587: storage that is full, and limits, called a wrong token."
    run_upload(str(data), 'hf://datasets/me/sqa')
    hub.refuse = '/api/', status, said, headers
    for run in (lambda: run_upload(str(data), 'hf://datasets/me/sqa'),
                lambda: run_download('hf://datasets/me/sqa', str(tmp_path/'back'))):
        with pytest.raises(CliError, match=f'me/sqa: HTTP {status}: {said}; .*{step}') as e: run()
        assert '\n' not in str(e.value)


def test_a_hub_that_is_not_there(data, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    with pytest.raises(CliError, match='does not answer for me/sqa .*check the network'):
        run_upload(str(data), 'hf://datasets/me/sqa')


def test_a_gated_model_says_how_to_get_it(hub, monkeypatch):
    from sciencetutor.models.core import load_model
    said = 'Access to model me/vlm is restricted and you are not in the authorized list'
    hub.refuse = 'me/vlm', 403, said, dict(X_Error_Code='GatedRepo')
    route = '/{repo_id}/resolve/{revision}/{filename}'
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', hub.url)
    monkeypatch.setattr('huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE', hub.url + route)
    with pytest.raises(CliError, match=f'{said}; ask for access at https://huggingface.co/me/vlm'): load_model('me/vlm')


@pytest.fixture
def google(monkeypatch):
    pytest.importorskip('google.cloud.storage')
    from google_server import FakeGoogle
    google = FakeGoogle()
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', google.url)
    yield google
    google.close()


@pytest.mark.parametrize('status, said, step', [
    (400, 'Bucket is a requester pays bucket but no user project provided.', '--billing-project'),
    (403, 'me@x.org does not have storage.objects.list access to the Google Cloud Storage bucket.', 'Storage Object'),
    (404, 'The specified bucket does not exist.', 'buckets list'),
    (412, "'us-central1' violates constraint 'constraints/gcp.resourceLocations', a location policy", 'in a region')])
def test_cloud_storages_own_words_and_the_next_step(google, data, tmp_path, status, said, step):
    "googleapis/google-cloud-python 4674, GoogleCloudPlatform/gcsfuse 659: who pays, who may, and where."
    google.storage_refusal = status, said
    for run in (lambda: run_upload(str(data), 'gs://b/x'), lambda: run_download('gs://b/x', str(tmp_path/'back'))):
        with pytest.raises(CliError) as e: run()
        assert said.rstrip('.') in str(e.value) and step in str(e.value) and '\n' not in str(e.value)


def test_the_project_that_pays_is_named(google, tmp_path):
    google.storage_refusal = 400, 'Bucket is a requester pays bucket but no user project provided.'
    with pytest.raises(CliError, match='nothing in gs://b/x: .*No such object'):
        run_download('gs://b/x', str(tmp_path/'back'), billing_project='school')
    assert google.payers == ['school']


def test_bad_addresses(tmp_path):
    for url in ('hf://x', 'http://a/b', 'gs://b', 'gs:///x', 'hf://datasets/a/b/c'):
        with pytest.raises(CliError, match='no address'): run_upload(str(tmp_path), url)
    with pytest.raises(CliError, match='is empty'): run_upload(str(tmp_path), 'gs://b/x')
    with pytest.raises(CliError, match='no folder'): run_upload(str(tmp_path/'no'), 'gs://b/x')
    (tmp_path/'f').write_text('mine')
    with pytest.raises(CliError, match='is a file'): run_download('gs://b/x', str(tmp_path/'f'))


@pytest.mark.parametrize('data', [
    b'# keys\nexport A_KEY = "x=y # z" # note\nB_KEY=theirs\nEMPTY=\nno statement\n',
    codecs.BOM_UTF8 + b"A_KEY='x=y # z'\r\nB_KEY=theirs\r\n", 'A_KEY="x=y # z"\r\nB_KEY=theirs\r\n'.encode('utf-16')])
def test_dotenv(tmp_path, monkeypatch, data):
    "Comments, quotes, export, BOM, Windows line ends, and UTF-16 as PowerShell's `>` writes it."
    for name in ('A_KEY', 'EMPTY'): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('B_KEY', 'mine')
    (tmp_path/'.env').write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert load_env() == ['A_KEY'] and os.environ.pop('A_KEY') == 'x=y # z' and os.environ['B_KEY'] == 'mine'


def test_dotenv_that_is_none(tmp_path, monkeypatch):
    "A virtual environment called .env, and a file that is no text."
    monkeypatch.chdir(tmp_path)
    assert load_env() == []
    Path('.env').mkdir()
    assert load_env() == []
    Path('.env').rmdir()
    for data in (b'A_KEY=caf\xe9', b'A_KEY=a\x00b'):
        Path('.env').write_bytes(data)
        with pytest.raises(CliError, match='save it once more, as UTF-8'): load_env()
    assert 'A_KEY' not in os.environ


def test_dvc_keeps_versions(tmp_path, monkeypatch):
    pytest.importorskip('dvc')
    repo = tmp_path/'repo'
    env = dict(os.environ, DVC_NO_ANALYTICS='1', HOME=str(tmp_path), GIT_CONFIG_GLOBAL=os.devnull)
    repo.mkdir()
    def sh(*command):
        if command[0] == 'dvc': command = (sys.executable, '-m', *command)
        if command[0] == 'git': command = ('git', '-c', 'user.name=t', '-c', 'user.email=t@example.org', *command[1:])
        done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    sh('git', 'init', '-q')
    sh('dvc', 'init', '-q')
    sh('dvc', 'remote', 'add', '-d', 'store', str(tmp_path/'store'))
    versions = []
    for n in (10, 20):
        run_data('samples', str(repo/'ScienceQA-LLAVA'), n=n)
        sh('dvc', 'add', '-q', 'ScienceQA-LLAVA')
        sh('dvc', 'push', '-q')
        sh('git', 'add', '.')
        sh('git', 'commit', '-qm', f'{n} questions')
        versions.append(listing(repo/'ScienceQA-LLAVA'))
    shutil.rmtree(repo/'.dvc'/'cache')
    sh('git', 'checkout', '-q', 'HEAD~1', '--', 'ScienceQA-LLAVA.dvc')
    sh('dvc', 'pull', '-q', '-f')
    assert listing(repo/'ScienceQA-LLAVA') == versions[0] != versions[1]
