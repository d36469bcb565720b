"""Open questions: how often the right card is found, and what becomes of val questions asked without their choices.

    python bench/open_eval.py retrieval --data FOLDER              # 500 val questions of known skill
    python bench/open_eval.py answers --data FOLDER --n 300        # right, wrong, I don't know; 40 to read
    python bench/open_eval.py answers --data FOLDER --solved       # the same with the train split as solved questions
    python bench/open_eval.py explain --data FOLDER --n 20         # the card's sentence beside the tutor's explanation

An answer is judged by a rule: right if what it names in bold (of a card: all it says) contains the text of the right
choice (up to a colon) and of no other choice, "I don't know" if it says so, else wrong. ScienceQA's texts are written
to runs/open/ only, which git does not keep; `retrieval` writes bench/results/retrieval.json, unless --n is given.
"""
import argparse, csv, json, random, re, sys, time
from pathlib import Path
import numpy as np

# skills of ScienceQA for which a card of another name is right, by hand; a card's own skill is right always
ALSO = {
    'Antebellum Period: slavery and politics part II': 'antebellum civil-war'.split(),
    'Cell part functions: true or false': 'cell-parts cell-jobs plant-animal-cell'.split(),
    'Choose customary units of distance, mass, and volume': [f'customary-{x}' for x in ('distance', 'mass', 'volume')],
    'Choose metric units of distance, mass, and volume': 'metric-distance metric-mass metric-volume'.split(),
    'Cities of the Midwest': 'cities'.split(),
    'Cities of the Northeast': 'cities'.split(),
    'Cities of the Southeast': 'cities'.split(),
    'Cities of the West': 'cities'.split(),
    "Classify changes to Earth's surface I": 'surface-change'.split(),
    "Classify changes to Earth's surface II": 'surface-change'.split(),
    'Classify elementary substances and compounds using chemical formulas': 'formula-class'.split(),
    'Classify elementary substances and compounds using models': 'molecule-class'.split(),
    'Classify figures of speech': 'figure'.split(),
    'Classify figures of speech: euphemism, hyperbole, oxymoron, paradox': 'figure'.split(),
    'Classify figures of speech: review': 'figure figure-contrast'.split(),
    'Classify matter as solid or liquid': 'state'.split(),
    'Classify the figure of speech: anaphora, antithesis, apostrophe, assonance, chiasmus, understatement': ['figure'],
    'Classify the figure of speech: euphemism, hyperbole, oxymoron, paradox': 'figure figure-contrast'.split(),
    'Classify the figure of speech: review': 'figure figure-sounds figure-contrast'.split(),
    'Compare cells and cell parts': 'cell-jobs plant-animal-cell'.split(),
    'Compare magnitudes of magnetic forces': 'magnet-strength'.split(),
    'Compare properties of objects': 'object-properties material'.split(),
    'Describe and construct conifer life cycles': 'cones'.split(),
    'Explore air masses': 'air-mass'.split(),
    'How are temperature and mass related to thermal energy?': 'thermal-energy'.split(),
    'How do balanced and unbalanced forces affect motion?': 'net-force force-pair force-direction'.split(),
    'How is temperature related to thermal energy?': 'thermal-mass'.split(),
    'Identify and sort solids, liquids, and gases': 'state'.split(),
    'Identify animals with and without backbones': 'backbone'.split(),
    'Identify common and scientific names': 'genus'.split(),
    'Identify facts and opinions': 'fact-opinion'.split(),
    'Identify functions of animal cell parts': 'cell-parts'.split(),
    'Identify functions of plant cell parts': 'cell-jobs cell-parts plant-animal-cell'.split(),
    'Identify multiple materials in objects': 'made-of'.split(),
    'Identify oceans and continents': 'oceans continent'.split(),
    'Identify properties of an object': 'material'.split(),
    'Identify rocks and minerals': 'mineral-properties rock-properties'.split(),
    'Identify solids and liquids': 'state'.split(),
    'Identify solids, liquids, and gases': 'state'.split(),
    'Identify state capitals of the Midwest': 'capital'.split(),
    'Identify state capitals of the Northeast': 'capital'.split(),
    'Identify state capitals of the Southeast': 'capital'.split(),
    'Identify state capitals of the West': 'capital'.split(),
    'Identify states of the Midwest': 'regions'.split(),
    'Identify states of the Northeast': 'regions'.split(),
    'Identify states of the Southeast': 'regions'.split(),
    'Inherited and acquired traits: use evidence to support a statement': 'inherited'.split(),
    'Interpret figures of speech': 'figure figure-contrast'.split(),
    'Interpret food webs': 'food-web food-web-matter'.split(),
    'Interpret the figure of speech': 'interpret-figure'.split(),
    'Is it a complete sentence or a run-on?': 'complete run-on'.split(),
    'Is it a complete sentence, a fragment, or a run-on?': 'fragment run-on'.split(),
    'Is the sentence simple or compound?': 'clauses compound-complex'.split(),
    'Is the sentence simple, compound, complex, or compound-complex?': 'clauses'.split(),
    'Is the sentence simple, compound, or complex?': 'compound-complex'.split(),
    'Match chemical formulas to ball-and-stick models': 'molecule-formula'.split(),
    'Oceans and continents': 'oceans continent'.split(),
    'Origins of scientific names': 'names'.split(),
    'Read and understand informational passages': 'passages'.split(),
    'Seed disperser: Eurasian red squirrel': 'seeds-travel'.split(),
    "Select the words that don't belong": 'odd-word'.split(),
    'Understanding cells': 'cell-parts plant-animal-cell'.split(),
    'Use evidence to classify mammals, birds, fish, reptiles, and amphibians': 'evidence-groups animal-group'.split(),
    'Weather and climate around the world': 'weather-climate'.split(),
    'Which text is most formal?': 'formal'.split()}

def plain(text): return ' '.join(re.findall(r"[a-z0-9°/.:]+", re.sub(r'^(an?|the) ', '', text.lower().split(':')[0])))

def judge(text, choices, answer, sure, kind):
    "right, wrong or abstains."
    if not sure: return 'abstains'
    said = re.findall(r'\*\*(.+?)\*\*', text) if kind != 'card' else [text.replace(':', ' ')]
    said = f" {plain(said[0].replace(':', ' ')) if said else ''} "
    inside = [f' {plain(c)} ' in said or f' {plain(c)}.' in said for c in choices]
    return 'right' if inside[answer] and sum(inside) == 1 else 'wrong'

def rows_of(data, split, n=None, seed=0):
    from sciencetutor.data.core import load_split
    import datasets
    ds = load_split(data, split).cast_column('image', datasets.Image(decode=False))
    return ds if n is None else ds.select(sorted(random.Random(seed).sample(range(len(ds)), n)))

def halves(x, y):
    "A logistic curve from one number to a probability: intercept, slope, calibration error of each half's fit."
    from sciencetutor.eval.metrics import calibration
    from sklearn.linear_model import LogisticRegression
    x, y = np.array(x)[:, None], np.array(y)
    fit = lambda i: LogisticRegression(C=1e3).fit(x[i], y[i])
    def error(m, i):
        probs = m.predict_proba(x[i])[:, 1]
        return calibration([dict(scores=[p], correct=ok) for p, ok in zip(probs.tolist(), y[i].tolist())])['ece']
    even, odd = np.arange(0, len(y), 2), np.arange(1, len(y), 2)
    if min(len(set(y[i])) for i in (even, odd)) < 2:
        sys.exit('too few questions to fit a curve on each half of them: give a larger --n')
    m = fit(np.arange(len(y)))
    return m.intercept_[0], m.coef_[0][0], error(fit(even), odd), error(fit(odd), even)

def retrieval(a):
    from sciencetutor.app.retrieval import Index, card_index
    cards, index = card_index()
    right = lambda c, skill: c['skill'] == skill or c['id'] in ALSO.get(skill, ())
    val = [r for r in rows_of(a.data, 'val').remove_columns('image') if r['skill']][:a.n or 500]
    pooled, result = [], dict(questions=len(val), cards=len(cards))
    texts = dict(alone=lambda r: r['hint']+'\n'+r['question'],
                 choices=lambda r: '\n'.join([r['hint'], r['question'], *r['choices']]))
    for name, text in texts.items():
        hits = [[(right(cards[i], r['skill']), s) for i, s in index.best(text(r), 3)] for r in val]
        at1, at3 = [bool(h) and h[0][0] for h in hits], [any(ok for ok, _ in h) for h in hits]
        b0, b1, e1, e2 = halves([h[0][1] if h else 0 for h in hits], at1)
        pooled += [(h[0][1] if h else 0, ok) for h, ok in zip(hits, at1)]
        result[name] = dict(first=sum(at1), among_three=sum(at3), calibration=[round(e, 1) for e in (e1, e2)])
        print(f"right card, question {name:<8} first {sum(at1)}/{len(val)}, among three {sum(at3)}/{len(val)}; "
              f"curve {b0:.2f} {b1:.2f}, calibration error {e1:.1f} and {e2:.1f} points")
    b0, b1, e1, e2 = halves(*zip(*pooled))
    print(f"both pooled: curve {b0:.2f} {b1:.2f}, calibration error {e1:.1f} and {e2:.1f} points")
    train = [r for r in rows_of(a.data, 'train').remove_columns('image') if r['skill']]
    index = Index([r['hint']+' '+r['question'] for r in train])
    hits = [[train[i]['skill'] == r['skill'] for i, _ in index.best(r['hint']+' '+r['question'], 3)] for r in val]
    result['solved'] = dict(train=len(train), first=sum(h[:1] == [True] for h in hits), among_three=sum(map(any, hits)))
    first, three = result['solved']['first'], result['solved']['among_three']
    print(f"solved question of the same skill, of {len(train)} train questions with metadata: "
          f"first {first}/{len(val)}, among three {three}/{len(val)}")
    if a.n is None: (Path(__file__).parent/'results'/'retrieval.json').write_text(json.dumps(result, indent=1)+'\n')

def kind_of(turn):
    "Where an answer came from: abstains, solved, weighed or card."
    if not turn.sure: return 'abstains'
    if turn.sources and turn.sources[0]['kind'] == 'question': return 'solved'
    first = turn.text.split('\n\n')[0]
    return 'weighed' if '**' in first and 'card **' not in first else 'card'

def write_sample(file, told, n=40):
    "Some answers as a table, for a person to read."
    some = random.Random(1).sample(told, min(n, len(told)))
    with open(file, 'w') as f:
        table = csv.writer(f, delimiter='\t')
        table.writerow(list(told[0]))
        for t in some: table.writerow([str(v).replace('\n', ' / ') for v in t.values()])

def answers(a):
    from sciencetutor.app.turns import Turn, reply
    from sciencetutor.engine.core import Engine
    from sciencetutor.data.formats import problem
    from sciencetutor.data.images import open_image
    engine, out = Engine(a.model), Path(a.out)
    engine.quiz_data = a.data if a.solved else None
    out.mkdir(parents=True, exist_ok=True)
    told, start = [], time.time()
    for r in rows_of(a.data, 'val', a.n or 300):
        p = problem(r)
        p['image'] = r['image'] and open_image(r['image']['bytes'], max_side=1024)
        turn = Turn(p['question'], [], p['image'], p['hint'])
        for _ in reply(engine, turn): pass
        kind, question = kind_of(turn), (p['hint']+'\n'+p['question']).strip()
        verdict = judge(turn.text, p['choices'], p['answer'], turn.sure, kind)
        told.append(dict(question=question, picture=p['image'] is not None, gold=p['choices'][p['answer']],
                         choices=p['choices'], answer=turn.text, sure=turn.sure, kind=kind, verdict=verdict))
        if len(told) % 50 == 0: print(len(told), f'{time.time()-start:.0f} s', file=sys.stderr)
    name = 'solved' if a.solved else 'cards'
    (out/f'{name}.jsonl').write_text('\n'.join(json.dumps(t) for t in told))
    write_sample(out/f'read-{name}.tsv', told)
    for kind in ('all', 'weighed', 'card', 'solved', 'abstains'):
        some = [t for t in told if kind in ('all', t['kind'])]
        counts = {v: sum(t['verdict'] == v for t in some) for v in ('right', 'wrong', 'abstains')}
        if some: print(f'{kind:<9} n={len(some):<4}' + ', '.join(f'{v} {n}' for v, n in counts.items()))
    for kind in ('weighed', 'solved'):
        some = [t for t in told if t['kind'] == kind]
        right = [t['verdict'] == 'right' for t in some]
        wrong = [t['verdict'] == 'wrong' for t in some]
        if min(sum(right), sum(wrong)) >= 10:  # fewer can't be fitted in halves
            odds = lambda p: np.log(min(p, .999)/(1-min(p, .999)))
            b0, b1, e1, e2 = halves([odds(t['sure']) for t in some], right)
            print(f'{kind} curve {b0:.2f} {b1:.2f}, calibration errors {e1:.1f} and {e2:.1f} points')

def explain(a):
    from sciencetutor.app.turns import Turn, reply
    from sciencetutor.engine.core import Engine
    from sciencetutor.data.formats import problem
    from sciencetutor.data.images import open_image
    from sciencetutor.app.retrieval import card_says, find_cards
    engine = Engine(a.model)
    for r in rows_of(a.data, 'val', a.n or 20, seed=7):
        p = problem(r)
        p['image'] = r['image'] and open_image(r['image']['bytes'], max_side=1024)
        turn = Turn(p['question'], p['choices'], p['image'], p['hint'])
        for _ in reply(engine, turn): pass
        found = find_cards('\n'.join([p['hint'], p['question'], *p['choices']]))
        print(f"Q {p['hint'][:80]} {p['question'][:160]} {p['choices']}")
        print(f"  gold {p['answer']} said {turn.best} {max(turn.probs):.2f}\n  TUTOR {turn.text}")
        if not found: continue
        says = card_says(found[0], p['question']+' '+p['choices'][turn.best])
        print('  CARD', found[0]['title'], found[0]['sure'], says, flush=True)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['retrieval', 'answers', 'explain'])
    parser.add_argument('--data', required=True, help='data set folder of `sciencetutor data`')
    parser.add_argument('--model', default='tutor')
    parser.add_argument('--n', type=int)
    parser.add_argument('--solved', action='store_true', help='the train split as solved questions')
    parser.add_argument('--out', default='runs/open')
    a = parser.parse_args()
    globals()[a.what](a)
