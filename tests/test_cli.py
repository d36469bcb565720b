"The dispatcher from outside, as a shell sees it."
import ast, os, subprocess, sys
from pathlib import Path

import pytest

import sciencetutor
from sciencetutor.cli import commands, main

package = Path(sciencetutor.__file__).parent
heavy = {'torch', 'transformers', 'datasets', 'gradio', 'fastapi', 'matplotlib', 'fastcore'}


def run(*argv, code='from sciencetutor.cli import main; sys.exit(main())'):
    return subprocess.run([sys.executable, '-c', f'import sys; {code}', *argv], capture_output=True, text=True,
                          timeout=120)


def imported(code):
    "Heavy modules in memory after `code` ran in a fresh interpreter."
    out = run(code=f'{code}; print(*sys.modules, file=sys.stderr)').stderr.split()
    return heavy & set(out)


def test_help_is_light():
    assert imported("sys.argv[1:] = ['--help']; from sciencetutor.cli import main; main()") == set()


def test_data_imports_neither_torch_nor_gradio():
    assert not imported('import sciencetutor.data.core') & {'torch', 'gradio'}


@pytest.mark.parametrize('argv, says', [
    (['ask', 'why is the sky blue'], 'scatters blue light'),
    (['ask', 'what is H₂O', '--model', 'tiny'], "I don't know"),
    (['check', '{}'], '1 questions, all good')])
def test_what_needs_no_model_loads_none(argv, says, tmp_path):
    "A card is read out, and questions are checked, without torch, transformers or gradio."
    (tmp_path/'q.csv').write_text('question,choices,answer\nWhich?,a | b,A\n')
    argv = [a.format(tmp_path/'q.csv') for a in argv]
    r = run(*argv, code='from sciencetutor.cli import main; main(); print(*sys.modules, file=sys.stderr)')
    assert says in r.stdout and r.returncode == 0
    assert not {'torch', 'transformers', 'gradio', 'datasets', 'fastapi'} & set(r.stderr.split())


def test_help_shows_every_command():
    r = run('--help')
    assert r.returncode == 0 and all(f'  {name} ' in r.stdout for name in commands)
    assert run().stdout == r.stdout


@pytest.mark.parametrize('argv', [[], ['check', '--help'], ['check', '{}']])
def test_nobody_reads(argv, tmp_path):
    "As in `sciencetutor --help | head -0`."
    file = tmp_path/'questions.csv'
    file.write_text('question,choices,answer\n' + 'Which?,a | b,C\n'*1000)  # more than a buffer of complaints
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, 'PYTHONUNBUFFERED': ''}  # kept back until the end, as in a shell
    r = subprocess.run([sys.executable, '-m', 'sciencetutor.cli', *(a.format(file) for a in argv)], stdout=writer,
                       stderr=subprocess.PIPE, text=True, timeout=120, env=env)
    os.close(writer)
    assert (r.returncode, r.stderr) == (1, '')


def test_another_pipe_that_breaks_is_no_reader_gone():
    code = ['from sciencetutor import cli', 'def broken(argv): raise BrokenPipeError("a worker died")',
            'cli.find_command = broken', 'cli.main([])']
    r = run(code='\n'.join(code))
    assert r.returncode == 1 and r.stderr.endswith('BrokenPipeError: a worker died\n')


@pytest.mark.parametrize('encoding, name', [
    ('ascii', "H2O cafe's ?.csv"), ('cp437', "H2O café's ?.csv"), ('cp1252', 'H2O café’s ?.csv'),
    ('utf-8', 'H₂O café’s 水.csv')])
def test_any_console_takes_any_text(encoding, name, tmp_path):
    "Aider-AI/aider 4279 and seddonym/import-linter 309: a letter that the console lacks ended the program."
    (tmp_path/'H₂O café’s 水.csv').write_text('question,choices,answer\nWhich?,a | b,A\n')
    env = dict(os.environ, PYTHONIOENCODING=encoding)
    for file, code in (('H₂O café’s 水.csv', 0), ('no H₂O café’s 水.csv', 2)):
        command = [sys.executable, '-m', 'sciencetutor.cli', 'check', file]
        r = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True)
        assert r.returncode == code and name in (r.stdout + r.stderr).decode(encoding)


def test_version_agrees():
    import tomllib
    from configparser import ConfigParser
    cfg = ConfigParser(delimiters=['='])
    cfg.read(package.parent / 'settings.ini')
    cfg = cfg['DEFAULT']
    assert run('--version').stdout.split() == ['sciencetutor', cfg['version']]
    assert cfg['version'] == sciencetutor.__version__
    project = tomllib.loads((package.parent / 'pyproject.toml').read_text())['project']
    assert project['urls'] == {'Repository': cfg['git_url'], 'Documentation': cfg['doc_url']}
    assert project['description'] == cfg['description'] and project['requires-python'] == f">={cfg['min_python']}"


@pytest.mark.parametrize('name', commands)
def test_target_exists(name):
    module, func = commands[name].target.split(':')
    path = package/module.replace('.', '/')
    files = [path/'core.py', path.with_suffix('.py')]  # `data:run_data` is what the package `data` shows of its core
    tree = ast.parse(next(f for f in files if f.is_file()).read_text())
    assert func in {o.name for o in tree.body if isinstance(o, ast.FunctionDef)}


@pytest.mark.parametrize('argv, says', [
    (['trian'], 'did you mean `train`?'),
    (['data', '--no-such-flag'], '--no-such-flag'),
    (['train', '--minutes', 'soon'], "'soon'"),
    (['data', '--source', 'no/such/folder'], 'no/such/folder'),
])
def test_bad_input_is_one_line_and_exit_2(argv, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try: code = main(argv)
    except SystemExit as e: code = e.code
    err = capsys.readouterr().err
    assert code == 2 and says in err and err.count('\n') == 1
    assert not [o for o in tmp_path.rglob("*") if o.is_file()]
