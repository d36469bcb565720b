"""The same model, questions, prompt and reader in lmms-eval and here: whether they agree, and how long each takes.

    python bench/lmms_bench.py                      400 picture questions on a GPU, 40 on a CPU: bench/results/lmms.json
    python bench/lmms_bench.py --n 8 --model tiny   a toy, to see that it works

`lmms-eval` is its own command line with its `llava_hf` model, at batch size 1 (it takes no other), and its task
`scienceqa_img` as the package has it: prompt, limit of new tokens, reader. Only the questions are local, so that
nothing is downloaded. They all have a picture: for a question without one `llava_hf` logs an error and counts an
empty answer. `ours` is `sciencetutor eval --protocol generate --prompt lmms-eval`, batched as the stage batches. Both
write greedily. `seconds` is the time from the first question to the last, pictures opened and prepared included,
imports and loading the model not; `process_s` is the whole process. lmms-eval lives in `.venv-lmms`, made at the
first run: this environment's packages, lmms-eval without its own pins of them, and what it imports besides. Questions
are those of SCIENCEQA_DIR's val split, evenly spread; without it samples.
"""
from __future__ import annotations
import argparse, json, os, platform, statistics, subprocess, sys, sysconfig, tempfile, time
from pathlib import Path
from host import machine

ROOT = Path(__file__).resolve().parent.parent
PEER = str(ROOT/'.venv-lmms/bin/python')
LMMS = 'lmms-eval==0.7.3'
# what it imports and we do not have
IMPORTS = ['decord==0.6.0', 'evaluate==0.4.6', 'loguru==0.7.3', 'pytablewriter==1.2.1', 'sacrebleu==2.6.0']


def prepare(folder: Path, n: int) -> str:
    "N picture questions: split `val` of `data` for us, and `test` of `hub`, with the hub's columns, for lmms-eval."
    from datasets import DatasetDict, Image
    from sciencetutor.data.core import load_split, run_data
    even = lambda xs: xs[::max(1, len(xs)//n)][:n]
    if real := os.environ.get('SCIENCEQA_DIR'):
        problems, splits = (json.loads(Path(real, f'{name}.json').read_text()) for name in ('problems', 'local_splits'))
        pictured = [p for p in splits['val'] if problems[p]['image']]
        (folder/'splits.json').write_text(json.dumps(dict(val=even(pictured))))
        run_data(real, str(folder/'all'), splits=str(folder/'splits.json'))
    else: run_data('samples', str(folder/'all'), n=30*n)
    rows = load_split(folder/'all', 'val')
    shut = rows.cast_column('image', Image(decode=False))['image']
    rows = rows.select(even([i for i, picture in enumerate(shut) if picture is not None]))
    DatasetDict(val=rows).save_to_disk(str(folder/'data'))
    hub = rows.select_columns(['image', 'question', 'choices', 'hint', 'answer_index'])
    hub = hub.rename_column('answer_index', 'answer')
    DatasetDict(test=hub).save_to_disk(str(folder/'hub'))
    return 'real' if real else 'samples'


def theirs(a) -> dict:
    "lmms-eval's command line, with a clock around the model's answers."
    import lmms_eval
    from lmms_eval.cli.dispatch import main
    from lmms_eval.models import get_model
    kind, spent = get_model('llava_hf'), []
    answer = kind.generate_until
    def timed(self, requests):
        start = time.perf_counter()
        out = answer(self, requests)
        spent.append(time.perf_counter() - start)
        return out
    kind.generate_until = timed
    tasks = Path(a.tmp, 'tasks')
    tasks.mkdir(exist_ok=True)
    image_task = Path(lmms_eval.__file__).parent/'tasks/scienceqa/scienceqa_img.yaml'
    task = dict(include=str(image_task), task='scienceqa_local', dataset_path=f'{a.tmp}/hub', dataset_name=None,
                dataset_kwargs=dict(load_from_disk=True))
    (tasks/'scienceqa_local.yaml').write_text(json.dumps(task))  # JSON is YAML
    with tempfile.TemporaryDirectory(dir=a.tmp) as out:
        model_args = f'pretrained={a.folder},device={a.device},device_map={a.device},dtype={a.dtype}'
        sys.argv = ['lmms-eval', '--model', 'llava_hf', '--model_args', model_args, '--tasks', 'scienceqa_local',
                    '--include_path', str(tasks), '--batch_size', '1', '--log_samples', '--output_path', out]
        main()
        results, = (json.loads(f.read_text()) for f in Path(out).rglob('*_results.json'))
        samples, = (f.read_text() for f in Path(out).rglob('*_samples_*.jsonl'))
    Path(a.tmp, 'samples.jsonl').write_text(samples)
    acc = 100*results['results']['scienceqa_local']['exact_match,none']
    tokens = results['configs']['scienceqa_local']['generation_kwargs']['max_new_tokens']
    return dict(acc=acc, seconds=sum(spent), tokens=tokens)


def ours(a) -> dict:
    "The eval stage's own loop, without judging and report."
    from sciencetutor.eval.core import batch_sizes, load_rows, make_answer
    from sciencetutor.eval.answer_parsing import READERS
    from sciencetutor.eval.predictions import answer_all
    ds, rows = load_rows(f'{a.tmp}/data', 'val')
    batch_tokens, window = batch_sizes('generate')
    wording = dict(prompt='lmms-eval', single_pred_prompt=False)
    answer = make_answer(ds, dict(model=a.folder, dtype=a.dtype, protocol='generate', wording=wording, conv_mode='chat',
                                  max_new_tokens=a.tokens, batch_tokens=batch_tokens))
    answer([])  # loads the model
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        lines = answer_all(rows, answer, Path(out), window)
        seconds = time.perf_counter() - start
    texts = [json.loads(x)['text'] for x in lines]
    right = sum(READERS['lmms'](t, r['choices']) == r['answer_index'] for t, r in zip(texts, rows, strict=True))
    return dict(acc=100*right/len(rows), seconds=seconds, texts={r['id']: t for r, t in zip(rows, texts)})


def child(what: str, a) -> dict | None:
    "One measurement in a fresh process; None, with the reason, if it cannot run."
    env = dict(os.environ, TQDM_DISABLE='1', HF_HUB_OFFLINE='1', PYTHONPATH=str(ROOT) if what == 'ours' else '')
    start = time.perf_counter()
    command = [sys.executable if what == 'ours' else PEER, __file__, '--one', what, json.dumps(vars(a))]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    process_s = time.perf_counter() - start
    if done.returncode == 0: return dict(json.loads(done.stdout.splitlines()[-1]), process_s=process_s)
    print(f'{what} did not run: {(done.stderr.strip().splitlines() or ["no output"])[-1][:300]}')


def compare(a, ours: dict) -> dict:
    "What both were asked and what both wrote, question by question."
    from sciencetutor.eval.core import load_rows
    from sciencetutor.eval.prompts import lmms_prompt
    from sciencetutor.eval.answer_parsing import load_answers, match
    rows = load_rows(f'{a.tmp}/data', 'val')[1]
    got = match(load_answers(f'{a.tmp}/samples.jsonl'), rows)[0]
    chance = 100*statistics.mean(1/len(r['choices']) for r in rows)
    same_prompts = sum(got[r['id']]['input'] == lmms_prompt(r) for r in rows)
    same_texts = sum(got[r['id']]['text'].strip() == ours['texts'][r['id']] for r in rows)
    return dict(chance=chance, same_prompts=same_prompts, same_texts=same_texts)


def make_peer():
    "The environment of lmms-eval: this one's packages, and what it needs besides."
    check = ('from importlib.metadata import version; '
             'import decord, evaluate, loguru, pytablewriter, sacrebleu, torch; '
             f'assert version("lmms-eval") == "{LMMS.split("==")[1]}"')
    if Path(PEER).exists() and not subprocess.run([PEER, '-c', check], capture_output=True).returncode: return
    subprocess.run([sys.executable, '-m', 'venv', '--clear', str(ROOT/'.venv-lmms')], check=True)
    site = sysconfig.get_path('purelib')
    lib = next((ROOT/'.venv-lmms/lib').glob('python*/site-packages'))
    (lib/'outer.pth').write_text(site + '\n')  # the tested versions, not others
    install = [PEER, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    for what in (IMPORTS, ['--no-deps', LMMS]): subprocess.run([*install, *what], check=False)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--one', nargs=2, metavar=('WHAT', 'ARGS'), help='one measurement, as JSON')
    p.add_argument('--n', type=int, help='questions; 400 on a GPU and 40 on a CPU if not given')
    p.add_argument('--runs', type=int, default=1, help='rounds to take the median of')
    p.add_argument('--model', default='tutor-base')
    p.add_argument('--dtype', default='float32', help='numbers that both calculate with')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for lmms.json')
    a = p.parse_args()
    if a.one:
        args = argparse.Namespace(**json.loads(a.one[1]))
        return print(json.dumps(dict(ours=ours, theirs=theirs)[a.one[0]](args)))
    import torch, transformers
    from sciencetutor.models.core import resolve_model
    a.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    a.n = a.n or (400 if a.device == 'cuda' else 40)
    make_peer()
    where = torch.cuda.get_device_name() if a.device == 'cuda' else machine()
    result = dict(machine=where, python=platform.python_version(), torch=torch.__version__,
                  transformers=transformers.__version__, peer=LMMS, model=a.model, dtype=a.dtype, n=a.n, runs=a.runs)
    with tempfile.TemporaryDirectory() as tmp:
        result['data'], a.tmp, a.folder, rounds = prepare(Path(tmp), a.n), tmp, resolve_model(a.model), []
        for _ in range(a.runs):
            if not (peer := child('theirs', a)): return
            a.tokens = peer.pop('tokens')  # our limit is its task's
            if not (own := child('ours', a)): return
            rounds.append(dict(ours=own, theirs=peer))
        result |= dict(max_new_tokens=a.tokens, **compare(a, own))
    result['n'] = n = len(own['texts'])
    for w, name in (('ours', 'ours'), ('theirs', 'lmms_eval')):
        seconds, process = (statistics.median(r[w][k] for r in rounds) for k in ('seconds', 'process_s'))
        result[name] = dict(acc=rounds[-1][w]['acc'], seconds=seconds, process_s=process, per_second=n/seconds)
    result['ours_over_it'] = statistics.median(r['theirs']['seconds']/r['ours']['seconds'] for r in rounds)
    print(f"{'':10}{'accuracy':>9}{'seconds':>9}{'questions/s':>13}{'whole process, s':>18}")
    line = '{:10}{acc:8.2f}%{seconds:9.1f}{per_second:13.2f}{process_s:18.1f}'
    for w in ('ours', 'lmms_eval'): print(line.format(w.replace('_', '-'), **result[w]))
    print(f"{n} questions, chance {result['chance']:.1f}%; same prompt {result['same_prompts']}, "
          f"same text {result['same_texts']}; ours is {result['ours_over_it']:.2f} times as fast")
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'lmms.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
