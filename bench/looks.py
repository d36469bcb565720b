"""Does the tutor look at the picture? With it, without any, and with another's, on the picture questions of val.

    python bench/looks.py DATA            DATA: a data set from `sciencetutor data`; into bench/results/looks.json
    python bench/looks.py DATA --n 100    quicker

The text-only tutor is made in the same way from the same questions, with every picture taken away: its memory is
built and its ranker trained again. Both share the language model, which reads words only. Each half of the questions
is judged by weights fitted on the other half (`sciencetutor.release.cross_validate`); with another question's
picture, by the weights of the right ones. Three seeds of the ranker; p is McNemar's exact test on the flips
(`sciencetutor.eval.metrics.mcnemar`).
"""
from __future__ import annotations
import argparse, json, platform
from pathlib import Path
import datasets, torch
from sciencetutor.data.core import load_split
from sciencetutor.eval.metrics import mcnemar
from sciencetutor.models.core import load_model
from sciencetutor.models.knn import (KNNIndex, evidence, fit_ranker, index_tensors, last_question, leave_one_out,
                                     pad_choices)
from sciencetutor.models.scoring import question_item, score_choices
from sciencetutor.release import Opinions, cross_validate, percent, picked

SEEDS = 3


def memories(rows) -> list[KNNIndex]:
    "The same memory with rankers of several seeds."
    memory, answer = KNNIndex(index_tensors(rows)), torch.tensor(list(rows['answer_index']))
    x, mask = pad_choices(leave_one_out(memory, rows))
    return [fit_ranker(memory, x, mask, answer, seed) for seed in range(SEEDS)]


def flips(first: list[bool], second: list[bool]) -> dict:
    "What the second got right and the first did not, the other way round, and McNemar's p."
    gained, lost = (sum(y and not x for x, y in zip(*pair)) for pair in ((first, second), (second, first)))
    return dict(gained=gained, lost=lost, p=mcnemar(gained, lost))


def compare(look: KNNIndex, blind: KNNIndex, items: list[dict], pictures: dict, scores: list,
            answers: list[int]) -> dict:
    "Accuracies with the right picture, with another's and by a memory without pictures, and the flips between them."
    def ask(memory, shown):
        return [evidence(memory, last_question(it['messages']), it['choices'], p) for it, p in zip(items, shown)]
    def right(fitted, judged=None): return picked(cross_validate(Opinions(scores, fitted, answers), judged), answers)
    own = ask(look, pictures['own'])
    correct = dict(picture=right(own), text_only=right(ask(blind, [None]*len(items))),
                   other_picture=right(own, ask(look, pictures['other'])))
    over = {f'over_{k}': flips(correct[k], correct['picture']) for k in ('text_only', 'other_picture')}
    return {k: percent(v) for k, v in correct.items()} | over


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('data')
    ap.add_argument('--model', default='tutor')
    ap.add_argument('--n', type=int)
    ap.add_argument('--train', type=int)
    args = ap.parse_args()
    splits = [s for s in ('train', 'train_hint_unknown') if (Path(args.data)/s).is_dir()]
    rows = datasets.concatenate_datasets([load_split(args.data, s) for s in splits])
    if args.train: rows = rows.shuffle(seed=0).select(range(args.train))
    val = load_split(args.data, 'val')
    undecoded = val.cast_column('image', datasets.Image(decode=False))['image']
    seen = [i for i, image in enumerate(undecoded) if image][:args.n]
    items = [question_item(val[i]) for i in seen]
    answers = [val[i]['answer_index'] for i in seen]
    chance = percent([1/len(it['choices']) for it in items])

    model, processor = load_model(args.model, dtype='float32')
    model.knn_index = None
    scores = score_choices(model, processor, items, batch_tokens=512, progress=True)
    own = [it['images'][-1] if it['images'] else val[i]['image'] for it, i in zip(items, seen)]
    pictures = dict(own=own, other=own[len(own)//2:] + own[:len(own)//2])

    blank = rows.remove_columns('image').add_column('image', [None]*len(rows))
    runs = []
    for seed, (look, blind) in enumerate(zip(memories(rows), memories(blank))):
        runs.append(dict(seed=seed, **compare(look, blind, items, pictures, scores, answers)))
        print(json.dumps(runs[-1]), flush=True)
    alone = percent(picked(scores, answers))
    report = dict(n=len(items), chance=chance, solved_questions=len(rows), language_model=alone, runs=runs,
                  machine=platform.machine())
    out = Path(__file__).parent/'results'/'looks.json'
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1))
    print(json.dumps({k: v for k, v in report.items() if k != 'runs'}))


if __name__ == '__main__': main()
