"What a user meets when something goes wrong in the middle of a run."
import json, os, subprocess, sys
import pytest
from sciencetutor.data.core import run_data


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults')/'data'
    run_data(source='samples', out=str(folder), n=40)
    return str(folder)


FULL = """
import resource, sys, torch
torch.set_num_threads(1)
from fastcore.script import CliError
from sciencetutor.train.core import run_train
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))  # a file may not grow beyond
kw = dict(model='tiny', steps=4, warmup=1, precision='fp32', save_minutes=0)
try: print('steps', run_train(data=sys.argv[1], out=sys.argv[2], **kw)['steps'])
except CliError as e: print('CliError', e)
"""

def full(data, out, size):
    done = subprocess.run([sys.executable, '-c', FULL, data, str(out), str(size)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_full_disk_costs_checkpoints_not_the_run(data, tmp_path):
    said = full(data, tmp_path/'ck', 6_000_000)  # the optimizer's state is larger, the final weights are not
    assert 'no checkpoint at step 1' in said and 'steps 4' in said and (tmp_path/'ck/model.safetensors').exists()


def test_a_full_disk_at_the_end_says_so(data, tmp_path):
    said = full(data, tmp_path/'ck', 1_000_000)
    assert 'CliError' in said and 'could not be written' in said and 'make room' in said
    assert not (tmp_path/'ck').exists()


def test_lost_wandb_connection_does_not_end_the_run(data, tmp_path, monkeypatch, capsys):
    "A server that refuses: logging goes to the disk; a log call that fails: training goes on without."
    pytest.importorskip('wandb')
    from sciencetutor.train.tracking import Wandb
    from sciencetutor.train.core import run_train
    monkeypatch.setenv('WANDB_MODE', 'offline')
    calls = []
    def log(self, *a, **k): calls.append(a); raise ConnectionError('the connection was lost')
    monkeypatch.setattr('wandb.sdk.wandb_run.Run.log', log)
    report = run_train(data=data, model='tiny', out=str(tmp_path/'ck'), steps=3, warmup=1, precision='fp32', wandb=True)
    assert report['steps'] == 3 and len(calls) == 1
    assert 'W&B: the connection was lost; training goes on' in capsys.readouterr().out
