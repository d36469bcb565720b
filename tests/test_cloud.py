"Google's own clients against Google on loopback: every field, every state, and what goes wrong."
import io, json, os, re, signal, socket, subprocess, sys, tarfile, time
from pathlib import Path
import pytest, yaml
from fastcore.script import CliError
pytest.importorskip('google.cloud.aiplatform_v1')
pytest.importorskip('google.cloud.compute_v1')
from google.protobuf.json_format import MessageToDict
from google_server import LOST, FakeGoogle, Refused
from sciencetutor.cloud import gcp, vertex
from sciencetutor.cloud.core import run_cancel, run_logs, run_status
from sciencetutor.cloud.prices import NOTES, assumption_table, cost_table, epoch_hours, read_config
from sciencetutor.data.hub import bucket
from sciencetutor.cloud.vertex import build_trainer, run_cloud_train
from sciencetutor.cloud.vm import run_deploy
from sciencetutor.resources import repo_root

MINE = dict(GCP_PROJECT='p', GCP_REGION='us-west1', GCS_BUCKET_NAME='b',
            HF_TOKEN='sm://hf', WANDB_API_KEY='plain-secret',
            GCS_SERVICE_ACCOUNT='tutor@p.iam.gserviceaccount.com')


@pytest.fixture
def google(monkeypatch, tmp_path):
    google = FakeGoogle()
    for name in gcp.VARIABLES: monkeypatch.delenv(name, raising=False)
    for k, v in {**google.variables(), **MINE}.items(): monkeypatch.setenv(k, v)
    monkeypatch.setattr(gcp, 'RETRY', dict(initial=.01, maximum=.02, multiplier=1, timeout=.5))
    monkeypatch.chdir(tmp_path)
    yield google
    google.close()


@pytest.fixture
def gcs(monkeypatch):
    create_server = pytest.importorskip('gcp_storage_emulator.server').create_server
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]  # a free one: the emulator does not tell which it took
    server = create_server('127.0.0.1', port, in_memory=True, default_bucket='b')
    server.start()
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', f'http://127.0.0.1:{port}')
    monkeypatch.setenv('FSSPEC_GCS_TOKEN', 'anon')
    yield server
    server.stop()


@pytest.fixture(scope='session')
def package(tmp_path_factory):
    "The real wheel, built once."
    return real_build(tmp_path_factory.mktemp('package'))


real_build = vertex.build_wheel


@pytest.fixture
def built(tmp_path_factory, monkeypatch):
    "A wheel in name only: what is in it, two tests look at."
    wheel = tmp_path_factory.mktemp('wheel')/'sciencetutor-0.1.0-py3-none-any.whl'
    wheel.write_bytes(b'a wheel')
    monkeypatch.setattr(vertex, 'build_wheel', lambda out: wheel)
    return wheel


def leave_results(google):
    "What `sciencetutor.cloud.job` leaves in the bucket."
    def on_success(job):
        base = job.job_spec.base_output_directory.output_uri_prefix.removeprefix('gs://b/')
        put = lambda name, text: bucket('b').blob(f'{base}/{name}').upload_from_string(text)
        results = ('checkpoint', 'config.json', '{}'), ('eval', 'metrics.json', '{"acc": 51.5, "count": 20}')
        for folder, file, text in results:
            put(f'{folder}/versions/v1/{file}', text)
            put(f'{folder}/LATEST', 'v1')
        put('train.ipynb', '{"cells": []}')
        put('eval.ipynb', '{"cells": []}')
        google.add_log(job.name.rpartition('/')[2], 'last words', 3)
    google.on_success = on_success


def fields(message, *without) -> dict:
    "Every field that is set, by Google's own names for them."
    return {k: v for k, v in MessageToDict(type(message).pb(message)).items() if k not in without}


OURS = 'name', 'state', 'createTime', 'error'  # what the service fills in


def killed(google, code: str, when, *args):
    "Run `code` in a process of its own, and kill it at the first request for which `when(verb, path)` holds."
    def watch(verb, path):
        if when(verb, path):
            child.kill()
            raise Refused(503, 'nobody hears this')
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(repo_root()), os.environ.get('PYTHONPATH', '')])}
    child = subprocess.Popen([sys.executable, '-c', code, *map(str, args)], env=env)
    google.watch = watch
    assert child.wait(120) == -signal.SIGKILL
    google.watch = lambda verb, path: None


def train(**kw):
    return run_cloud_train(**{**dict(config='vertex-l4', data='gs://b/data/sqa', poll=.01, yes=True), **kw})


def test_train_there_and_back(google, gcs, built, capsys):
    leave_results(google)
    google.add_log('1000', 'step 1, loss 2.1', 1)
    done = train(params=['lr=1e-4', 'grad_accum=3'])
    folder = Path(done['folder'])
    assert done['state'] == 'succeeded' and done['metrics']['acc'] == 51.5
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob('[!.]*') if p.is_file())
    assert files == ['checkpoint/config.json', 'eval.ipynb', 'eval/metrics.json', 'train.ipynb']
    out = capsys.readouterr().out
    assert re.findall(r'^\d\d:\d\d:\d\d (\w+)$', out, re.M) == ['pending', 'running', 'succeeded']
    assert out.count('  step 1, loss 2.1\n') == out.count('  last words\n') == 1
    (job,) = google.jobs.values()
    name, job_spec = done['name'], fields(job.job_spec)
    args = job_spec['workerPoolSpecs'][0]['pythonPackageSpec'].pop('args')
    assert fields(job, 'jobSpec', *OURS) == dict(displayName=name, labels=dict(app='sciencetutor', run=name))
    assert job.name.startswith('projects/p/locations/us-west1/')
    package = dict(
        executorImageUri='us-docker.pkg.dev/vertex-ai/training/pytorch-gpu.2-4.py310:latest',
        packageUris=[f'gs://b/packages/{name}/trainer.tar.gz'], pythonModule='trainer.task',
        env=[dict(name='GCP_PROJECT', value='p'), dict(name='HF_TOKEN', value='sm://hf')])  # never a plain key
    gpu = dict(machineType='g2-standard-8', acceleratorType='NVIDIA_L4', acceleratorCount=1)
    disk = dict(bootDiskType='pd-ssd', bootDiskSizeGb=200)
    pool = dict(machineSpec=gpu, replicaCount='1', diskSpec=disk, pythonPackageSpec=package)
    assert job_spec == dict(
        serviceAccount=MINE['GCS_SERVICE_ACCOUNT'], scheduling=dict(timeout='86400s', strategy='STANDARD'),
        baseOutputDirectory=dict(outputUriPrefix=f'gs://b/runs/{name}'), workerPoolSpecs=[pool])
    args = dict(zip(args[::2], args[1::2]))
    params = json.loads(args.pop('--params'))
    said = {'--split': 'val', '--limit': '0', '--gpus': '1'}
    assert args == {'--data': 'gs://b/data/sqa', '--out': f'gs://b/runs/{name}', **said}
    assert params['lr'] == 1e-4 and params['grad_accum'] == 3 and 'grad_accum' not in params['options']
    assert params['options']['load_in_4bit'] and params['options']['epochs'] == 1
    trainer = bucket('b').blob(f'packages/{name}/trainer.tar.gz').download_as_bytes()
    with tarfile.open(fileobj=io.BytesIO(trainer)) as tar:
        assert any(n.endswith('trainer/constraints.txt') for n in tar.getnames())


@pytest.mark.soak
def test_the_whole_way(google, gcs, built):
    "The job runs as it was asked for: a data set goes up, is trained and measured on, and all of it comes home."
    import threading
    from sciencetutor.data.core import run_data
    google.secrets['hf'], google.job_states = 'hf_real', ['RUNNING']
    run_data('samples', 'mine', n=40)

    def machine():
        while not google.jobs: time.sleep(.1)
        (job,) = google.jobs.values()
        args = list(job.job_spec.worker_pool_specs[0].python_package_spec.args)
        env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(repo_root()), os.environ.get('PYTHONPATH', '')])}
        program = [sys.executable, '-m', 'sciencetutor.cloud.job']
        ran = subprocess.run([*program, *args], env=env, capture_output=True, text=True)
        google.add_log(job.name.rpartition('/')[2], ran.stderr.strip().rpartition('\n')[2] or 'done')
        google.operations[job.name] = ['FAILED' if ran.returncode else 'SUCCEEDED']
    threading.Thread(target=machine, daemon=True).start()
    done = train(config='cpu', data='mine', params=['model=tiny', 'steps=3'], poll=1)
    folder = Path(done['folder'])
    assert done['metrics']['count'] == json.loads((folder/'eval/metrics.json').read_text())['count'] > 0
    assert (folder/'eval/report.html').exists()
    assert json.loads((folder/'checkpoint/training.json').read_text())['settings']['steps'] == 3
    for name in ('train', 'eval'):
        text = (folder/f'{name}.ipynb').read_text()
        assert 'injected-parameters' in text and 'hf_real' not in text


def test_own_image_and_spot(google, gcs, built, monkeypatch):
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'us-docker.pkg.dev/p/tutor/train:1')
    train(detach=True, spot=True)
    (job,) = google.jobs.values()
    pool = job.job_spec.worker_pool_specs[0]
    assert pool.container_spec.image_uri == 'us-docker.pkg.dev/p/tutor/train:1'
    assert list(pool.container_spec.command) == ['python', '-m', 'sciencetutor.cloud.job']
    assert job.job_spec.scheduling.strategy.name == 'SPOT' and job.job_spec.scheduling.restart_job_on_worker_restart


def test_a_local_data_set_goes_up_first(google, gcs, built, tmp_path):
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine/dataset_dict.json').write_text('{"splits": ["train", "val"]}')
    train(data=str(tmp_path/'mine'), detach=True)
    (job,) = google.jobs.values()
    args = list(job.job_spec.worker_pool_specs[0].python_package_spec.args)
    assert args[1].startswith('gs://b/data/mine') and bucket('b').blob('data/mine/LATEST').exists()


def test_a_failed_job_says_why_and_may_be_tried_again(google, gcs, built):
    google.job_states = ['RUNNING', 'FAILED']
    google.add_log('1000', 'the loss is nan at step 3: try a lower --lr', 1)
    with pytest.raises(CliError, match='exited with code 1.*loss is nan.*cloud logs vertex-l4-'): train()
    google.job_states = ['SUCCEEDED']
    leave_results(google)
    assert train()['state'] == 'succeeded' and len(google.jobs) == 2


def test_quota_is_said_at_once_and_503_is_retried(google, gcs, built, capsys):
    metric = 'aiplatform.googleapis.com/custom_model_training_nvidia_l4_gpus'
    google.failures = [(429, f'The following quota metrics exceed quota limits: {metric}')]
    with pytest.raises(CliError, match='429.*l4_gpus.*quotas') as e: train()
    assert '\n' not in str(e.value)
    asked = [c for c in google.calls if c[0] == 'POST' and c[1].endswith('customJobs')]
    assert asked == [('POST', '/v1/projects/p/locations/us-west1/customJobs')]
    google.failures = [(503, 'busy')]*3
    train(detach=True)
    assert capsys.readouterr().out.count('note: 503 from Google, trying again') == 3 and len(google.jobs) == 1
    google.failures = [(503, 'busy')]*1000
    with pytest.raises(CliError, match='503.*try again later'): train(again=True, detach=True)


def test_the_same_command_joins_the_run(google, gcs, built, capsys):
    first = train(detach=True)
    leave_results(google)
    assert train()['name'] == first['name'] and len(google.jobs) == 1
    assert 'joining it' in capsys.readouterr().out
    assert train(params=['lr=1e-3'], detach=True)['name'] != first['name'] and len(google.jobs) == 2


TRAIN = ('import sys; from pathlib import Path; from sciencetutor.cloud import vertex\n'
         'vertex.build_wheel = lambda out: Path(sys.argv[1])\n'
         'vertex.run_cloud_train(config="vertex-l4", data="gs://b/data/sqa", poll=.05, yes=True)')


def looks(verb, path): return verb == 'GET' and 'customJobs/' in path
def submits(verb, path): return verb == 'POST' and path.endswith('customJobs')


@pytest.mark.parametrize('when', [looks, submits])
def test_a_killed_client_is_picked_up(google, gcs, built, when):
    killed(google, TRAIN, when, built)
    leave_results(google)
    assert train()['state'] == 'succeeded' and len(google.jobs) == 1
    assert train()['metrics']['acc'] == 51.5 and len(google.jobs) == 1  # what is done is fetched, not done again


def test_a_lost_answer_makes_nothing_twice(google, gcs, built):
    "The request arrived, its answer did not: a second try finds what the first has made."
    google.failures = [(503, LOST)]
    train(detach=True)
    assert len(google.jobs) == 1
    google.failures = [(503, LOST)]*3  # address, firewall, machine
    run_deploy('vm', image='i', allow=['0.0.0.0/0'], yes=True)
    assert len(google.vms) == len(google.rules) == len(google.addresses) == 1


def test_a_network_that_breaks(google, gcs, built, capsys):
    google.dropped = 2
    train(detach=True)
    assert capsys.readouterr().out.count('note: ConnectionError from Google, trying again') == 2
    assert len(google.jobs) == 1
    google.dropped = 10**6
    with pytest.raises(CliError, match='^no answer from Google Cloud .ConnectionError.: check the network$'):
        run_status()
    with pytest.raises(CliError, match='^no answer from Google Cloud'): gcp.resolve_secrets()


def test_an_account_that_has_expired(google, monkeypatch):
    from google.auth.exceptions import RefreshError
    def ask(): raise RefreshError('invalid_grant')
    with pytest.raises(CliError, match='does not take this account .RefreshError.: run `gcloud auth'):
        gcp.with_retries(ask)


def test_a_long_log_is_shown_once_and_whole(google, gcs, built, capsys):
    leave_results(google)
    google.page = 3  # entries an answer
    for i in range(20): google.add_log('1000', f'line {i}', 1)
    train()
    assert re.findall(r'^  line (\d+)$', capsys.readouterr().out, re.M) == [str(i) for i in range(20)]
    last = run_logs(next(iter(google.jobs.values())).display_name, lines=5)
    assert last == ['line 16', 'line 17', 'line 18', 'line 19', 'last words']


def test_cancelled(google, gcs, built, capsys):
    google.job_states = ['RUNNING']
    name = train(detach=True)['name']
    run_cancel(name)
    with pytest.raises(CliError, match='cancelled already'): run_cancel(name)
    with pytest.raises(CliError, match='no run is called nobody'): run_cancel('nobody')
    assert 'is being ended' in capsys.readouterr().out and [r[2] for r in run_status()] == ['cancelled']
    assert train(detach=True)['name'] == name and len(google.jobs) == 2  # a run that was ended may be started again


def test_dry_run_sends_nothing_and_prints_what_would_be_sent(google, built, capsys):
    train(dry_run=True)
    out = capsys.readouterr().out
    assert not google.calls and 'plain-secret' not in out
    printed = json.loads(out[out.index('\n{') + 1:])
    assert printed['jobSpec']['workerPoolSpecs'][0]['pythonPackageSpec']['pythonModule'] == 'trainer.task'
    run_deploy('vm', image='i', allow=['0.0.0.0/0'], dry_run=True)
    run_status(dry_run=True)
    assert not google.calls


def test_nothing_is_spent_without_a_yes(google, gcs, built, monkeypatch, capsys):
    monkeypatch.setattr('builtins.input', lambda *_: 'n')
    with pytest.raises(CliError, match='nothing was started'): train(yes=False)
    monkeypatch.setattr('builtins.input', lambda *_: (_ for _ in ()).throw(EOFError))
    with pytest.raises(CliError, match='--yes'): run_deploy('vm', image='i', allow=['0.0.0.0/0'])
    assert not google.jobs and not google.vms
    assert 'about $1.00 an hour (list price of early 2025, check' in capsys.readouterr().out


def test_packages_are_the_same_byte_for_byte(package, tmp_path):
    again = real_build(tmp_path)
    assert again.read_bytes() == package.read_bytes()
    one, two = build_trainer(package, tmp_path).read_bytes(), build_trainer(again, tmp_path).read_bytes()
    assert one == two


RECORDER = '''import os, sys
open("calls", "a").write(" ".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "venv":
    os.makedirs(sys.argv[-1] + "/bin")
    python = sys.argv[-1] + "/bin/python"
    open(python, "w").write("#!/bin/sh\\necho $@; exit 3\\n")
    os.chmod(python, 0o755)
'''


def test_the_task_runs_the_job_in_an_environment_of_its_own(package, tmp_path):
    "`python -m trainer.task` with uv replaced by a recorder: what would be installed, and what would be run."
    with tarfile.open(build_trainer(package, tmp_path)) as tar: tar.extractall(tmp_path)
    (root,) = tmp_path.glob('trainer-*')
    (root/'uv.py').write_text(RECORDER)
    command = [sys.executable, '-m', 'trainer.task', '--data', 'samples', '--out', 'x y']
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 3 and '-m sciencetutor.cloud.job --data' in done.stdout
    assert done.stdout.strip().endswith('--data samples --out x y')
    venv, install = (root/'calls').read_text().splitlines()
    assert '--python 3.11' in venv and 'constraints.txt' in install
    assert 'sciencetutor[train,track,deepspeed,quant,cloud] @ file://' in install
    assert '--torch-backend auto' in install  # the build that the machine's driver can run


def test_vm_from_beginning_to_end(google, monkeypatch, capsys):
    monkeypatch.setenv('SERVE_IMAGE_URI', 'us-docker.pkg.dev/p/tutor/ui:1')
    monkeypatch.setenv('GCS_BUCKET_NAME', '')
    google.failures = [(503, 'busy')]
    made = run_deploy('vm', model='llava-hf/llava-1.5-7b-hf', allow=['203.0.113.0/24'], yes=True)
    out = capsys.readouterr().out
    assert out.index('about $0.48 an hour (list price of') < out.index('http://203.0.113.7:7860')
    assert made['address'] == '203.0.113.7'
    vm, zone = google.vms['sciencetutor'], 'projects/p/zones/us-west1-a'
    address = dict(name='sciencetutor-address', addressType='EXTERNAL', networkTier='PREMIUM')
    assert fields(google.addresses['sciencetutor-address'], 'address') == address
    assert fields(google.rules['sciencetutor-ports']) == dict(
        name='sciencetutor-ports', network='global/networks/default', direction='INGRESS',
        sourceRanges=['203.0.113.0/24'], targetTags=['sciencetutor'],
        allowed=[dict(IPProtocol='tcp', ports=['7860', '5000', '5005'])],
        description='ScienceTutor: page, HTTP API, websockets')
    disk = dict(sourceImage='projects/cos-cloud/global/images/family/cos-stable', diskSizeGb='100',
                diskType=f'{zone}/diskTypes/pd-balanced')
    access = dict(name='External NAT', type='ONE_TO_ONE_NAT', natIP='203.0.113.7')
    scopes = [f'https://www.googleapis.com/auth/{scope}' for scope in ('devstorage.read_only', 'logging.write')]
    assert fields(vm, 'metadata', 'status', 'creationTimestamp') == dict(
        name='sciencetutor', machineType=f'{zone}/machineTypes/n1-highmem-2',
        labels=dict(app='sciencetutor'), tags=dict(items=['sciencetutor']),
        disks=[dict(boot=True, autoDelete=True, initializeParams=disk)],
        networkInterfaces=[dict(network='global/networks/default', accessConfigs=[access])],
        guestAccelerators=[dict(acceleratorType=f'{zone}/acceleratorTypes/nvidia-tesla-t4', acceleratorCount=1)],
        scheduling=dict(onHostMaintenance='TERMINATE', automaticRestart=True, provisioningModel='STANDARD'),
        serviceAccounts=[dict(email=MINE['GCS_SERVICE_ACCOUNT'], scopes=scopes)])
    assert {i.key for i in vm.metadata.items} == {'user-data', 'google-logging-enabled'}
    init = yaml.safe_load({i.key: i.value for i in vm.metadata.items}['user-data'])
    service = {f['path'].rpartition('/')[2]: f['content'] for f in init['write_files']}
    assert '-e MODEL=llava-hf/llava-1.5-7b-hf us-docker.pkg.dev/p/tutor/ui:1' in service['tutor.service']
    assert 'cos-extensions install gpu' in service['driver.service']
    assert 'plain-secret' not in str(vm)
    run_deploy('vm', allow=['198.51.100.0/24'], yes=True)  # once more: the firewall changes, nothing is made twice
    assert len(google.vms) == 1
    assert list(google.rules['sciencetutor-ports'].source_ranges) == ['198.51.100.0/24']
    assert 'is there already' in capsys.readouterr().out
    assert [r[:3] for r in run_status()] == [('machine', 'sciencetutor', 'running')]
    assert run_status()[0][4] == '203.0.113.7'
    assert run_logs('sciencetutor')[-1] == 'ScienceTutor (tutor) is ready'
    run_deploy('vm', do='stop')
    assert google.vms['sciencetutor'].status == 'TERMINATED'
    run_deploy('vm', do='start', yes=True)
    assert google.vms['sciencetutor'].status == 'RUNNING'
    run_deploy('vm', do='delete', yes=True)
    assert not google.vms and not google.rules and not google.addresses
    run_deploy('vm', do='delete', yes=True)  # what is gone is no error
    with pytest.raises(CliError, match='404.*check project'): run_deploy('vm', do='stop')
    with pytest.raises(CliError, match='cloud status'): run_logs('sciencetutor')


def machine(**kw): return run_deploy('vm', **{**dict(image='i', allow=['0.0.0.0/0'], yes=True), **kw})


def test_vm_quota(google):
    "Refused at once, or accepted and then not had: said in one line, and the same command goes on from there."
    google.watch = lambda verb, path: refuse() if verb == 'POST' and path.endswith('/instances') else None
    def refuse(): raise Refused(403, "Quota 'NVIDIA_T4_GPUS' exceeded. Limit: 0.0 in region us-west1.")
    with pytest.raises(CliError, match='T4_GPUS.*quotas.*vm delete --name sciencetutor'): machine()
    google.watch = lambda verb, path: None
    google.operation_errors = [('ZONE_RESOURCE_POOL_EXHAUSTED', 'The zone does not have enough resources')]
    with pytest.raises(CliError, match='POOL_EXHAUSTED.*another GCP_ZONE.*vm delete'): machine()
    assert not google.vms and len(google.rules) == len(google.addresses) == 1
    machine()
    assert len(google.vms) == len(google.rules) == len(google.addresses) == 1


def test_a_killed_deployment_is_picked_up(google):
    code = 'from sciencetutor.cloud.vm import run_deploy; run_deploy("vm", image="i", allow=["0.0.0.0/0"], yes=True)'
    killed(google, code, lambda verb, path: verb == 'POST' and path.endswith('/instances'))
    assert not google.vms and len(google.rules) == len(google.addresses) == 1
    machine()
    assert len(google.vms) == len(google.rules) == len(google.addresses) == 1


@pytest.mark.parametrize('allow', ['203.0.113', '203.0.113.1/24', 'school.example', '0.0.0.0/0 '])
def test_who_may_reach_it_is_an_address(google, allow):
    with pytest.raises(CliError, match='write an address'): machine(allow=[allow])
    assert not google.calls


@pytest.mark.parametrize('library,name', [('aiplatform_v1', 'JobServiceClient'), ('compute_v1', 'InstancesClient')])
def test_what_a_dry_run_needs_of_a_client(google, library, name):
    """A dry run replaces the `send` of the session that a REST transport keeps in `_session`, a private attribute.

    When this fails, google-cloud-aiplatform or google-cloud-compute has renamed it, and `sciencetutor.cloud.compat` is
    the place to mend; until then `--dry-run` ends with their versions and sends nothing."""
    from importlib import import_module
    from sciencetutor.cloud.compat import rest_session
    cls = getattr(import_module(f'google.cloud.{library}'), name)
    client = gcp.make_client(cls, library.partition('_')[0], dry=True)
    assert rest_session(client).send is gcp.print_request
    del client.transport._session
    with pytest.raises(CliError, match=f'cannot see the requests of {name}: google-cloud-aiplatform .*tested with'):
        rest_session(client)
    assert not google.calls


def test_status_and_logs_of_jobs(google, gcs, built):
    name = train(detach=True)['name']
    google.add_log('1000', 'two', 2), google.add_log('1000', 'one', 1)
    assert [r[:3] for r in run_status()] == [('job', name, 'queued')] and run_logs(name) == ['one', 'two']


def test_secrets_are_fetched_at_the_last_moment(google, capsys):
    google.secrets['hf'] = 'hf_real\n'
    assert gcp.resolve_secrets() == ['HF_TOKEN'] and os.environ['HF_TOKEN'] == 'hf_real'
    assert 'hf_real' not in capsys.readouterr().out
    os.environ['HF_TOKEN'] = 'sm://unknown'
    with pytest.raises(CliError, match='403.*permission denied on secret unknown'): gcp.resolve_secrets()


def test_doctor_shows_no_secret(google, gcs, capsys):
    rows = gcp.run_doctor()
    out = capsys.readouterr().out
    assert 'plain-secret' not in out and rows['HF_TOKEN'] == ('set', 'sm://hf')
    assert rows['TRAIN_IMAGE_URI'][0] == rows['SERVE_IMAGE_URI'][0] == 'missing'
    assert rows['GCS_PACKAGE_URI'] == ('default', 'gs://b/packages')
    services = [rows[s] for s in ('Vertex AI', 'Compute Engine', 'Cloud Storage')]
    assert services == [('answers', ''), ('answers', 'the quota of us-west1 has 1 T4 left'), ('answers', '')]


def test_doctor_says_what_google_refuses(google, monkeypatch, capsys):
    disabled = ('Vertex AI API has not been used in project 1 before or it is disabled. Enable it by visiting https://'
                'console.developers.google.com/apis/api/aiplatform.googleapis.com/overview?project=1 then retry.')
    def watch(verb, path):
        if 'customJobs' in path: raise Refused(403, disabled)
    google.watch, google.t4 = watch, 0
    google.storage_refusal = 404, 'The specified bucket does not exist.'
    monkeypatch.setenv('STORAGE_EMULATOR_HOST', google.url)
    rows = gcp.run_doctor()
    assert rows['Vertex AI'][0] == rows['Compute Engine'][0] == rows['Cloud Storage'][0] == 'missing'
    assert disabled.rstrip('.') in rows['Vertex AI'][1]
    assert 'the quota of us-west1 has no T4 left' in rows['Compute Engine'][1]
    assert '404' in rows['Cloud Storage'][1]


@pytest.mark.parametrize('name', ['cpu', 'colab-a100', 'vertex-a100', 'vertex-l4', 't4'])
def test_presets_arrive(name):
    "Every parameter is one of the notebook or an argument of the stage."
    import ast
    from sciencetutor.cloud.job import fit_parameters
    tree = ast.parse((repo_root()/'sciencetutor/train/settings.py').read_text())
    settings = next(c for c in tree.body if isinstance(c, ast.ClassDef) and c.name == 'TrainSettings')
    takes = {f.target.id for f in settings.body if isinstance(f, ast.AnnAssign)}
    params, machine = read_config(name)
    fitted = fit_parameters(repo_root()/'nbs/20_train.ipynb', params)
    assert not set(fitted['options']) - takes
    assert machine['type'] and name in NOTES['speeds'] and 0 < epoch_hours(name) < 24


@pytest.mark.soak
@pytest.mark.parametrize('name', ['cpu', 'colab-a100', 'vertex-a100', 'vertex-l4', 't4'])
def test_presets_train(name, tmp_path, monkeypatch):
    "Each file through the job program, adapters, ZeRO and 4-bit weights too, with a tiny model and another limit."
    from sciencetutor.data.core import run_data
    from sciencetutor.cloud.job import main
    monkeypatch.chdir(tmp_path)
    run_data('samples', 'data', n=24)
    params, _ = read_config(name)
    small = vertex.override_params(params, ['model=tiny', 'steps=2'])
    assert main(['--data', 'data', '--out', 'out', '--split', '', '--params', json.dumps(small)]) == 0
    report = json.loads(Path('out/checkpoint/training.json').read_text())
    kept = {k: v for k, v in params['options'].items() if k not in ('epochs', 'precision', 'deepspeed')}
    assert {k: report['settings'][k] for k in kept} == kept and report['steps'] == 2


def test_every_price_has_its_assumption_and_date():
    assert NOTES['known']
    assert all(p['assumes'] and p['per'] and p['usd'] >= 0 for p in NOTES['prices'].values())
    assert all(s['assumes'] for s in NOTES['speeds'].values())
    table = assumption_table()
    assert all(f'| {n} |' in table for n in NOTES['prices']) and table.count(NOTES['known']) == len(NOTES['prices'])
    assert 'list price' in cost_table()


def test_the_container_gets_no_credentials(google):
    "The metadata server is closed to the container, and the account can do little or is not there."
    run_deploy('vm', image='us-docker.pkg.dev/p/tutor/ui:1', allow='203.0.113.0/24', yes=True)
    public_image = 'ghcr.io/sciencetutor/sciencetutor:1'
    run_deploy('vm', name='open', image=public_image, allow=['203.0.113.0/24'], auth=True, yes=True)
    ours, public = google.vms['sciencetutor'], google.vms['open']
    assert [s.rpartition('/')[2] for s in ours.service_accounts[0].scopes] == ['devstorage.read_only', 'logging.write']
    assert not public.service_accounts
    units = []
    for vm in (ours, public):
        files = yaml.safe_load({i.key: i.value for i in vm.metadata.items}['user-data'])['write_files']
        units.append(next(f['content'] for f in files if 'tutor.service' in f['path']))
    for unit in units:
        rule = unit.index('DOCKER-USER -d 169.254.169.254 -p tcp ! --dport 53 -j REJECT')
        assert rule < unit.index('ExecStart=/usr/bin/docker run') and '-v tutor-data:/data' in unit
    assert '-e AUTH=1' not in units[0] and '-e AUTH=1' in units[1]
    assert list(google.rules['sciencetutor-ports'].source_ranges) == ['203.0.113.0/24']


def test_what_is_misspelt_is_refused(built, google):
    with pytest.raises(CliError, match='give one of|one of colab-a100'): train(config='abacus')
    with pytest.raises(CliError, match='NAME=VALUE'): train(params=['lr'])
    os.environ.pop('GCP_PROJECT')
    with pytest.raises(CliError, match='GCP_PROJECT is not set.*gcloud projects create'): train()


def test_on_the_command_line(google, built, capsys):
    from sciencetutor.cli import main
    assert main(['cloud', 'status']) == 0 and 'no machine is there' in capsys.readouterr().out
    assert main(['cloud', 'logs', 'nobody']) == 2 and 'cloud status' in capsys.readouterr().err
    assert main(['cloud']) == 2 and 'cloud doctor' in capsys.readouterr().err


@pytest.mark.parametrize('line,shows', [
    ('train --config t4 --params lr=1e-4', '"acceleratorType"'),
    ('pipeline --data', '"pipelineSpec"'),
    ('pipeline -p', '"sciencetutor-data"'),
    ('pipeline -t --source gs://b/d', '"sciencetutor-train"'),
    ('pipeline -w', '"sciencetutor-all"'),
    ('pipeline -w --local', '"pipeline": "all"'),
    ('images', 'docker build --target train -t train .'),
    ('images --by cloud-build', '"storageSource"'),
    ('deploy vm --allow 0.0.0.0/0', '"guestAccelerators"'),
    ('deploy vm stop', 'sciencetutor/stop'),
    ('deploy vm start', 'sciencetutor/start'),
    ('deploy vm delete', 'DELETE http'),
    ('deploy endpoint --gpu L4', '"containerSpec"'),
    ('deploy endpoint delete', '/endpoints/sciencetutor'),
    ('status', 'filter=labels.app="sciencetutor"'),
    ('doctor', 'would list gs://b'),
    ('doctor', '/regions/us-west1'),
    ('logs run', 'entries:list'),
    ('cancel run', ':cancel')])
def test_every_command_can_be_tried_dry(google, built, monkeypatch, capsys, line, shows):
    from sciencetutor.cli import main
    for name in ('train', 'serve'): monkeypatch.setenv(f'{name.upper()}_IMAGE_URI', name)
    assert main(['cloud', *line.split(), '--dry-run']) == 0 and shows in capsys.readouterr().out and not google.calls
