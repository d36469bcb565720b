"""How fast the protocols are against asking one question at a time, and whether memory grows with the questions.

    python bench/eval_bench.py                    everything, into bench/results/eval.json
    python bench/eval_bench.py --runs 1 --loop 2   quicker

Each measurement is a process of its own, timed without imports and loading, in float32 unless told otherwise.
`choices`, `letter` and `generate` are the eval stage as it is. The loops are the usual way, written below: one
question after the other, `generate` greedily for up to 1,024 tokens (the base model, which is chatty), or for two
tokens (what a model that was tuned to answer with a letter costs). The long loop asks fewer questions, every k-th,
since it takes minutes. Questions are val of SCIENCEQA_DIR, half with a picture; without it samples. Beside seconds on
the clock stand CPU seconds, which other programs on the machine disturb less; they are fair with one thread
(OMP_NUM_THREADS=1), since threads that wait for one another count as busy.
"""
from __future__ import annotations
import argparse, json, os, platform, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path
from host import machine

ROOT = Path(__file__).resolve().parent.parent


def peak() -> float:
    "Peak resident memory of this process so far, MB."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spent(since: tuple = (0., 0.)) -> tuple:
    "Seconds on the clock and of the CPUs since then."
    return time.perf_counter() - since[0], time.process_time() - since[1]


def prepare(folder: Path, n: int) -> str:
    "A dataset folder whose split `val` has n questions, half with a picture."
    from sciencetutor.data.core import run_data
    real, out = os.environ.get('SCIENCEQA_DIR'), folder/'data'
    if not real:
        run_data('samples', str(out), n=5*n)
        return 'samples'
    problems, splits = (json.loads(Path(real, f'{name}.json').read_text()) for name in ('problems', 'local_splits'))
    kinds = [[p for p in splits['val'] if bool(problems[p]['image']) == k] for k in (False, True)]
    even = lambda pids: pids[::max(1, len(pids)//(n//2))][:n//2]
    (folder/'splits.json').write_text(json.dumps(dict(val=sorted(even(kinds[0]) + even(kinds[1]), key=int))))
    run_data(real, str(out), splits=str(folder/'splits.json'))
    return 'real'


def loop(data: str, model: str, n: int, tokens: int, exactly: bool, dtype: str) -> dict:
    "One question at a time, the answer written token by token."
    import torch
    from sciencetutor.eval.core import load_eval_model
    from sciencetutor.data.core import load_split
    from sciencetutor.eval.prompts import prompt_text, render
    m, processor = load_eval_model(model, dtype)
    ds = load_split(data, 'val')
    rows = ds.select(range(0, len(ds), max(1, len(ds)//n))[:n])
    start, written = spent(), 0
    with torch.inference_mode():
        for r in rows:
            image = r['image']
            text = render(processor, prompt_text(r, single_pred_prompt=exactly), image is not None)
            images = [image] if image is not None else None
            inputs = processor(text=text, images=images, return_tensors='pt').to(m.device)
            ids = m.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens if exactly else 0, do_sample=False)
            written += ids.shape[1] - inputs['input_ids'].shape[1]
    seconds, cpu = spent(start)
    return dict(count=len(rows), seconds=seconds, cpu_s=cpu, tokens_each=written/len(rows))


def stage(data: str, model: str, n: int, protocol: str, dtype: str) -> dict:
    "The eval stage's own loop, without judging and report."
    from sciencetutor.eval.core import batch_sizes, load_rows, make_answer
    from sciencetutor.eval.predictions import answer_all
    ds, rows = load_rows(data, 'val', n)
    tokens, window = batch_sizes(protocol)
    wording = dict(prompt='dataset', single_pred_prompt=True)
    answer = make_answer(ds, dict(model=model, dtype=dtype, protocol=protocol, reduce='mean', batch_tokens=tokens,
                                  conv_mode='chat', max_new_tokens=16, wording=wording))
    answer([0])  # loads the model
    with tempfile.TemporaryDirectory() as out:
        start = spent()
        answer_all(rows, answer, Path(out), window)
        seconds, cpu = spent(start)
        return dict(count=len(rows), seconds=seconds, cpu_s=cpu)


def measure(what: str, data: str, model: str, n: int, dtype: str) -> dict:
    "One measurement in this process."
    if what == 'loop_1024': r = loop(data, model, n, 1024, False, dtype)
    elif what == 'loop_2': r = loop(data, model, n, 2, True, dtype)
    else: r = stage(data, model, n, what, dtype)
    return dict(r, items_per_s=r['count']/r['seconds'], items_per_cpu_s=r['count']/r['cpu_s'], peak_mb=peak())


def child(*args) -> dict:
    "This script once more, in a fresh process."
    env = dict(os.environ, TQDM_DISABLE='1', PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, __file__, '--one', *map(str, args)], env=env, capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--one', nargs=5, metavar=('WHAT', 'DATA', 'MODEL', 'N', 'DTYPE'), help='one measurement, as JSON')
    p.add_argument('--n', type=int, default=300, help='questions')
    p.add_argument('--loop', type=int, default=4, help='questions of the long loop')
    p.add_argument('--runs', type=int, default=3, help='runs to take the median of; the long loop runs once')
    p.add_argument('--model', default='tutor-base')
    p.add_argument('--dtype', default='float32', help='numbers that everything calculates with')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for eval.json')
    a = p.parse_args()
    if a.one: return print(json.dumps(measure(*a.one[:3], int(a.one[3]), a.one[4])))
    import torch, transformers
    result = dict(machine=machine(), python=platform.python_version(), torch=torch.__version__,
                  transformers=transformers.__version__, model=a.model, dtype=a.dtype, runs=a.runs)
    with tempfile.TemporaryDirectory() as tmp:
        result['data'], data = prepare(Path(tmp), a.n), Path(tmp)/'data'
        ask = lambda what, n: child(what, data, a.model, n, a.dtype)
        rounds = [{w: ask(w, a.n) for w in ('choices', 'letter', 'loop_2')} for _ in range(a.runs)]
        long = ask('loop_1024', a.loop)
        whole = statistics.median(r['choices']['peak_mb'] for r in rounds)
        result['memory'] = {a.n//4: ask('choices', a.n//4)['peak_mb'], a.n: whole}
    for w in rounds[0]: result[w] = {k: statistics.median(r[w][k] for r in rounds) for k in rounds[0][w]}
    result['loop_1024'] = long
    for w in ('choices', 'letter'):
        result[w]['over_loop_2'] = statistics.median(r[w]['items_per_s']/r['loop_2']['items_per_s'] for r in rounds)
        result[w]['over_loop_1024'] = result[w]['items_per_s']/long['items_per_s']
        for other in ('loop_2', 'loop_1024'):
            result[w][f'over_{other}_cpu'] = result[w]['items_per_cpu_s']/result[other]['items_per_cpu_s']
    for w in ('choices', 'letter', 'loop_2', 'loop_1024'):
        print(f"{w:10}{result[w]['items_per_s']:8.2f} questions/s, peak {result[w]['peak_mb']:,.0f} MB")
    for w in ('choices', 'letter'):
        r = result[w]
        print(f"{w}: {r['over_loop_1024']:.1f} times the untuned loop ({long['tokens_each']:.0f} tokens an answer), "
              f"{r['over_loop_2']:.2f} times the two-token loop; "
              f"by CPU seconds {r['over_loop_1024_cpu']:.1f} and {r['over_loop_2_cpu']:.2f} times")
    print('peak memory by questions: ' + ', '.join(f'{n}: {mb:,.0f} MB' for n, mb in result['memory'].items()))
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'eval.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
