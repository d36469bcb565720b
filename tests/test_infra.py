"Playbooks, workflows and the `.dvc` example, each by its own checker: deploy/ansible/requirements.txt has them."
import json, os, shutil, subprocess, sys
from pathlib import Path
import pytest, yaml

root = Path(__file__).resolve().parent.parent
ANSIBLE, FLOWS = root/'deploy/ansible', sorted((root/'.github/workflows').glob('*.yml'))
PLAYBOOKS = ANSIBLE/'cluster.yml', ANSIBLE/'vm.yml'


def tool(name: str, *args, cwd=root) -> subprocess.CompletedProcess:
    "Run a checker that lies beside this Python or on the path, or skip."
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))
    if not found: pytest.skip(f'{name} is missing: pip install -r deploy/ansible/requirements.txt')
    env = dict(os.environ, PATH=f'{Path(found).parent}:{os.environ["PATH"]}', DVC_NO_ANALYTICS='1')
    env.pop('PYTHONPATH', None)
    return subprocess.run([found, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_playbooks():
    done = tool('ansible-lint', '--offline', '-q', '.', cwd=ANSIBLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_know_their_options():
    tasks = [t for p in PLAYBOOKS for t in yaml.safe_load(p.read_text())[0]['tasks']]
    used = [(k, v) for t in tasks for k, v in t.items() if k.startswith('google.cloud.')]
    done = tool('ansible-doc', '-j', *sorted({k for k, _ in used}))
    about = json.loads(done.stdout)
    def unknown(given, options, path):
        for k, v in given.items():
            if k not in options: yield f'{path}.{k}'
            below = options.get(k, {}).get('suboptions') or {}
            for part in v if isinstance(v, list) else [v]:
                if below and isinstance(part, dict): yield from unknown(part, below, f'{path}.{k}')
    assert len(used) >= 5 and not [u for k, v in used for u in unknown(v, about[k]['doc']['options'], k)]


def test_playbooks_keep_no_secret_and_fit_the_machines():
    from sciencetutor.cloud.machines import check_type
    values = yaml.safe_load((ANSIBLE/'variables.yml').read_text())
    assert not [k for k in values if any(word in k for word in ('password', 'token', 'secret', 'key'))]
    for gpu, kind in values['machine_types'].items(): check_type(dict(type=kind, gpu=gpu.upper().replace('-', '_')))
    names = yaml.safe_load((root/'deploy/ingress.yaml').read_text())['spec']['tls'][0]['hosts']
    assert all(values['host'] in name for name in names)  # what cluster.yml puts another name for


def test_workflows_follow_the_schema():
    done = tool('check-jsonschema', '--builtin-schema', 'vendor.github-workflows', *FLOWS)
    assert done.returncode == 0, done.stdout


def test_the_deploy_workflow_is_safe():
    flows = [p for p in FLOWS if p.stem in ('deploy', 'image')]
    done = tool('zizmor', '--offline', '-q', '--min-severity', 'medium', *flows)
    assert done.returncode == 0, done.stdout


def test_dvc_pulls_the_samples(tmp_path):
    shutil.copytree(root/'examples/dvc', tmp_path/'dvc', ignore=shutil.ignore_patterns('samples', 'cache'))
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)  # DVC looks for the repository around it
    done = tool('dvc', 'pull', '-q', cwd=tmp_path/'dvc')
    assert done.returncode == 0, done.stderr
    splits = json.loads((tmp_path/'dvc/samples/pid_splits.json').read_text())
    assert {k: len(v) for k, v in splits.items()} == dict(train=24, val=8, test=8)
