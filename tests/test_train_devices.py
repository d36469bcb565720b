"Two processes on the CPU: torchrun, accelerate launch, deepspeed; DDP, ZeRO-2 and ZeRO-3 learn the same."
import json, os, subprocess, sys
from pathlib import Path
import pytest
from sciencetutor.data.core import run_data
from sciencetutor.train.core import run_train

BIN = Path(sys.executable).parent
FLAGS = '--model tiny --precision fp32 --warmup 2 --freeze vision projector --batch-tokens 1024'.split()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('devices')/'data'
    run_data(source='samples', out=str(folder), n=60)
    return str(folder)


def launch(starter, data, out, *flags):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1', 'CUDA_VISIBLE_DEVICES': ''}
    cmd = [str(BIN/starter[0]), *starter[1:], 'train', '--data', data, '--out', str(out), *FLAGS, *flags]
    done = subprocess.run(cmd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads((Path(out)/'training.json').read_text())


TORCHRUN = ['torchrun', '--nproc-per-node', '2', '--master-port', '29551', '-m', 'sciencetutor.cli']
# With --cpu it starts several processes through MPI only, and without MPI one;
# --multi_gpu starts them as torchrun does, and the devices are ours to choose.
ACCELERATE = ['accelerate', 'launch', '--multi_gpu', '--num_processes', '2', '--num_machines', '1',
              '--mixed_precision', 'no', '--dynamo_backend', 'no',
              '--main_process_port', '29552', '-m', 'sciencetutor.cli']
DEEPSPEED = ['deepspeed', '--no_local_rank', '--num_gpus', '2', '--master_port', '29553',
             '--module', 'sciencetutor.cli']


def losses(report): return [l['loss'] for l in report['log']]


def test_two_processes_learn_what_one_with_accumulation_learns(data, tmp_path):
    two = launch(TORCHRUN, data, tmp_path/'two', '--steps', '3')
    one = run_train(data=data, model='tiny', out=str(tmp_path/'one'), steps=3, warmup=2, precision='fp32',
                    freeze=['vision', 'projector'], batch_tokens=1024, grad_accum=2)
    assert two['devices'] == 2 and two['questions'] == one['questions']
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize('stage', ['zero2', 'zero3', 'zero3-offload'])
def test_zero_learns_what_ddp_learns(data, tmp_path, stage):
    pytest.importorskip('deepspeed')
    ddp = launch(TORCHRUN, data, tmp_path/'ddp', '--steps', '20')
    zero = launch(TORCHRUN, data, tmp_path/stage, '--steps', '20', '--deepspeed', stage)
    largest = max(abs(a - b) for a, b in zip(losses(zero), losses(ddp)))
    print(f'{stage}: the largest difference of 20 losses is {largest}')
    assert len(losses(zero)) == 20 and losses(zero) == pytest.approx(losses(ddp), abs=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize('starter', [ACCELERATE, DEEPSPEED])
def test_every_launcher_starts_it(data, tmp_path, starter):
    zero = ['--deepspeed', 'zero2'] if starter is DEEPSPEED else []
    report = launch(starter, data, tmp_path/'ck', '--steps', '3', *zero)
    assert report['devices'] == 2 and report['steps'] == 3


def test_adapters_and_a_whole_projector_under_zero3(data, tmp_path):
    "What is trained has the number type of what it reads: half precision, as DeepSpeed wants it."
    pytest.importorskip('deepspeed')
    alone = [Path(sys.executable).name, '-m', 'sciencetutor.cli']
    switches = '--deepspeed zero3 --precision bf16 --lora-r 4 --gradient-checkpointing --freeze vision'.split()
    report = launch(alone, data, tmp_path/'ck', '--steps', '1', *switches)
    assert report['steps'] == 1 and losses(report)[0] > 0
