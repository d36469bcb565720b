"The package's structure: who may import whom, how many files lie at its root, and what must stay light."
import ast, json, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'sciencetutor'
# From below: a package imports from those before it, never from one after it or beside it.
LAYERS = [['files', 'resources'], ['samples'], ['data'], ['models'], ['engine'], ['train', 'eval'], ['app'], ['serve'],
          ['cloud', 'release'], ['cli'], ['quickstart']]
RANK = {name: i for i, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, Path]:
    "Dotted name below the package -> its file."
    files = [p for p in PACKAGE.rglob('*.py')
             if 'assets' not in p.parts and p.name not in ('__init__.py', '_modidx.py')]
    return {'.'.join(p.relative_to(PACKAGE).with_suffix('').parts): p for p in files}


def imports(name: str, path: Path) -> set[str]:
    "The modules of this package that a module imports, at its top or inside a function."
    found, known = set(), modules()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom): continue
        base = name.split('.')[:-node.level] if node.level else []
        if not node.level and (node.module or '').split('.')[0] != 'sciencetutor': continue
        target = base + (node.module.split('.') if node.module else [])
        if not node.level: target = target[1:]
        for alias in node.names:
            full = '.'.join([*target, alias.name])
            found.add(full if full in known else '.'.join(target))
    return found - {'', name}


def test_root_is_small():
    listed = subprocess.run(['git', 'ls-files', 'sciencetutor'], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = listed.stdout.split()
    at_root = [f for f in tracked if f.endswith('.py') and f.count('/') == 1]
    assert len(at_root) <= 16, at_root
    folders = {f.split('/')[1] for f in tracked if f.count('/') > 1}
    assert folders == {'app', 'assets', 'cloud', 'data', 'engine', 'eval', 'models', 'samples', 'serve', 'train'}


def test_imports_point_down():
    for name, path in modules().items():
        own = name.split('.')[0]
        for other in imports(name, path):
            top = other.split('.')[0]
            if top == own: continue
            assert RANK[top] < RANK[own], f'{name} imports {other}, which stands above it or beside it'


def test_no_circles():
    graph, done, path = {name: imports(name, file) for name, file in modules().items()}, set(), []

    def visit(name):
        assert name not in path, f"circle: {' -> '.join([*path[path.index(name):], name])}"
        if name in done or name not in graph: return
        path.append(name)
        for other in sorted(graph[name]): visit(other)
        done.add(path.pop())
    for name in sorted(graph): visit(name)


@pytest.mark.parametrize('module',
                         ['sciencetutor.data', 'sciencetutor.data.core', 'sciencetutor.files', 'sciencetutor.resources',
                          'sciencetutor.cli', 'sciencetutor.app.turns', 'sciencetutor.engine.lazy',
                          'sciencetutor.serve.core'])
def test_light_modules_stay_light(module):
    heavy = ('torch', 'gradio', 'transformers')
    code = f'import json, sys, {module}; print(json.dumps([m for m in {heavy} if m in sys.modules]))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_packages_offer_their_front():
    from sciencetutor.data import load_split, run_data
    from sciencetutor.eval import run_eval
    from sciencetutor.models import load_model
    from sciencetutor.train import run_train
    assert all(map(callable, [load_split, run_data, run_eval, load_model, run_train]))


def exported_cells() -> list[tuple[str, str]]:
    "(notebook and first definition, code) of every exported cell."
    found = []
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in path.parts: continue
        for cell in json.loads(path.read_text())['cells']:
            source = ''.join(cell['source'])
            if cell['cell_type'] != 'code' or not source.startswith('#| export'): continue
            code = '\n'.join(line for line in source.split('\n') if not line.startswith('#|')).strip()
            found.append((f'{path.stem}: {code.splitlines()[0] if code else ""}', code))
    return found


def test_cells_are_short():
    long = [name for name, code in exported_cells() if len(code.splitlines()) > 30]
    assert len(long) <= 3, long


def test_only_fronts_have_many_parameters():
    many = set()
    for _, code in exported_cells():
        for node in ast.walk(ast.parse(code)):
            if not isinstance(node, ast.FunctionDef): continue
            if len(node.args.args)+len(node.args.kwonlyargs) > 8: many.add(node.name)
    assert all(name.startswith('run_') for name in many), many
