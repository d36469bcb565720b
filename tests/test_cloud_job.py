"The job program on several devices."
import json, os, subprocess, sys
import pytest
from safetensors.torch import load_file
pytest.importorskip('papermill')
from sciencetutor.cloud.job import main
from sciencetutor.data.core import run_data

SMALL = dict(model='tiny', steps=2, lr=2e-3, precision='fp32', batch_tokens=1024)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    run_data('samples', str(folder := tmp_path_factory.mktemp('data')/'set'), n=24)
    return str(folder)


def job(data, out, **params) -> int:
    return main(['--data', data, '--out', str(out), '--split', '', '--params', json.dumps(SMALL | params)])


def test_two_processes_in_the_job_program_are_ddp(data, tmp_path, monkeypatch):
    "Beneath papermill beneath the job, torchrun gives the losses and weights that it gives alone; the record stays."
    monkeypatch.chdir(tmp_path)
    assert job(data, tmp_path/'job', processes=2) == 0
    flags = [word for k, v in SMALL.items() for word in (f'--{k.replace("_", "-")}', str(v))]
    start = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    ddp = [*start, '-m', 'sciencetutor.cli', 'train', '--data', data, '--out', 'ddp', *flags]
    subprocess.run(ddp, check=True, capture_output=True)
    inside, alone = (json.loads((tmp_path/p/'training.json').read_text()) for p in ('job/checkpoint', 'ddp'))
    assert inside['devices'] == alone['devices'] == 2 and inside['steps'] == alone['steps'] == 2
    losses = [[line['loss'] for line in report['log']] for report in (inside, alone)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6) and len(losses[0]) == 2
    one, two = (load_file(tmp_path/p/'model.safetensors') for p in ('job/checkpoint', 'ddp'))
    assert one.keys() == two.keys() and all((one[k] == two[k]).all() for k in one)
    record = (tmp_path/'job/train.ipynb').read_text()
    assert 'injected-parameters' in record and 'processes = 2' in record and 'training: 100%' in record


def test_a_gpu_each(monkeypatch):
    "As many processes as there are GPUs, and this one alone where it was started as one of several."
    import torch
    from sciencetutor.train import launch
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert launch.count_processes(0) == 4 and launch.count_processes(2) == 2
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert launch.count_processes(0) == 1
    heard = []
    monkeypatch.setattr(launch, 'run_train', lambda **kw: heard.append(kw) or {})
    launch.run_on_devices(0, steps=1)
    monkeypatch.setenv('LOCAL_RANK', '0')
    launch.run_on_devices(2, steps=2)
    assert heard == [dict(steps=1), dict(steps=2)]
