"Pipelines: submitted to Vertex AI on loopback, and run here with kfp's local runner."
import json
import pytest, yaml
pytest.importorskip('kfp')
from fastcore.script import CliError
from sciencetutor.cloud.job import main
from sciencetutor.cloud.core import run_cancel, run_logs
from sciencetutor.cloud.pipeline import run_local, run_pipeline
from sciencetutor.resources import repo_root
from google_server import LOST
from test_cloud import OURS, fields, google, killed


def submit(**kw):
    return run_pipeline(**{**dict(all=True, config='vertex-a100', source='gs://b/data/sqa', poll=.01, yes=True), **kw})


def test_submitted_and_followed(google, monkeypatch, capsys):
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'us-docker.pkg.dev/p/tutor/train:1')
    google.failures = [(503, 'busy')]
    assert submit(min_accuracy=60, destination='gs://b/models/tutor', params=['lr=1e-4'])['state'] == 'succeeded'
    (job,) = google.pipelines.values()
    asked = fields(job, 'jobDetail', *OURS)
    config, spec = asked.pop('runtimeConfig'), asked.pop('pipelineSpec')
    run = asked['displayName']
    account = 'tutor@p.iam.gserviceaccount.com'
    assert asked == dict(displayName=run, labels=dict(app='sciencetutor', run=run), serviceAccount=account)
    assert run.startswith('all-pipeline-')
    params = json.loads(config['parameterValues'].pop('params'))
    values = dict(source='gs://b/data/sqa', n=0, gpus=1, split='val', min_accuracy=60, destination='gs://b/models/tutor')
    assert config == dict(gcsOutputDirectory='gs://b/pipelines', parameterValues=values)
    assert params['lr'] == 1e-4 and params['options']['epochs'] == 1 and params['options']['precision'] == 'bf16'
    boxes = {k: v['container'] for k, v in spec['deploymentSpec']['executors'].items()}
    for name, box in boxes.items():
        env = box.pop('env')
        assert env == [dict(name='GCP_PROJECT', value='p'), dict(name='HF_TOKEN', value='sm://hf')]
        assert box.pop('image') == 'us-docker.pkg.dev/p/tutor/train:1'
        a2_highgpu_1g = dict(cpuLimit=12, memoryLimit=85, accelerator=dict(type='NVIDIA_TESLA_A100', count='1'))
        wanted = a2_highgpu_1g if name in ('exec-train-step', 'exec-eval-step') else {}
        assert box.pop('resources', {}) == wanted
    compiled = yaml.safe_load((repo_root()/'pipelines/all.yaml').read_text())
    for executor in compiled['deploymentSpec']['executors'].values(): executor['container'].pop('image')
    assert spec == compiled  # everything else is as it was compiled
    assert 'plain-secret' not in str(job) and 'sm://hf' in str(job)
    assert all(t['cachingOptions']['enableCache'] for t in job.pipeline_spec['root']['dag']['tasks'].values())
    out = capsys.readouterr().out
    assert 'about $4.30 an hour' in out and 'train-step running' in out and out.count('data-step succeeded') == 1


def test_short_of_quota_failed_and_joined(google, monkeypatch, capsys):
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'i')
    google.failures = [(429, 'Quota exceeded for aiplatform.googleapis.com/restricted_image_training_a100_gpus')]
    with pytest.raises(CliError, match='a100_gpus.*quotas'): submit()
    google.job_states = ['RUNNING', 'FAILED']
    google.add_log('7001', 'the loss is nan at step 3')
    said = '(all-pipeline-.*) ended as failed in train-step.*the loss is nan.*cloud logs all-pipeline'
    with pytest.raises(CliError, match=said) as e: submit()
    assert run_logs(str(e.value).split()[0]) == ['the loss is nan at step 3']
    google.operations.clear()
    google.job_states = ['SUCCEEDED']
    for job in google.pipelines.values(): job.state = 3  # as if it still ran: another client joins it
    assert submit()['state'] == 'succeeded' and len(google.pipelines) == 1 and 'joining it' in capsys.readouterr().out
    submit(no_cache=True, params=['lr=1'])
    tasks = list(google.pipelines.values())[-1].pipeline_spec['root']['dag']['tasks'].values()
    assert not any('cachingOptions' in t and t['cachingOptions'] for t in tasks)


def test_killed_lost_and_cancelled(google, monkeypatch, capsys):
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'i')
    code = ('from sciencetutor.cloud.pipeline import run_pipeline\n'
            'run_pipeline(all=True, config="vertex-a100", source="gs://b/data/sqa", poll=.01, yes=True)')
    killed(google, code, lambda verb, path: verb == 'GET' and 'pipelineJobs/' in path)
    assert submit()['state'] == 'succeeded' and len(google.pipelines) == 1
    google.failures = [(503, LOST)]
    submit(params=['lr=2'])
    assert len(google.pipelines) == 2
    for job in google.pipelines.values(): job.state = 3
    run_cancel(job.display_name)
    assert 'was running and is being ended' in capsys.readouterr().out and job.state.name == 'PIPELINE_STATE_CANCELLED'


def test_dry_run_and_choices(google, monkeypatch, capsys):
    with pytest.raises(CliError, match='one of --data, --train, --all'): run_pipeline(data=True, train=True)
    with pytest.raises(CliError, match='--source gs://'): run_pipeline(train=True)
    with pytest.raises(CliError, match='TRAIN_IMAGE_URI is not set'): submit(dry_run=True)
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'i')
    submit(dry_run=True)
    out = capsys.readouterr().out
    assert json.loads(out[out.index('\n{') + 1:])['runtimeConfig']['parameterValues']['split'] == 'val'
    assert not google.calls


def test_data_pipeline_here(tmp_path, monkeypatch):
    "The shortest graph, with real components: questions in, a data set out."
    monkeypatch.chdir(tmp_path)
    made = run_local('data', dict(source='samples', n=12, destination=''), tmp_path/'out')
    assert (made['data-step/dataset']/'dataset_dict.json').exists() and made['data-step/notebook.ipynb'].exists()


@pytest.mark.soak
@pytest.mark.parametrize('gate', [0, 99])
def test_all_here(gate, tmp_path, monkeypatch):
    "Data, train, eval and the gate, with the tiny model."
    monkeypatch.chdir(tmp_path)
    params = ['model=tiny', 'steps=20']
    go = lambda: run_pipeline(all=True, n=60, params=params, local=True, min_accuracy=gate, out=str(tmp_path/'out'))
    if gate:
        said = r'the gate is closed, accuracy \d+\.\d% is below 99\.0%, nothing was uploaded'
        with pytest.raises(CliError, match=said): go()
        return
    made = go()
    assert (tmp_path/'out').exists()
    wanted = 'train-step/checkpoint', 'train-step/notebook.ipynb', 'eval-step/report', 'eval-step/notebook.ipynb'
    assert set(wanted) <= set(made)


def test_a_job_that_fails_says_so_and_ends_with_1(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'nbs').mkdir()
    cell = lambda id, source, **meta: dict(
        cell_type='code', id=id, metadata=meta, outputs=[], execution_count=None, source=source)
    nb = dict(nbformat=4, nbformat_minor=5, metadata={}, cells=[
        cell('a', 'data = ""\nout = ""\nlr = 0.1', tags=['parameters']),
        cell('b', 'raise ValueError("the loss is nan")')])
    (tmp_path/'nbs/20_train.ipynb').write_text(json.dumps(nb))
    (tmp_path/'set').mkdir()
    (tmp_path/'set/dataset_dict.json').write_text('{}')
    run = lambda params: main(['--data', 'set', '--out', 'o', '--notebooks', 'nbs', '--params', json.dumps(params)])
    assert run(dict(lr=3)) == 1
    said = capsys.readouterr().err.replace('cell 2', 'cell 3')
    assert 'failed in its cell 3: ValueError: the loss is nan; see o/train.ipynb' in said
    assert run(dict(learning_rate=3)) == 1
    assert 'has no parameter learning_rate: it has data, lr, out' in capsys.readouterr().err
