"""How often three ways of adding up a choice's likelihood are right on val: in all, per token, per character.

    python bench/reduce_bench.py                            `tutor` on val, into bench/results/reduce.json
    python bench/reduce_bench.py --limit 200 --model tiny   quicker

The questions are those of SCIENCEQA_DIR, or samples without it. One forward pass a question gives all three. A model
with a memory is asked with it for the mean, which is what it was fitted to, and without for the others; `mean alone`
leaves it out.
"""
from __future__ import annotations
import argparse, json, os, tempfile
from pathlib import Path
from host import machine


def variants(index, items: list[dict], sums: list, sizes: list) -> dict:
    "Scores of each item's choices in every variant."
    import torch
    from sciencetutor.models.knn import mix_scores
    characters = [[max(1, len(c)) for c in it['choices']] for it in items]
    mean, char = ([s/torch.tensor(n) for s, n in zip(sums, counts)] for counts in (sizes, characters))
    if index is None: return dict(sum=sums, char=char, mean=mean)
    both = [mix_scores(index, it, m) for it, m in zip(items, mean)]
    return {'sum': sums, 'char': char, 'mean': both, 'mean alone': mean}


def measure(data: str, model: str, limit: int, dtype: str, batch_tokens: int, window: int = 64) -> dict:
    "Right answers of each variant on split val, and chance."
    from sciencetutor.data.core import load_split
    from sciencetutor.eval.core import load_eval_model
    from sciencetutor.models.knn import index_of
    from sciencetutor.models.scoring import encode_reply, question_item, score_choices
    from tqdm.auto import tqdm
    m, processor = load_eval_model(model, dtype)
    ds = load_split(data, 'val')
    n, right, chance = min(limit or len(ds), len(ds)), {}, 0.
    for i in tqdm(range(0, n, window), unit=f' x {window} questions'):
        rows = [ds[j] for j in range(i, min(i + window, n))]
        items = [question_item(r) for r in rows]
        sums = score_choices(m, processor, items, batch_tokens=batch_tokens, reduce='sum')
        sizes = [[len(encode_reply(processor, c)) for c in it['choices']] for it in items]
        chance += sum(1/len(r['choices']) for r in rows)
        for name, scores in variants(index_of(m), items, sums, sizes).items():
            right[name] = right.get(name, 0) + sum(int(s.argmax()) == r['answer_index'] for s, r in zip(scores, rows))
    return dict(count=n, chance=100*chance/n, correct=right, acc={k: 100*v/n for k, v in right.items()})


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--model', default='tutor')
    p.add_argument('--limit', type=int, default=0, help='only the first so many questions, 0 for all')
    p.add_argument('--dtype', default='float32', help='numbers to calculate with')
    p.add_argument('--batch-tokens', type=int, default=512, help='tokens in a batch')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'), help='folder for reduce.json')
    a = p.parse_args()
    import torch, transformers
    from sciencetutor.data.core import run_data
    real = os.environ.get('SCIENCEQA_DIR')
    with tempfile.TemporaryDirectory() as tmp:
        more = dict(splits=f'{real}/local_splits.json', only=['val']) if real else dict(n=1000)
        run_data(real or 'samples', f'{tmp}/d', **more)
        result = measure(f'{tmp}/d', a.model, a.limit, a.dtype, a.batch_tokens)
    result |= dict(data='real' if real else 'samples', model=a.model, dtype=a.dtype, machine=machine(),
                   torch=torch.__version__, transformers=transformers.__version__)
    for name, acc in result['acc'].items():
        print(f'{name:11}{acc:6.2f}% ({result["correct"][name]} of {result["count"]}, chance {result["chance"]:.2f}%)')
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'reduce.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
