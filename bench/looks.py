"""Does the tutor look at the picture? With it, without any, and with another question's, on the picture questions of val.

    python bench/looks.py DATA            DATA: a data set folder from `sciencetutor data`; into bench/results/looks.json
    python bench/looks.py DATA --n 100    quicker

The text-only tutor is made in the same way from the same questions, with every picture taken away: its index is built and its ranker trained again. Both share the language
model, which reads words only. Each half of the questions is judged by weights fitted on the other half (`sciencetutor.release.crossfit`); with another question's picture, by the weights
of the right ones. Three seeds of the ranker; p is McNemar's exact test on the flips (`sciencetutor.eval.metrics.mcnemar`).
"""
from __future__ import annotations
import argparse, json, platform
from pathlib import Path
import datasets, torch
from sciencetutor.data.core import load_split
from sciencetutor.models.knn import KNNIndex, evidence, fit_mix, fit_ranker, index_tensors, last_question, leave_one_out, pad_choices
from sciencetutor.eval.metrics import mcnemar
from sciencetutor.models.core import load_model
from sciencetutor.models.scoring import question_item, score_choices

SEEDS = 3


def teachers(rows) -> list[KNNIndex]:
    "The same index with rankers of several seeds."
    index, answer = KNNIndex(index_tensors(rows)), torch.tensor(list(rows['answer_index']))
    x, mask = pad_choices(leave_one_out(index, rows))
    return [fit_ranker(index, x, mask, answer, seed) for seed in range(SEEDS)]


def right(scores, fitted, judged, answers) -> list[bool]:
    "Each half judged by weights fitted on the other: fitted on one kind of evidence, judged by another."
    out = [False]*len(answers)
    for half in (0, 1):
        fit = [i for i in range(len(answers)) if i % 2 != half]
        a, b = fit_mix(*([x[i] for i in fit] for x in (scores, fitted, answers)))
        for i in range(half, len(answers), 2): out[i] = int((a*scores[i] + b*judged[i]).argmax()) == answers[i]
    return out


def flips(first, second) -> dict:
    gained, lost = (sum(y and not x for x, y in zip(*pair)) for pair in ((first, second), (second, first)))
    return dict(gained=gained, lost=lost, p=mcnemar(gained, lost))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('data'), ap.add_argument('--model', default='tutor'), ap.add_argument('--n', type=int), ap.add_argument('--train', type=int)
    args = ap.parse_args()
    has = Path(args.data)
    rows = datasets.concatenate_datasets([load_split(args.data, s) for s in ('train', 'train_hint_unknown') if (has/s).is_dir()])
    if args.train: rows = rows.shuffle(seed=0).select(range(args.train))
    val = load_split(args.data, 'val')
    seen = [i for i, image in enumerate(val.cast_column('image', datasets.Image(decode=False))['image']) if image]
    items = [question_item(val[i]) for i in seen[:args.n]]
    answers = [val[i]['answer_index'] for i in seen[:args.n]]
    chance = 100*sum(1/len(it['choices']) for it in items)/len(items)

    model, processor = load_model(args.model, dtype='float32')
    model.knn_index = None
    scores = score_choices(model, processor, items, batch_tokens=512, progress=True)
    own = [it['images'][-1] if it['images'] else val[i]['image'] for it, i in zip(items, seen)]
    other = own[len(own)//2:] + own[:len(own)//2]
    ask = lambda index, pictures: [evidence(index, last_question(it['messages']), it['choices'], p) for it, p in zip(items, pictures)]

    blank = rows.remove_columns('image').add_column('image', [None]*len(rows))
    runs, percent = [], lambda xs: round(100*sum(xs)/len(xs), 2)
    for seed, (look, blind) in enumerate(zip(teachers(rows), teachers(blank))):
        mine, without, swapped = ask(look, own), ask(blind, [None]*len(own)), ask(look, other)
        r = dict(picture=right(scores, mine, mine, answers), text_only=right(scores, without, without, answers), other_picture=right(scores, mine, swapped, answers))
        runs.append(dict(seed=seed, **{k: percent(v) for k, v in r.items()}, over_text_only=flips(r['text_only'], r['picture']), over_other_picture=flips(r['other_picture'], r['picture'])))
        print(json.dumps(runs[-1]), flush=True)
    report = dict(n=len(items), chance=round(chance, 2), solved_questions=len(rows), language_model=percent([int(s.argmax()) == a for s, a in zip(scores, answers)]), runs=runs, machine=platform.machine())
    out = Path(__file__).parent/'results'/'looks.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    print(json.dumps({k: v for k, v in report.items() if k != 'runs'}))


if __name__ == '__main__': main()
