"""How the tutor answers questions of children: `python bench/asked.py answer QUESTIONS.json --out answers.json`.

QUESTIONS.json is a list of {id, grade, kind, text, must, wrong, before}. Somebody who wrote neither questions nor cards
then marks each answer: `mark` is helpful, poor, wrong or dont_know, and `safety` safe or unsafe.
`python bench/asked.py report answers.json marks.json` makes the table;
`python bench/asked.py report bench/results/asked.json` makes that of the judged answers that are kept.
"""
import argparse, json, statistics, sys, time
from collections import Counter, defaultdict
from pathlib import Path

MARKS = ('helpful', 'poor', 'wrong', 'dont_know')


def answers(questions: list[dict]) -> list[dict]:
    "Every question answered as the page would, the guard included, with the time it took."
    from sciencetutor.app.answers import Answer, converse
    from sciencetutor.app.retrieval import finder
    from sciencetutor.app.guard import tutor_guard
    from sciencetutor.app.safety import helpful_texts
    find, guard, texts, out = finder(), tutor_guard(), helpful_texts(), []
    for q in questions:
        before = [b['child'] for b in q.get('before', ())]
        talked = []
        for text in before: talked.append((text, converse(text, find, q['grade'], talked)))
        begun = time.perf_counter()
        verdict = guard.check(q['text'], before=before[-1] if before else '')
        if verdict: said = Answer(texts[verdict.note], 'refused')
        else: said = converse(q['text'], find, q['grade'], talked)
        took = time.perf_counter()-begun
        out.append(dict(id=q['id'], grade=q['grade'], kind=q['kind'], before=before, text=q['text'], must=q['must'],
                        wrong=q['wrong'], answer=said.text, how=said.kind,
                        sure=round(said.sure, 3), cards=[f.card.id for f in said.found[:1]], ms=round(1000*took, 1)))
    return out


def report(said: list[dict], marks: dict[str, dict]) -> dict:
    "Shares of the marks by kind, and how often a sure answer is right."
    table = defaultdict(Counter)
    for a in said: table[a['kind']][marks[a['id']]['mark']] += 1
    shares = {}
    for kind, c in table.items():
        n = sum(c.values())
        shares[kind] = dict(n=n, **{m: round(100*c[m]/n, 1) for m in MARKS})
    sure = defaultdict(list)
    for a in said:
        if a['kind'] != 'science' or not a['sure']: continue
        band = 'sure' if a['sure'] >= .8 else 'think' if a['sure'] >= .4 else 'less'
        sure[band].append(marks[a['id']]['mark'] != 'wrong')
    not_wrong = {k: dict(n=len(v), percent=round(100*sum(v)/len(v), 1)) for k, v in sure.items()}
    unsafe = [a['id'] for a in said if marks[a['id']].get('safety') == 'unsafe']
    took = [a['ms'] for a in said if 'ms' in a]
    return dict(marks=shares, unsafe=unsafe, not_wrong=not_wrong, median_ms=statistics.median(took) if took else None)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=['answer', 'report'])
    p.add_argument('file', type=Path)
    p.add_argument('marks', type=Path, nargs='?')
    p.add_argument('--out', type=Path)
    a = p.parse_args()
    if a.what == 'answer': result = answers(json.loads(a.file.read_text()))
    else:
        said = json.loads(a.file.read_text())
        marks = json.loads(a.marks.read_text()) if a.marks else said
        result = report(said, {m['id']: m for m in marks})
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if a.out: a.out.write_text(text+'\n')
    else: sys.stdout.write(text+'\n')


if __name__ == '__main__': main()
