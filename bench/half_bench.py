"""What a number format of the weights costs and saves on a CPU: seconds, memory, right answers.

    python bench/half_bench.py speed                        `tutor`: seconds and memory, into bench/results/half.json
    python bench/half_bench.py accuracy                     right answers on val of SCIENCEQA_DIR (else of the samples), added to the same file
    python bench/half_bench.py speed accuracy --model tiny --n 20

For speed each format is served by a `sciencetutor serve` of its own and asked as serve_bench.py asks. For accuracy the engine of the server is asked to score the choices, one question after
the other; the questions are the same for every format, drawn once.
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
    if real: rows, picture = source_rows(real, 'val', next(f'{real}/{f}' for f in ('local_splits.json', 'pid_splits.json') if Path(real, f).is_file()))
    else: rows, picture = source_rows('samples', 'validation')
    drawn = sorted(random.Random(0).sample(range(len(rows)), min(n, len(rows))))
    return [(question_item(dict(rows[i], context=rows[i]['hint'], image=picture(i) if rows[i]['image'] is not None else None)), rows[i]['answer_index']) for i in drawn]


def scored(model: str, dtype: str, asked: list) -> list[list[float]]:
    "Probabilities of the choices of every question, as served."
    from sciencetutor.engine.core import Engine
    engine = Engine(model, dtype=dtype)
    return [engine.score(item['messages'], item['choices'], images=item['images']) for item, _ in asked]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('parts', nargs='*', help='speed, accuracy; both if none is given')
    p.add_argument('--model', default='tutor')
    p.add_argument('--tokens', type=int, default=128, help='new tokens of each answer')
    p.add_argument('--n', type=int, default=400, help='questions for accuracy')
    p.add_argument('--formats', nargs='+', default=['float32', 'bfloat16', 'half'], help='the first one is what the others are compared with')
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
        asked, best = questions(a.n), lambda ps: max(range(len(ps)), key=ps.__getitem__)
        probs = {k: scored(a.model, k, asked) for k in a.formats}
        right = {k: [best(p) == answer for p, (_, answer) in zip(probs[k], asked)] for k in a.formats}
        first = a.formats[0]
        result['accuracy'] = dict(
            data='ScienceQA' if os.environ.get('SCIENCEQA_DIR') else 'samples', n=len(asked), pictures=sum(bool(item['images']) for item, _ in asked), chance=100*sum(1/len(item['choices']) for item, _ in asked)/len(asked),
            formats={k: dict(correct=sum(right[k]), accuracy=100*sum(right[k])/len(asked), other_choice=sum(best(p) != best(q) for p, q in zip(probs[k], probs[first])),
                             gained=sum(r and not f for r, f in zip(right[k], right[first])), lost=sum(f and not r for r, f in zip(right[k], right[first])),
                             most_moved=max(abs(x-y) for p, q in zip(probs[k], probs[first]) for x, y in zip(p, q))) for k in a.formats})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(result, indent=1))


if __name__ == '__main__': main()
