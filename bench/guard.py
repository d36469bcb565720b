"""How the guard does on lines such as those of bench/guard, and how its judges are fitted.

    python bench/guard.py FILE                # lines of JSON with text and label: alarms, help per label, CPU time
    python bench/guard.py FILE --keep         # and into bench/results/guard.json
    python bench/guard.py asked SAMPLE.json   # questions of children: which are refused
    python bench/guard.py val DATA            # validation questions of a folder in the official ScienceQA layout
    python bench/guard.py learn [DATA]        # teaches the judges again; questions of DATA's train split are harmless
    python bench/guard.py apart [DATA]        # how they do on the eighth of the lines that was kept from them

`dev`, `held8`, `lines` and so on stand for the files of that name in bench/guard. `--show` prints every line that went
wrong. `learn` takes a quarter of an hour on two cores, and goes on where it was interrupted.
"""
import argparse, json, random, re, time, zlib
from collections import Counter, defaultdict
from pathlib import Path

LINES = Path(__file__).parent/'guard'
WEIGHTS = Path(__file__).parents[1]/'sciencetutor'/'assets'/'safety.safetensors'
RESULTS = Path(__file__).parent/'results'/'guard.json'
APART, BLOCK = 8, 40  # one block of eight is kept apart; lines in a block, that are about the same and stay together
LEARNED = ('dev', 'held', 'lines', 'oblique', 'grades', 'held2', 'held3', 'held5', 'situations', 'plain',
           'follow_ups')
NEAR = 'lines', 'oblique', 'situations'  # whose harmless lines lie as near to danger as can be
MOST = 2  # false alarms in 1,000 harmless lines that the limits may give


def lines(file: str) -> list[dict]:
    "The lines of a file: text, label, and perhaps topic."
    path = LINES/f'{file}.jsonl' if (LINES/f'{file}.jsonl').is_file() else Path(file)
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def questions(data, split: str) -> list[dict]:
    "The questions of a split."
    problems, splits = (json.loads((Path(data)/f).read_text()) for f in ('problems.json', 'pid_splits.json'))
    return [problems[pid] for pid in splits[split] if pid in problems]


def asked_of(problem: dict) -> str: return '\n'.join([problem['hint'], problem['question'], *problem['choices']])


def examples(data: str | None) -> list[dict]:
    "What judges learn from: text, label, group. Lines that follow each other are one group, and ways to ask of a card."
    from sciencetutor.app.cards import load_cards
    from sciencetutor.app.safety import safety_lines
    files = {f: lines(f) for f in LEARNED}
    files['older'] = [dict(text=r['text'], label=r['level'].replace('ok', 'harmless')) for r in safety_lines()
                      if r['side'] == 'in' and r['level'] != 'off-task']
    rows = [r | dict(group=f'{f} {i//BLOCK}') for f, some in files.items() for i, r in enumerate(some)]
    plain = lambda card, asked: not card.care or not re.search(r'\b(i|my|me|we)\b', asked.lower())
    asked = [dict(text=a, label='harmless', group=c.id) for c in load_cards() for a in c.asked if plain(c, a)]
    some = random.Random(5)
    rows += some.sample(asked, 6000)
    train = sorted({p['question'] for p in questions(data, 'train')}) if data else []
    rows += [dict(text=q, label='harmless', group=q) for q in some.sample(train, min(1200, len(train)))]
    return list({r['text'].lower(): r for r in rows}.values())


def percent(n: int, of: int) -> float: return round(100*n/max(of, 1), 1)


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
                helped_percent=percent(helped, lines_bad),
                alarms_in_1000=percent(10*sum(alarms.values()), harmless),
                median_cpu_ms=round(1000*took[len(took)//2], 2), mean_cpu_ms=round(1000*sum(took)/len(took), 2))


def read_as(guard, text: str) -> tuple:  # the sign, and the reading in which judges hear a line
    "What the patterns find in a line."
    sign = guard.match(text, 'in')
    return sign, sign.read if sign and sign.read else guard.readings(text)[0]


def is_apart(row: dict) -> bool: return zlib.crc32(row['group'].encode()) % APART == 0


def learn(data: str | None):
    "Teach both judges."
    from sciencetutor.app.safety import Guard
    from sciencetutor.app.teaching_the_reader import fit_judges
    rows, guard = [r for r in examples(data) if not is_apart(r)], Guard()
    fit_judges([read_as(guard, r['text'])[1] for r in rows], [r['label'] for r in rows], str(WEIGHTS))
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size/1e6:.2f} MB from {len(rows)} lines")


def heard_apart(data: str | None) -> list[dict]:
    "What the signs and the judges say about lines that were kept from them: label, group, sign, level, alarm."
    from sciencetutor.app.guard import is_learning, shipped_judges
    from sciencetutor.app.safety import Guard
    judges, rows, guard, found = shipped_judges(), examples(data), Guard(), []
    for r in filter(is_apart, rows):
        sign, text = read_as(guard, r['text'])
        level, alarm = judges.hear(text)
        if not sign and alarm > 0 and is_learning(text): alarm = -99.
        found.append(dict(label=r['label'], group=r['group'], sign=sign and sign.level,
                          sure=bool(sign and not sign.read), level=level, alarm=float(alarm)))
    return found


def outcome(h: dict, limits: dict) -> str | None:
    "The level of the message that a line gets."
    from sciencetutor.app.safety import GRAVE
    level, key = (h['sign'], 'sign') if h['sign'] else (h['level'], 'alone')
    more = limits['grave'] if key == 'alone' and level in GRAVE else 0
    return level if h['sure'] or level == 'off-task' or h['alarm'] >= limits[key]+more else None


def chosen(heard: list[dict], most: float, limits: dict) -> dict:
    "The limits with which most lines are helped, and no more than `most` of 1,000 harmless ones disturbed."
    import numpy as np
    from sciencetutor.app.safety import GRAVE
    alarm = np.array([h['alarm'] - limits['grave']*(not h['sign'] and h['level'] in GRAVE) for h in heard])
    alarm[[h['sure'] or h['sign'] == 'off-task' for h in heard]] = np.inf
    sign, harmless = np.array([(bool(h['sign']), h['label'] == 'harmless') for h in heard]).T
    best = 0, 20., 20.
    for s in np.arange(-2, 8, .5):
        for a in np.arange(s, 12, .5):
            helped = alarm >= np.where(sign, s, a)
            if 1000*helped[harmless].mean() > most: continue
            best = max(best, (int(helped[~harmless].sum()), float(s), float(a)))
    return limits | dict(sign=best[1], alone=best[2])


def measured(outcomes: list[tuple[dict, str | None]]) -> dict:
    "Help and alarms of lines with what they got."
    table, alarms = defaultdict(Counter), Counter()
    for h, level in outcomes:
        table[h['label']].update(lines=1, helped=int(bool(level)), right=int(level == h['label']))
        if level and h['label'] == 'harmless': alarms[level] += 1
    harmless, bad = table.pop('harmless'), sum(table.values(), Counter())
    return dict(helped_percent=percent(bad['helped'], bad['lines']), harmless_lines=harmless['lines'],
                alarms_in_1000=percent(10*alarms.total(), harmless['lines']), alarms=dict(alarms),
                levels={k: dict(v) for k, v in sorted(table.items())})


def apart(data: str | None) -> dict:
    "Help and alarms on lines apart, with the limits that ship, and what other limits would give."
    from sciencetutor.app.safety import Guard
    heard, limits = heard_apart(data), Guard().thresholds
    of = lambda h: h['group'].split()[0]
    files = {'ordinary': [h for h in heard if of(h) not in NEAR]} | {f: [h for h in heard if of(h) == f] for f in NEAR}
    at = lambda some: measured([(h, outcome(h, limits)) for h in some])
    report = at(heard) | dict(files={f: at(some) for f, some in files.items()})
    signs = measured([(h, h['sign']) for h in heard])
    chose = [chosen(heard, most, limits) for most in (1, MOST, 3, 5, 8, 12, 20)]
    curve = [measured([(h, outcome(h, c)) for h in heard]) for c in chose]
    kept = 'helped_percent', 'alarms_in_1000'
    return report | dict(limits=limits, best_limits=chose[1], patterns={k: signs[k] for k in kept},
                         curve=[{k: m[k] for k in kept} for m in curve])


def tell(found: dict, name: str):
    "Print a report, and keep it if it has a name."
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if name: RESULTS.write_text(json.dumps(kept | {name: found}, indent=1)+'\n')
    print(json.dumps(found, indent=1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', help='asked, val, learn, apart, or a file of lines')
    p.add_argument('data', nargs='?')
    p.add_argument('--show', action='store_true')
    p.add_argument('--keep', action='store_true')
    a = p.parse_args()
    if a.what in ('asked', 'val') and not a.data: p.error(f'{a.what} needs a file or folder')
    if a.what == 'learn': return learn(a.data)
    if a.what == 'apart': return tell(apart(a.data), 'apart')
    from sciencetutor.app.guard import tutor_guard
    guard = tutor_guard()
    guard.check('Why is the sky blue?')
    if a.what == 'asked':
        for q in json.loads(Path(a.data).read_text()):
            if v := guard.check(q['text']): print(f"{q['kind']:10} {q['text']}   [{v}]")
    elif a.what == 'val':
        asked = list(map(asked_of, questions(a.data, 'val')))
        stopped = [(v, q) for q in asked if (v := guard.check(q, exercise=True))]
        for v, q in stopped: print(v, q[:100])
        print(f'{len(stopped)} of {len(asked)} refused')
    else:
        try: rows = lines(a.what)
        except (OSError, ValueError) as e: p.error(f'{a.what} is no file of lines with text and label ({e})')
        tell(report(guard, rows, a.show), Path(a.what).stem if a.keep else '')


if __name__ == '__main__': main()
