"""Say where pip should take torch from: `pip install $(python tools/torch_index.py) torch==...`.

PyPI's torch pulls gigabytes of CUDA along on Linux, with a GPU or without. Where there is none, PyTorch's own index
for CPUs is taken, if it can be reached. TORCH_INDEX names another index, or `pypi`. Sizes are said on standard error.
"""
import glob, os, sys
from urllib.error import URLError
from urllib.request import Request, urlopen

CPU = 'https://download.pytorch.org/whl/cpu'
DEVICES = '/dev/nvidia[0-9]*', '/proc/driver/nvidia/gpus/*', '/dev/dxg'  # the last is a GPU of Windows, seen from WSL


def has_gpu(devices=DEVICES) -> bool:
    "Whether an NVIDIA card is here, with a driver or without one that torch could use."
    return any(glob.glob(pattern) for pattern in devices)


def answers(index: str, seconds: float = 5) -> bool:
    "Whether an index can be reached and knows torch."
    request = Request(f'{index}/torch/', method='HEAD')
    try: return urlopen(request, timeout=seconds).status == 200  # nosec B310
    except (URLError, OSError, ValueError): return False


def choose(wish: str, gpu: bool, platform: str = sys.platform) -> tuple[str, str]:
    "The index, '' for PyPI, and what is to be said of it."
    if wish == 'pypi': return '', 'torch from PyPI'
    if wish: return wish, f'torch from {wish}'
    if platform != 'linux': return '', 'torch from PyPI, about 0.2 GB'
    large = 'torch with CUDA from PyPI, about 3 GB to download and 7 GB on disk'
    if gpu: return '', f'{large}, for the NVIDIA card that is here'
    if answers(CPU): return CPU, f'torch from {CPU}, about 0.2 GB: no NVIDIA card is here (TORCH_INDEX=pypi for CUDA)'
    return '', f'{large}: {CPU}, which has it without CUDA, cannot be reached'


if __name__ == '__main__':
    index, said = choose(os.environ.get('TORCH_INDEX', ''), has_gpu())
    print(f'{said}; everything else is about 0.6 GB more', file=sys.stderr, flush=True)
    if index: print('--index-url', index)
