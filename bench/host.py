"What every benchmark says of the machine, and how it computes beside a server in the same process."
from __future__ import annotations
import os, platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def machine() -> str:
    "Processor, its vector arithmetic and its cores: what a timing belongs to."
    import torch
    info = Path('/proc/cpuinfo')
    names = [l.split(': ')[1] for l in info.read_text().splitlines() if l.startswith('model name')] if info.is_file() else []
    return f'{(names or [platform.machine()])[0]}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores'


def aside(f, *args):
    "f(*args) in a thread that ends with it, so that its OpenMP helpers do not slow down the server's: see nbs/41_engine."
    with ThreadPoolExecutor(1) as thread: return thread.submit(f, *args).result()
