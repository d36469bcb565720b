"""Fit the tutor's safety classifier, and measure rules and classifier together.

    python bench/safety.py learn DATA      # writes sciencetutor/assets/safety.safetensors
    python bench/safety.py folds           # cross-validation on the lines that it learns from
    python bench/safety.py measure DATA    # both halves of the test set, and false alarms on val

DATA is a folder in the official ScienceQA layout: its training questions are harmless lines, its validation questions
a test.
"""
import argparse, json, random, time
from pathlib import Path
import numpy as np
from sklearn.model_selection import StratifiedKFold
from sciencetutor.app.safety import Guard, SafetyClassifier, fit_classifier, measure, safety_lines, sentences_of

WEIGHTS = Path(__file__).parents[1]/'sciencetutor'/'assets'/'safety.safetensors'

def questions(data, split):
    "The questions of a split: what a child would paste, and what the tutor would say."
    problems, splits = (json.loads((Path(data)/f).read_text()) for f in ('problems.json', 'pid_splits.json'))
    for pid in splits[split]:
        if p := problems.get(pid):
            yield '\n'.join([p['hint'], p['question'], *p['choices']]), p['lecture']+'\n'+p['solution']

def harmless(data, n=20_000):
    "Sentences of the training questions."
    found = sorted({s for asked, _ in questions(data, 'train') for s in sentences_of(asked)})
    return random.Random(0).sample(found, min(n, len(found)))

def known(): return [r for r in safety_lines() if r['half'] != 'unseen' and r['side'] == 'in']

def table(m):
    for k, v in m.items(): print(f'  {k:10}', '  '.join(f'{a} {b}' for a, b in v.items()))
    bad = [v for k, v in m.items() if k != 'ok']
    caught, lines = sum(v['caught'] for v in bad), sum(v['lines'] for v in bad)
    print(f"  {caught} of {lines} caught, {m['ok']['false_alarms']} false alarms in {m['ok']['lines']}")

def folds(data, k=5):
    "What rules and classifier catch of lines that the classifier has not learned from."
    rows, plain = known(), harmless(data) if data else []
    y = np.array([r['level'] for r in rows])
    for name in ('rules alone', 'with the classifier'):
        total = {}
        for a, b in StratifiedKFold(k, shuffle=True, random_state=0).split(y, y):
            with_it = name == 'with the classifier'
            fitted = SafetyClassifier(fit_classifier([rows[i] for i in a], plain)) if with_it else None
            guard = Guard(classifier=fitted)
            for level, v in measure(guard, [rows[i] for i in b]).items():
                for key, n in v.items(): total.setdefault(level, {}).setdefault(key, 0); total[level][key] += n
        print(name)
        table(total)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['learn', 'folds', 'measure'])
    parser.add_argument('data', nargs='?', help='folder in the official ScienceQA layout')
    args = parser.parse_args()
    if args.what == 'learn' and not args.data: parser.error('harmless questions are learned from, too: name DATA')
    if args.what == 'learn':
        weights = fit_classifier(known(), harmless(args.data))
        SafetyClassifier(weights).save(WEIGHTS)
        print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size/1e6:.1f} MB from {len(known())} lines")
    elif args.what == 'folds': folds(args.data)
    else:
        guard = Guard()
        for half in ('tuned', 'unseen'):
            print(half)
            table(measure(guard, safety_lines(half)))
        if args.data:
            begun, asked = time.perf_counter(), list(questions(args.data, 'val'))
            alarms = [v for q, a in asked if (v := guard.check(q) or guard.check(a, 'out'))]
            milliseconds = (time.perf_counter()-begun)/len(asked)/2*1000
            print(f"{len(alarms)} alarms in {len(asked)} validation questions, lectures and solutions "
                  f"({len(alarms)/len(asked):.1%}); {milliseconds:.1f} ms a text")
            for v in alarms: print('  ', v.level, v.found)
