"What every benchmark says of the machine."
from __future__ import annotations
import os, platform
from pathlib import Path


def machine() -> str:
    "Processor, its vector arithmetic, cores and PyTorch's threads: what a timing belongs to."
    import torch
    info = Path('/proc/cpuinfo')
    names = [l.split(': ')[1] for l in info.read_text().splitlines() if l.startswith('model name')] if info.is_file() else []
    return f'{(names or [platform.machine()])[0]}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads'
