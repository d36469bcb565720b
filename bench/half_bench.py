"""What a number format of the weights costs and saves on a CPU: seconds, memory, right answers.

    python bench/half_bench.py speed                        `tutor`: seconds and memory, into bench/results/half.json
    python bench/half_bench.py accuracy                     right answers on val of SCIENCEQA_DIR (else of the samples),
                                                            added to the same file
    python bench/half_bench.py speed accuracy --model tiny --n 20

For speed each format is served by a `sciencetutor serve` of its own and asked as serve_bench.py asks. For accuracy the
engine of the server is asked to score the choices, one question after the other; the questions are the same for every
format, drawn once.
"""
from __future__ import annotations
import argparse, json, os, random
from pathlib import Path
from host import machine
from serve_bench import long_question, product


def questions(n: int) -> list:
    "N questions of val, drawn at random but always the same, as `engine.score` takes them: item and answer."
    from sciencetutor.eval.core import source_rows
    from sciencetutor.models.scoring import question_item
    real = os.environ.get('SCIENCEQA_DIR')
    if real:
        splits = next(f for f in ('local_splits.json', 'pid_splits.json') if Path(real, f).is_file())
        rows, picture = source_rows(real, 'val', f'{real}/{splits}')
    else: rows, picture = source_rows('samples', 'validation')
    out = []
    for i in sorted(random.Random(0).sample(range(len(rows)), min(n, len(rows)))):
        row = dict(rows[i], context=rows[i]['hint'])
        if row['image'] is not None: row['image'] = picture(i)
        out.append((question_item(row), row['answer_index']))
    return out


def scored(model: str, dtype: str, asked: list) -> list[list[float]]:
    "Probabilities of the choices of every question, as served."
    from sciencetutor.engine.core import Engine
    engine = Engine(model, dtype=dtype)
    return [engine.score(item['messages'], item['choices'], images=item['images']) for item, _ in asked]


def best(probs: list[float]) -> int: return max(range(len(probs)), key=probs.__getitem__)


def compare(asked: list, probs: dict, first: str) -> dict:
    "Right answers of each format, and how its probabilities differ from those of the first one."
    right = {k: [best(p) == answer for p, (_, answer) in zip(probs[k], asked)] for k in probs}
    formats = {}
    for k in probs:
        pairs = list(zip(probs[k], probs[first]))
        moved = [abs(x-y) for p, q in pairs for x, y in zip(p, q)]
        turned = list(zip(right[k], right[first]))
        formats[k] = dict(correct=sum(right[k]), accuracy=100*sum(right[k])/len(asked),
                          other_choice=sum(best(p) != best(q) for p, q in pairs), gained=turned.count((True, False)),
                          lost=turned.count((False, True)), most_moved=max(moved))
    chance = 100*sum(1/len(item['choices']) for item, _ in asked)/len(asked)
    return dict(data='ScienceQA' if os.environ.get('SCIENCEQA_DIR') else 'samples', n=len(asked),
                pictures=sum(bool(item['images']) for item, _ in asked), chance=chance, formats=formats)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('parts', nargs='*', help='speed, accuracy; both if none is given')
    p.add_argument('--model', default='tutor')
    p.add_argument('--tokens', type=int, default=128, help='new tokens of each answer')
    p.add_argument('--n', type=int, default=400, help='questions for accuracy')
    p.add_argument('--formats', nargs='+', default=['float32', 'bfloat16', 'half'],
                   help='the first one is what the others are compared with')
    p.add_argument('--out', default=str(Path(__file__).parent/'results'), help='folder for half.json')
    a = p.parse_args()
    a.parts = a.parts or ['speed', 'accuracy']
    if set(a.parts) - {'speed', 'accuracy'}: p.error('speed and accuracy are the parts')
    import torch
    from sciencetutor.models.core import load_model
    file = Path(a.out)/'half.json'
    result = json.loads(file.read_text()) if file.is_file() else {}
    if result.get('model') != a.model: result = dict(model=a.model)
    if 'speed' in a.parts:
        text = long_question(load_model(a.model)[1])
        formats = {k: product(a.model, text, a.tokens, k) for k in a.formats}
        result |= dict(machine=machine(), torch=torch.__version__, tokens=a.tokens,
                       prompt_tokens=formats[a.formats[0]]['prompt_tokens'], speed=formats)
    if 'accuracy' in a.parts:
        asked = questions(a.n)
        result['accuracy'] = compare(asked, {k: scored(a.model, k, asked) for k in a.formats}, a.formats[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__': main()
