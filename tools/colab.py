"""What the first cell of a notebook runs on Colab, from the root of the clone that it made: `python tools/colab.py`.

It looks at Python and torch first, keeps the torch that Colab brings for its GPU, and installs this clone.
"""
import subprocess, sys, tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = 'train,serve,quant,cloud'
PYTHON, TORCH = (3, 11), (2, 7)


def installed(name: str) -> str:
    "The version of a package, '' without it."
    try: return version(name)
    except PackageNotFoundError: return ''


def numbers(text: str) -> tuple[int, ...]:
    "`2.8.0+cu126` is (2, 8)."
    return tuple(int(n) for n in text.partition('+')[0].split('.')[:2])


def check(python: tuple[int, ...], torch: str) -> tuple[str, str]:
    "What ends it, '' for nothing; and what pip has to keep."
    if python[:2] < PYTHON:
        wanted, here = '.'.join(map(str, PYTHON)), '.'.join(map(str, python[:2]))
        return f'ScienceTutor needs Python {wanted}, and this is {here}: Runtime > Change runtime type > latest', ''
    if not torch or numbers(torch) < TORCH: return '', ''
    return '', f'torch=={torch}'


def release() -> str:
    "The tag of the clone, or a note that it is none."
    git = ['git', '-C', str(ROOT), 'describe', '--tags', '--exact-match']
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or 'the newest state, for the release of this notebook is not there'


def main() -> int:
    problem, keep = check(sys.version_info[:2], torch := installed('torch'))
    if problem:
        print(problem)
        return 1
    with tempfile.TemporaryDirectory() as tmp:
        (file := Path(tmp) / 'keep.txt').write_text(keep)
        pip = [sys.executable, '-m', 'pip', 'install', '-q', '-c', str(file), f'{ROOT}[{EXTRAS}]']
        if subprocess.run(pip).returncode: return 1
    print(f'ScienceTutor: {release()}; torch {torch if keep else "new: Runtime > Restart session, then run again"}')
    return 0


if __name__ == '__main__': sys.exit(main())
