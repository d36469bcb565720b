"Every notebook is a test: pytest collects nbs/*.ipynb beside the ordinary tests."
import os, subprocess, sys
from pathlib import Path

import pytest


class Notebook(pytest.File):
    def collect(self): yield NotebookTest.from_parent(self, name='runs')


class NotebookTest(pytest.Item):
    "Run a notebook from top to bottom in a process of its own, as `nbdev-test` does."

    def runtest(self):
        command = [Path(sys.executable).with_name('nbdev-test'), self.path]
        done = subprocess.run(command, cwd=self.config.rootpath, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode: raise NotebookFailed(done.stdout)

    def repr_failure(self, excinfo):
        "What nbdev printed: the failing cell and its traceback."
        return str(excinfo.value) if excinfo.errisinstance(NotebookFailed) else super().repr_failure(excinfo)

    def reportinfo(self): return self.path, None, self.path.name


class NotebookFailed(Exception): pass


def pytest_collect_file(file_path, parent):
    if file_path.suffix == '.ipynb' and '.ipynb_checkpoints' not in file_path.parts:
        return Notebook.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config, items):
    "Leave the long tests to `make soak` and `make scan`."
    if config.option.markexpr: return
    long = [o for o in items if o.get_closest_marker('soak') or o.get_closest_marker('scan')]
    config.hook.pytest_deselected(items=long)
    items[:] = [o for o in items if o not in long]


@pytest.fixture(scope='session')
def scienceqa():
    "The folder of real ScienceQA questions; the test is skipped where there is none."
    if not (path := os.environ.get('SCIENCEQA_DIR')): pytest.skip('SCIENCEQA_DIR is not set: no real questions here')
    return path
