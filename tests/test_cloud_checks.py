"What is found out before a machine is rented, and in the first minute on it."
import json, os, subprocess, sys
import pytest
from fastcore.script import CliError
pytest.importorskip('google.cloud.aiplatform_v1')
from sciencetutor.cloud import gcp, machines
from sciencetutor.cloud.checks import check_image, notebook_parameters, run_settings
from sciencetutor.cloud.job import main
from sciencetutor.cloud.machines import Device, device_problem, settle_machine
from sciencetutor.cloud.pipeline import run_pipeline
from sciencetutor.cloud.prices import read_config
from sciencetutor.cloud.vertex import override_params
from sciencetutor.cloud.vm import run_deploy
from sciencetutor.resources import recipes, repo_root
from test_cloud import built, google, train

TRAINING = repo_root()/'nbs/20_train.ipynb'
PRESETS = recipes()
LIMITS = 'minutes', 'epochs', 'steps'


@pytest.mark.parametrize('said', [{}, dict(steps=20), dict(minutes=5), dict(epochs=2), dict(steps=20, epochs=None)])
@pytest.mark.parametrize('preset', PRESETS)
def test_a_run_has_one_limit(preset, said):
    "What is said takes the place of the preset's, in the command and in papermill."
    values = read_config(preset)[0]
    words = [f'{k}={"null" if v is None else v}' for k, v in said.items()]
    for params in (override_params(values, words), values | said if set(said) <= {'steps'} else None):
        if params is None: continue
        s = run_settings(params, TRAINING)
        limits = {k: getattr(s, k) for k in LIMITS if getattr(s, k) is not None}
        assert limits == ({k: v for k, v in said.items() if v is not None} or dict(epochs=1))


def test_the_notebook_hands_on_what_was_checked():
    "Its own run cell, with a training that only listens."
    heard, nb = [], json.loads(TRAINING.read_text())
    source = next(s for c in nb['cells'] if 'said | drop_limits' in (s := ''.join(c['source'])))
    lines = source[source.index('said ='):].split('\n')[:2]
    from sciencetutor.train.settings import drop_limits
    def listen(processes, **kw): heard.append(kw)
    values = notebook_parameters(TRAINING) | read_config('vertex-l4')[0] | dict(steps=2)
    exec('\n'.join(lines), dict(values, drop_limits=drop_limits, run_on_devices=listen))
    assert {k: v for k, v in heard[0].items() if k in LIMITS} == dict(steps=2) and heard[0]['lora_r'] == 64


@pytest.mark.parametrize('kw,said', [
    (dict(params=['learning_rate=1']), 'has no parameter learning_rate; did you mean .*rate|has no parameter learning'),
    (dict(params=['lr=fast']), 'lr=fast: lr is of the type float'),
    (dict(params=['objective=guess']), 'objective=guess: take one of choices, answer'),
    (dict(params=['freeze=visoin']), 'freeze=visoin: take one of vision'),
    (dict(params=['load_in_4bit=true', 'lora_r=0']), 'adapters only'),
    (dict(params=['deepspeed=zero9']), 'zero2'),
    (dict(params=['minutes=1', 'epochs=1']), 'contradict each other'),
    (dict(params=['config=t4']), 'name the recipe with --config'),
    (dict(params=['model=./checkpoints/tutor']), 'folder of this machine'),
    (dict(config='t4', params=['precision=bf16', 'model=tiny']), 'NVIDIA_TESLA_T4 has no bf16'),
    (dict(params=['model=tutor', 'batch_tokens=3000000']), 'needs about .* NVIDIA_L4 has 23.6 GB free.*--params'),
    (dict(config='colab-a100'), 'no machine type colab-a100'),
    (dict(config='cpu', gpus=2), 'no GPU to take more of'),
    (dict(gpus=3), 'no machine type'),
    (dict(data='.'), 'no data set folder')])
def test_what_cannot_run_is_refused_before_anything_is_sent(google, built, kw, said):
    kw = kw | dict(params=kw.get('params', ['model=tiny']))
    for dry in (True, False):
        with pytest.raises(CliError, match=said) as e: train(**kw, dry_run=dry)
        assert not google.calls and '\n' not in str(e.value)


def test_a_dry_run_says_what_fits(google, built, capsys):
    train(config='vertex-a100', params=['model=tiny', 'steps=20'], gpus=4, dry_run=True)
    out = capsys.readouterr().out
    assert 'checked: tiny, steps 20; about ' in out and 'GB of the 42.3 GB of each NVIDIA_TESLA_A100' in out
    sent = json.loads(out[out.index('\n{') + 1:])['jobSpec']['workerPoolSpecs'][0]
    four = dict(machineType='a2-highgpu-4g', acceleratorCount=4)
    assert {k: sent['machineSpec'][k] for k in four} == four
    args = sent['pythonPackageSpec']['args']
    assert args[args.index('--gpus') + 1] == '4'


def test_a_preset_of_the_hub_is_estimated(tmp_path):
    "Only the configuration is needed, here from the hub's cache; full fine-tuning of seven billion does not fit."
    from transformers import LlavaConfig
    name, home = 'llava-hf/llava-1.5-7b-hf', tmp_path/'hub/models--llava-hf--llava-1.5-7b-hf'
    LlavaConfig().save_pretrained(home/'snapshots/abc')
    (home/'refs').mkdir()
    (home/'refs/main').write_text('abc')
    code = ('from sciencetutor.cloud.checks import check_run; from sciencetutor.cloud.prices import read_config\n'
            'values, machine = read_config("vertex-l4"); check_run(values, machine)\n'
            'values["options"].update(lora_r=0, load_in_4bit=False)\n'
            'try: check_run(values, machine)\nexcept Exception as e: print(e)')
    env = {**os.environ, 'HF_HOME': str(tmp_path), 'HF_HUB_OFFLINE': '1', 'PYTHONPATH': str(repo_root())}
    for variable in ('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE'): env.pop(variable, None)
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    fits, fits_not = done.stdout.strip().split('\n')
    assert fits.startswith(f'checked: {name}, epochs 1; about ') and 'of the 23.6 GB of each NVIDIA_L4' in fits
    assert fits_not.startswith(f'{name} needs about ') and 'NVIDIA_L4 has 23.6 GB free' in fits_not


def test_what_the_hub_does_not_tell_here_is_left_to_the_job(google, built, capsys):
    train(params=['steps=20'], dry_run=True)
    assert 'steps 20; memory is estimated by the job: model llava-hf' in capsys.readouterr().out


def test_a_pipeline_is_checked_as_well(google, monkeypatch):
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'us-docker.pkg.dev/PROJECT/sciencetutor/train:1')
    ask = dict(all=True, yes=True, dry_run=True)
    with pytest.raises(CliError, match='TRAIN_IMAGE_URI .* is no name of an image'):
        run_pipeline(**ask, params='model=tiny')
    with pytest.raises(CliError, match='training has no parameter epoch; did you mean epochs'):
        run_pipeline(**ask, params=['model=tiny', 'epoch=1'])
    with pytest.raises(CliError, match='training has no parameter epoch'):
        run_pipeline(**ask, local=True, params='epoch=1')
    assert not google.calls


@pytest.mark.parametrize('image', ['ui:', 'UI:1', 'a//b', 'ui; true', 'https://ghcr.io/a/b', ''])
def test_an_image_has_a_name(google, image):
    with pytest.raises(CliError, match='no name of an image'): check_image(image)


def test_one_name_never_means_two_images(google, built, monkeypatch):
    "The image that trains, on a machine that serves, would print its help for ever."
    monkeypatch.setenv('IMAGE_URI', 'us-docker.pkg.dev/p/tutor/train:1')
    for ask in (lambda: run_deploy('vm', allow=['0.0.0.0/0'], dry_run=True), lambda: train(params=['model=tiny'])):
        with pytest.raises(CliError, match='two images: put TRAIN_IMAGE_URI or SERVE_IMAGE_URI'): ask()
    monkeypatch.delenv('IMAGE_URI')
    monkeypatch.setenv('TRAIN_IMAGE_URI', 'us-docker.pkg.dev/p/tutor/train:1')
    with pytest.raises(CliError, match='trains, and does not serve'):
        run_deploy('vm', image='us-docker.pkg.dev/p/tutor/train:1', allow=['0.0.0.0/0'], dry_run=True)
    assert not google.calls


def test_every_preset_fits_its_machine():
    for name in PRESETS:
        machine = read_config(name)[1]
        if not machine or name == 'colab-a100': continue
        settled = settle_machine(machine)
        assert settled['type'] == machine['type'] and settled['cpus'] and settled['memory_gb']
        assert 'V100' not in machine.get('gpu', '')  # no torch of PyPI's has its kernels any more


CUDA13 = ['sm_75', 'sm_80', 'sm_86', 'sm_90', 'sm_100', 'sm_120']
GB = 10**9
GOOD = Device(['Tesla T4'], [(7, 5)], [15*GB], '13.0', CUDA13, '13.0')


@pytest.mark.parametrize('change,gpus,precision,said', [
    ({}, 1, 'fp16', ''), ({}, 1, 'auto', ''), ({}, 0, 'bf16', ''), (dict(driver='13.2'), 1, 'auto', ''),
    (dict(built='12.8', driver='12.2'), 1, 'auto', ''),  # within a major version any driver will do
    (dict(capabilities=[(8, 9)], names=['L4']), 1, 'bf16', ''),
    (dict(capabilities=[(12, 1)], kernels=['sm_90', 'compute_90']), 1, 'bf16', ''),  # translated by the driver
    ({}, 1, 'bf16', 'Tesla T4 has no bf16: say precision=fp16'),
    (dict(names=['Tesla V100'], capabilities=[(7, 0)]), 1, 'fp16', 'Tesla V100 is sm_70, and this torch has kernels'),
    (dict(driver='12.2'), 1, 'fp16', 'driver knows CUDA 12.2 at most, and this torch is built for 13.0'),
    (dict(driver=''), 1, 'fp16', 'no NVIDIA driver'),
    (dict(built='', kernels=[]), 1, 'fp16', 'built without CUDA'),
    ({}, 2, 'fp16', '1 of 2 GPUs can be seen'),
    (dict(free=[GB]), 1, 'fp16', '1.0 GB left')])
def test_a_gpu_that_cannot_do_it_is_said_at_once(change, gpus, precision, said):
    problem = device_problem(GOOD._replace(**change), gpus, precision)
    assert said in problem and bool(said) == bool(problem) and '\n' not in problem


def test_a_job_ends_at_its_start(tmp_path, monkeypatch, capsys):
    "Before data, weights or a kernel: one line, exit code 1."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machines, 'find_device', lambda: GOOD._replace(driver='12.2'))
    job = lambda params, *more: main(['--data', 'no/body', '--out', 'o', '--params', json.dumps(params), *more])
    assert job(dict(model='tiny', steps=1), '--gpus', '1') == 1
    said = capsys.readouterr().err
    assert said.startswith('job: the driver knows CUDA 12.2 at most') and said.count('\n') == 1
    assert job(dict(model='tiny', steps=1, minutes=1)) == 1
    assert 'contradict' in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_doctor_looks_at_the_gpu(google, monkeypatch, capsys):
    from sciencetutor.cli import main as cli
    monkeypatch.setattr(machines, 'find_device', lambda: GOOD)
    assert cli(['cloud', 'doctor', '--gpu']) == 0
    out = capsys.readouterr().out
    assert 'Tesla T4' in out and 'sm_75' in out and 'CUDA 13.0' in out and 'no bf16' in out
    monkeypatch.setattr(machines, 'find_device', lambda: GOOD._replace(names=['Tesla V100'], capabilities=[(7, 0)]))
    assert cli(['cloud', 'doctor', '--gpu']) == 2 and 'Tesla V100 is sm_70' in capsys.readouterr().err
    monkeypatch.setattr(machines, 'find_device', lambda: Device())
    assert cli(['cloud', 'doctor', '--gpu']) == 2 and 'without CUDA' in capsys.readouterr().err
    assert not google.calls
