"""How fast the data stage is, and how much memory it takes.

    python bench/data_bench.py            every measurement, medians of several runs, into bench/results/data.json
    python bench/data_bench.py --runs 1   quicker
    python bench/data_bench.py --only scaling --most 100000
                                          only cost and memory by number of rows; the other figures in the file stay

Each measurement is a process of its own, timed without its imports. `ours` is `run_data`; `baseline` is the usual way,
written below: a dict per row with the picture's bytes, a pandas frame, `Dataset.from_pandas`, a cast to `Image`,
`save_to_disk`. Both write the same features, the same strings and the same picture bytes. Real questions come from
SCIENCEQA_DIR; without it the same comparison runs on samples.
"""
from __future__ import annotations
import argparse, json, os, platform, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path
from host import machine

ROOT = Path(__file__).resolve().parent.parent


def baseline(folder: Path, splits: Path, out: Path) -> int:
    "The usual converter: everything in Python dicts, then pandas, then Arrow."
    import datasets, pandas
    from sciencetutor.data.arrow import features
    problems = json.loads((folder/'problems.json').read_text())
    meta, dd = ('subject', 'topic', 'category', 'skill', 'grade', 'task'), {}
    for split, pids in json.loads(splits.read_text()).items():
        rows = []
        for pid in pids:
            if pid not in problems: continue
            p, image = problems[pid], None
            if p['image']:
                file = folder/'images'/p['split']/pid/p['image']
                if file.is_file(): image = dict(bytes=file.read_bytes(), path=file.name)
            context = p['hint'].strip() or 'N/A'
            choice = ' '.join(f'({letter}) {c}' for letter, c in zip('ABCDE', p['choices']))
            human = f'Context: {context}\nQuestion: {p["question"]}\nOptions: {choice}\n'.replace('  ', ' ').strip()
            if image: human += '\n<image>'
            answer = 'ABCDE'[p['answer']]
            rows.append(dict(id=f'{"validation" if split == "val" else split}-{len(rows)}', image=image,
                             question=p['question'], context=context, choice=choice,
                             conversations=[{'from': 'human', 'value': human},
                                            {'from': 'gpt', 'value': f'The answer is {answer}.'}],
                             answer=answer, lecture=p['lecture'], solution=p['solution'], pid=pid, choices=p['choices'],
                             answer_index=p['answer'], hint=p['hint'],
                             extra=json.dumps(dict(image=p['image'], split=p['split'])), **{k: p[k] for k in meta}))
        ds = datasets.Dataset.from_pandas(pandas.DataFrame(rows)[list(features())])
        dd[split] = ds.cast(datasets.Features.from_dict(features()))  # `image` to Image, the answer to int8
    datasets.DatasetDict(dd).save_to_disk(str(out))
    return sum(map(len, dd.values()))


def ours(folder: Path, splits: Path | None, out: Path, **kw) -> int:
    "The data stage."
    from sciencetutor.data.core import run_data
    return sum(c['rows'] for c in run_data(str(folder), str(out), splits and str(splits), **kw)['splits'].values())


def peak() -> float:
    "Peak resident memory of this process so far, MB."
    line = next(l for l in open('/proc/self/status') if l.startswith('VmHWM'))  # ru_maxrss counts the parent's
    return int(line.split()[1]) / 1024


def measure(what: str, folder: Path, splits: Path | None) -> dict:
    "Run one converter here; seconds, rows and memory (peak, and how much of it came after the imports)."
    if what == 'baseline':
        import datasets  # noqa: ours needs neither
        datasets.disable_progress_bars()
    out = Path(tempfile.mkdtemp(prefix='data-bench'))
    try:
        before, start, cpu = peak(), time.perf_counter(), time.process_time()
        n = dict(baseline=baseline, ours=ours)[what](folder, splits, out/'d')
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return dict(rows=n, seconds=seconds, cpu_seconds=cpu, rows_per_s=n / seconds, peak_mb=peak(),
                    grown_mb=peak() - before)
    finally: shutil.rmtree(out)


def child(*args: str) -> dict:
    "This script once more, in a fresh process."
    env = dict(os.environ, TQDM_DISABLE='1', PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, __file__, *map(str, args)], env=env, capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def medians(runs: list[dict]) -> dict:
    "The median of each figure."
    return {k: statistics.median(r[k] for r in runs) for k in runs[0]}


def official_folder(folder: Path, n: int, pictures: bool) -> Path:
    "An official folder of `n` questions (no split file: each names its own), written without holding them."
    from sciencetutor.samples.core import make_problems
    some = list(make_problems(400, 'train', 0).values())
    some = [p for p in some if (p['image'] is not None) == pictures][:100] or some
    folder.mkdir(parents=True)
    with open(folder/'problems.json', 'w') as f:
        for i in range(n):
            p = dict(some[i % len(some)])
            if pictures:
                where = folder/'images'/'train'/str(i)
                where.mkdir(parents=True)
                first = folder/'images'/'train'/str(i % len(some))/'image.png'
                if i < len(some): p['image'].save(first)
                else: os.link(first, where/'image.png')
            p['image'] = 'image.png' if pictures else None
            f.write(('{' if i == 0 else ',\n') + f'"{i}": ' + json.dumps(p))
        f.write('}')
    return folder


def compare(runs: int) -> dict:
    "Ours against the baseline, in turn, on the same questions."
    real = os.environ.get('SCIENCEQA_DIR')
    with tempfile.TemporaryDirectory() as tmp:
        if real:
            folder, table = Path(real), json.loads((Path(real)/'pid_splits.json').read_text())
            table = {s: table[s] for s in ('train', 'val', 'test')}  # every problem once
        else:
            print('SCIENCEQA_DIR is not set: comparing on samples')
            folder, table = official_folder(Path(tmp)/'f', 3000, True), dict(train=list(map(str, range(3000))))
        (splits := Path(tmp)/'s.json').write_text(json.dumps(table))
        child('--one', 'ours', folder, splits)  # warm the file cache
        one = lambda what: child('--one', what, folder, splits)
        pairs = [(one('ours'), one('baseline')) if i % 2 else (one('baseline'), one('ours'))[::-1] for i in range(runs)]
    a, b = medians([p[0] for p in pairs]), medians([p[1] for p in pairs])
    return dict(data='real' if real else 'samples', ours=a, baseline=b,
                speed_ratio=statistics.median(x['rows_per_s'] / y['rows_per_s'] for x, y in pairs),
                memory_ratio=statistics.median(x['peak_mb'] / y['peak_mb'] for x, y in pairs),
                grown_ratio=statistics.median(x['grown_mb'] / y['grown_mb'] for x, y in pairs))


def scaling(most: int) -> list[dict]:
    "Cost per row and peak memory from a thousand rows up."
    out = []
    for pictures, top in ((False, most), (True, most // 10)):
        n = 1000
        while n <= top:
            with tempfile.TemporaryDirectory() as tmp:
                folder = official_folder(Path(tmp)/'f', n, pictures)
                r = child('--one', 'ours', folder, '-')
            out.append(dict(pictures=pictures, us_per_row=1e6 * r['seconds'] / r['rows'], **r))
            print(f'{n:>9,} rows, pictures {pictures}: {out[-1]["us_per_row"]:.0f} us/row, peak {r["peak_mb"]:.0f} MB')
            n *= 10
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--one', nargs=3, metavar=('WHAT', 'FOLDER', 'SPLITS'), help='one measurement, as JSON')
    p.add_argument('--runs', type=int, default=5, help='runs to take the median of')
    p.add_argument('--most', type=int, default=1_000_000,
                   help='rows of the largest data set (a tenth of it with pictures)')
    p.add_argument('--only', choices=['compare', 'scaling'], help='measure only this')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for data.json')
    a = p.parse_args()
    if a.one: return print(json.dumps(measure(a.one[0], Path(a.one[1]), None if a.one[2] == '-' else Path(a.one[2]))))
    import datasets, pyarrow
    result = dict(machine=machine(), python=platform.python_version(), datasets=datasets.__version__,
                  pyarrow=pyarrow.__version__)
    file = Path(a.out)/'data.json'
    if a.only and file.is_file(): result = json.loads(file.read_text()) | result
    if a.only != 'scaling': report(result, a.runs)
    if a.only != 'compare': result['scaling'] = scaling(a.most)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + '\n')


def report(result: dict, runs: int):
    "Compare, and print it."
    c = result['compare'] = dict(compare(runs), runs=runs)
    for k in ('ours', 'baseline'): print(f'{k:9}{c[k]["rows_per_s"]:>9,.0f} rows/s, peak {c[k]["peak_mb"]:,.0f} MB '
                                         f'({c[k]["grown_mb"]:,.0f} above the imports)')
    print(f'ratio {c["speed_ratio"]:.1f} in speed, {c["memory_ratio"]:.2f} in peak memory, {c["grown_ratio"]:.2f} '
          f'above the imports ({c["data"]})')


if __name__ == '__main__': main()
