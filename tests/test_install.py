"What an installation fetches, and what it can do then."
import importlib.util, os, re, shutil, subprocess, sys, threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location('torch_index', root/'tools/torch_index.py')
torch_index = importlib.util.module_from_spec(spec)
spec.loader.exec_module(torch_index)


@pytest.fixture
def index(tmp_path):
    "An index on loopback that knows torch."
    (tmp_path/'whl/torch').mkdir(parents=True)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *a: None
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_address[1]}/whl'
    server.shutdown()
    server.server_close()


def test_torch_without_cuda_where_there_is_no_card(index, monkeypatch):
    monkeypatch.setattr(torch_index, 'CPU', index)
    choose = partial(torch_index.choose, platform='linux')
    assert choose('', False)[0] == index and '0.2 GB' in choose('', False)[1]
    assert choose('', True) == ('', choose('', True)[1]) and '3 GB' in choose('', True)[1]
    assert choose('pypi', False)[0] == '' and choose('https://x/cu126', False)[0] == 'https://x/cu126'
    assert torch_index.choose('', False, 'darwin')[0] == ''
    monkeypatch.setattr(torch_index, 'CPU', f'{index}/nothing')
    assert choose('', False)[0] == '' and 'cannot be reached' in choose('', False)[1]
    monkeypatch.setattr(torch_index, 'CPU', 'http://127.0.0.1:9/whl')
    assert choose('', False)[0] == ''


def test_a_card_is_a_device(tmp_path):
    assert not torch_index.has_gpu([str(tmp_path/'nvidia[0-9]*')])
    (tmp_path/'nvidia0').touch()
    assert torch_index.has_gpu([str(tmp_path/'nvidia[0-9]*')])


PIP = '#!/bin/sh\necho "$@" >> "$CALLS"\ncase "$*" in *"$FAILS"*) exit 1;; esac\n'


@pytest.mark.parametrize('fails,tries', [('nothing', 1), ('whl', 2)])
def test_make_takes_torch_from_the_index(tmp_path, index, fails, tries):
    "With pip replaced by a recorder; an index that has not got this torch is no end: PyPI has it."
    (tmp_path/'tools').mkdir()
    for name in ('Makefile', 'constraints.txt', 'settings.ini', 'setup.py', 'tools/torch_index.py'):
        shutil.copy(root/name, tmp_path/name)
    (tmp_path/'.venv/bin').mkdir(parents=True)
    (tmp_path/'.venv/bin/pip').write_text(PIP)
    (tmp_path/'.venv/bin/pip').chmod(0o755)
    python = tmp_path/'python'
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\n')  # `python -m venv` is done above
    python.chmod(0o755)
    env = {**os.environ, 'CALLS': str(tmp_path/'calls'), 'FAILS': fails}
    done = subprocess.run(['make', '.venv/user', f'python={python}', f'TORCH_INDEX={index}'], cwd=tmp_path, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    torch = re.search(r'^torch==.*$', (root/'constraints.txt').read_text(), re.M)[0]
    calls = [line.split('--disable-pip-version-check ')[1] for line in (tmp_path/'calls').read_text().splitlines()]
    assert calls[:tries] == [f'--index-url {index} {torch}', torch][:tries]
    assert calls[tries:] == ['-c constraints.txt -e .[train,serve,quant]'] and f'torch from {index}' in done.stderr


def closure(extra: str) -> set[str]:
    "The distributions that `pip install sciencetutor[extra]` brings, as far as they are installed here."
    from configparser import ConfigParser
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root/'settings.ini', encoding='utf-8')
    todo = [Requirement(r) for k in ('requirements', f'{extra}_requirements') for r in cfg['DEFAULT'][k].split()]
    found = set()
    while todo:
        r = todo.pop()
        key = canonicalize_name(r.name), *sorted(r.extras)
        if key in found: continue
        try: more = [Requirement(m) for m in requires(r.name) or []]
        except PackageNotFoundError: continue
        found.add(key)
        todo += [m for m in more if not m.marker or any(m.marker.evaluate(dict(extra=e)) for e in ('', *r.extras))]
    return {key[0] for key in found}


def test_serve_has_all_that_quickstart_needs(tmp_path):
    "Where only those packages are that `sciencetutor[serve]` brings."
    from packaging.utils import canonicalize_name
    (site := tmp_path/'site-packages').mkdir()  # dill goes by that name
    brought = closure('serve')
    for d in distributions():
        if canonicalize_name(d.name) not in brought: continue
        for top in {f.parts[0] for f in d.files or () if f.parts[0] not in ('..', '__pycache__')}:
            if not (site/top).exists(): (site/top).symlink_to(d.locate_file(top))
    assert (site/'gradio').exists() and not (site/'peft').exists()
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(root), str(site)])}
    args = ['quickstart', '--model', 'tiny', '--n', '20', '--minutes', '0.02', '--no-serve', '--out', str(tmp_path/'q')]
    program = [sys.executable, '-S', '-m', 'sciencetutor.cli', *args]  # -S: without this environment's own packages
    done = subprocess.run(program, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
