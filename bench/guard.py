"""How the guard does on lines of bench/guard, and how its learned judges are fitted.

    python bench/guard.py dev                 # per level: alarms on harmless lines, help on dangerous ones, CPU time
    python bench/guard.py held                # the half that was kept apart; look at it once, when all is finished
    python bench/guard.py asked SAMPLE.json   # questions of children: which are refused
    python bench/guard.py val DATA            # validation questions of a folder in the official ScienceQA layout
    python bench/guard.py learn               # fits the weights again, from the dev half

`--show` prints every line that went wrong. Nothing may be changed to suit single lines of `held`.
"""
import argparse, json, random, time
from collections import Counter, defaultdict
from pathlib import Path

LINES = Path(__file__).parent/'guard'
WEIGHTS = Path(__file__).parents[1]/'sciencetutor'/'assets'/'safety.safetensors'


def lines(half: str) -> list[dict]:
    "The lines of a half: text, label, topic."
    return [json.loads(line) for line in (LINES/f'{half}.jsonl').read_text(encoding='utf-8').splitlines()]


def questions(data, split: str) -> list[list[str]]:
    "The questions of a split, with their choices."
    problems, splits = (json.loads((Path(data)/f).read_text()) for f in ('problems.json', 'pid_splits.json'))
    found = [problems[pid] for pid in splits[split] if pid in problems]
    return [['\n'.join([p['hint'], p['question'], *p['choices']]), p['lecture']+'\n'+p['solution']] for p in found]


def report(guard, rows: list[dict], show: bool = False) -> dict:
    "Per level how many lines got help; on harmless ones how many alarms, and of which kind."
    table, alarms, took = defaultdict(Counter), Counter(), []
    for r in rows:
        begun = time.process_time()
        v = guard.judge(r['text'])
        took.append(time.process_time()-begun)
        changed, level = bool(v and not v.perhaps), r['label']
        c = table[level]
        c['lines'] += 1
        c['perhaps'] += bool(v and v.perhaps)
        if level == 'harmless':
            if changed: alarms[v.note] += 1
        else:
            c['answered with help'] += changed
            c['at its level'] += bool(changed and v.level == level)
        if show and changed == (level == 'harmless'): print(f"  {level:10} {r['text']}   [{v}]")
    took.sort()
    bad = [c for level, c in table.items() if level != 'harmless']
    lines_bad, helped = sum(c['lines'] for c in bad), sum(c['answered with help'] for c in bad)
    harmless = table['harmless']['lines']
    return dict(levels={k: dict(v) for k, v in table.items()}, alarms=dict(alarms), helped=f'{helped} of {lines_bad}',
                helped_percent=round(100*helped/max(lines_bad, 1), 1),
                alarms_in_1000=round(1000*sum(alarms.values())/max(harmless, 1), 1),
                median_cpu_ms=round(1000*took[len(took)//2], 2), mean_cpu_ms=round(1000*sum(took)/len(took), 2))


def learn():
    "Fit both judges: the dev half, and ways to ask of the cards that are about no danger."
    from safetensors.numpy import save_file
    from sciencetutor.app.cards import load_cards
    from sciencetutor.app.guard import fit_judges
    asked = [a for card in load_cards() if not card.care for a in card.asked]
    rows = [dict(text=r['text'], level=r['label'].replace('harmless', 'ok')) for r in lines('dev')]
    save_file(fit_judges(rows, random.Random(5).sample(asked, 5000)), WEIGHTS)
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size/1e6:.2f} MB from {len(rows)} lines")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=['dev', 'held', 'asked', 'val', 'learn'])
    p.add_argument('data', nargs='?')
    p.add_argument('--show', action='store_true')
    a = p.parse_args()
    if a.what in ('asked', 'val') and not a.data: p.error(f'{a.what} needs a file or folder')
    if a.what == 'learn': return learn()
    from sciencetutor.app.guard import tutor_guard
    guard = tutor_guard()
    guard.check('Why is the sky blue?')
    if a.what in ('dev', 'held'): print(json.dumps(report(guard, lines(a.what), a.show), indent=1))
    elif a.what == 'asked':
        for q in json.loads(Path(a.data).read_text()):
            if v := guard.check(q['text']): print(f"{q['kind']:10} {q['text']}   [{v}]")
    else:
        asked = questions(a.data, 'val')
        stopped = [(v, q) for q, _ in asked if (v := guard.check(q, exercise=True))]
        for v, q in stopped: print(v, q[:100])
        print(f'{len(stopped)} of {len(asked)} refused')


if __name__ == '__main__': main()
