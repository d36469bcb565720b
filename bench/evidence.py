"""What the knowledge cards add to the answers to multiple-choice questions: with them and without.

    python bench/evidence.py DATA            DATA: a data set from `sciencetutor data`; into bench/results/evidence.json
    python bench/evidence.py DATA --n 100    quicker

Asked are the questions of bench/fresh_questions.jsonl, written for this by two people who saw neither cards nor tutor
(of the second set, those are left out that are near to one in bench/questions.jsonl, which the reader learned from),
and those of DATA's splits that end in `_dev`, on which seven weights were fitted, where they have no picture. *without*
is the language model with its solved questions, *with* the cards beside them; p is McNemar's exact test on the flips.
"""
from __future__ import annotations
import argparse, json
from pathlib import Path
from sciencetutor.data.core import load_split
from sciencetutor.eval.metrics import mcnemar
from sciencetutor.models.core import load_model
from sciencetutor.models.knn import KNNIndex, index_of, mix_scores
from sciencetutor.models.scoring import question_item, score_choices
from sciencetutor.release import percent, picked

FRESH = Path(__file__).parent/'fresh_questions.jsonl'


def compare(model, processor, rows: list[dict]) -> dict:
    "How many questions are answered right without the cards and with them."
    index, items, answers = index_of(model), [question_item(r) for r in rows], [r['answer_index'] for r in rows]
    without = KNNIndex({k: v for k, v in index.tensors.items() if k != 'cards'})
    scores = score_choices(model, processor, items, batch_tokens=512, progress=True)
    before, after = (picked([mix_scores(i, *pair) for pair in zip(items, scores)], answers) for i in (without, index))
    gained, lost = (sum(y and not x for x, y in zip(*pair)) for pair in ((before, after), (after, before)))
    flips = {'gained': gained, 'lost': lost, 'p': mcnemar(gained, lost)}
    chance = percent([1/len(it['choices']) for it in items])
    return {'n': len(rows), 'chance': chance, 'without': percent(before), 'with': percent(after), **flips}


def fresh() -> dict[str, list[dict]]:
    "Both sets of questions, as rows of a data set."
    sets, alike = {}, dict(context='', image=None)
    for r in map(json.loads, FRESH.read_text(encoding='utf-8').splitlines()):
        row = dict(alike, question=r['question'], choices=r['choices'], answer_index=r['answer'])
        sets.setdefault(f"fresh {r['set']}", []).append(row)
    return sets


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('data')
    ap.add_argument('--model', default='tutor')
    ap.add_argument('--n', type=int)
    args, report = ap.parse_args(), {}
    model, processor = load_model(args.model, dtype='float32')
    splits = sorted(p.name for p in Path(args.data).glob('*_dev'))
    asked = {s: [r for r in load_split(args.data, s) if r['image'] is None] for s in splits}
    for split, rows in (fresh() | asked).items():
        report[split] = compare(model, processor, rows[:args.n])
        print(split, json.dumps(report[split]), flush=True)
    out = Path(__file__).parent/'results'/'evidence.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1))


if __name__ == '__main__': main()
