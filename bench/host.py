"What every benchmark says of the machine."
from __future__ import annotations
import os, platform
from pathlib import Path


def machine() -> str:
    "Processor, its vector arithmetic, cores and PyTorch's threads: what a timing belongs to."
    import torch
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [l.split(': ')[1] for l in lines if l.startswith('model name')] or [platform.machine()]
    simd = torch.backends.cpu.get_cpu_capability()
    return f'{names[0]}, {simd}, {os.cpu_count()} cores, {torch.get_num_threads()} threads'
