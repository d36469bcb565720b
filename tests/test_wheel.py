"The wheel alone, installed by pip into an environment of its own, far from the repository."
import json, os, subprocess, sys, zipfile
import pytest
pytest.importorskip('google.cloud.aiplatform_v1')
from sciencetutor.cloud.vertex import build_wheel
from sciencetutor.data.core import run_data

VARIABLES = dict(GCP_PROJECT='p', GCS_BUCKET_NAME='b', TRAIN_IMAGE_URI='ghcr.io/p/train:1', PYTHONPATH='')


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "(wheel, what runs the installed command); the packages that it needs come from this environment."
    folder = tmp_path_factory.mktemp('wheel')
    wheel, venv = build_wheel(folder), folder/'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', venv], check=True)
    pip = [sys.executable, '-m', 'pip', '--python', venv/'bin/python', 'install', '--quiet', '--no-deps', wheel]
    subprocess.run(pip, check=True, env=dict(os.environ, PYTHONPATH=''))  # where it may be installed already
    (site,) = venv.glob('lib/python*/site-packages')
    here = [p for p in sys.path if p.endswith('site-packages')]
    (site/'needs.pth').write_text('\n'.join(here))
    (elsewhere := folder/'elsewhere').mkdir()

    def run(*args) -> str:
        env = {**os.environ, **VARIABLES}
        done = subprocess.run([venv/'bin/sciencetutor', *args], cwd=elsewhere, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
    run.python, run.folder = venv/'bin/python', elsewhere
    return wheel, run


def test_it_carries_notebooks_recipes_and_pipelines(installed):
    names = {n.removeprefix('sciencetutor/assets/') for n in zipfile.ZipFile(installed[0]).namelist()}
    wanted = 'nbs/20_train.ipynb', 'configs/cpu.yaml', 'pipelines/all.yaml', 'constraints.txt'
    assert set(wanted) <= names and not [n for n in names if n.startswith('nbs/') and n.count('/') > 1]


def test_cloud_train(installed):
    "The package that goes up is the one that was installed, packed again."
    wheel, run = installed
    out = run('cloud', 'train', '--config', 'vertex-l4', '--params', 'model=tiny', 'steps=20', '--dry-run')
    assert 'checked: tiny, steps 20' in out and 'would upload sciencetutor-' in out and '"containerSpec"' in out
    code = ('from pathlib import Path; from sciencetutor.cloud.vertex import build_wheel, build_trainer\n'
            'print(build_trainer(build_wheel(Path(".")), Path(".")))')
    subprocess.run([run.python, '-c', code], cwd=run.folder, env={**os.environ, 'PYTHONPATH': ''}, check=True)
    def files(path): return {i.filename: i.CRC for i in zipfile.ZipFile(path).infolist() if 'RECORD' not in i.filename}
    assert files(run.folder/wheel.name) == files(wheel)


def test_pipeline_and_train_by_a_recipe(installed):
    wheel, run = installed
    out = run('cloud', 'pipeline', '--all', '--params', 'model=tiny', 'steps=2', '--dry-run')
    assert '"sciencetutor-all"' in out and 'ghcr.io/p/train:1' in out
    run_data('samples', str(run.folder/'set'), n=12)
    run('train', '--config', 'cpu', '--model', 'tiny', '--steps', '1', '--data', 'set', '--out', 'checkpoint')
    settings = json.loads((run.folder/'checkpoint/training.json').read_text())['settings']
    assert settings['freeze_layers'] == .5 and settings['steps'] == 1 and settings['epochs'] is None
