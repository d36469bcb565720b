"""What a number format of the weights costs and saves on a CPU: seconds, memory, right answers.

    python bench/int8_bench.py                            `tutor`, val of SCIENCEQA_DIR (else of the samples), into bench/results/int8.json
    python bench/int8_bench.py --limit 200 --model tiny   quicker

Each format is served by a `sciencetutor serve` of its own and asked as serve_bench.py asks; then it is measured on val as `sciencetutor eval` does. What is 4 bits here is the
library bitsandbytes (`--load-in-4bit`), for its speed only.
"""
from __future__ import annotations
import argparse, json, os, platform, tempfile
from pathlib import Path
from serve_bench import long_question, product


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--model', default='tutor')
    p.add_argument('--tokens', type=int, default=128, help='new tokens of each answer')
    p.add_argument('--limit', type=int, default=0, help='only the first so many questions of val, 0 for all')
    p.add_argument('--formats', nargs='+', default=['float32', 'bfloat16', 'int8', '4bit'])
    p.add_argument('--out', default=str(Path(__file__).parent/'results'), help='folder for int8.json')
    a = p.parse_args()
    import torch
    from sciencetutor.data import run_data
    from sciencetutor.eval import run_eval
    from sciencetutor.model import load_model
    real, text = os.environ.get('SCIENCEQA_DIR'), long_question(load_model(a.model)[1])
    formats = {k: product(a.model, text, a.tokens, k) for k in a.formats}
    with tempfile.TemporaryDirectory() as tmp:
        run_data(real or 'samples', f'{tmp}/d', **(dict(splits=f'{real}/local_splits.json', only=['val']) if real else dict(n=1000)))
        for k in formats:
            if k == '4bit': continue
            m = run_eval(f'{tmp}/d', a.model, 'val', f'{tmp}/{k}', dtype=k, limit=a.limit)
            formats[k] |= dict(accuracy=m['acc'], correct=m['correct'])
    result = dict(machine=f'{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads', torch=torch.__version__, model=a.model, tokens=a.tokens, data='real' if real else 'samples',
                  n=m['count'], chance=m['chance'], prompt_tokens=next(iter(formats.values()))['prompt_tokens'], formats=formats)
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'int8.json').write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__': main()
