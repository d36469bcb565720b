"Metrics against independent computations and the published table."
import json, math, random
from pathlib import Path

import pytest
import scipy.stats  # loaded here, so that its import does not count as time of the first example
from fastcore.script import CliError
from hypothesis import given, strategies as st

from sciencetutor.eval.metrics import (CLASSES, by_class, calibration, compare, hardest, judge, mcnemar, metrics,
                                       summary, total_line, wilson)

row = dict(id='val-0', pid='1', choices=['a', 'b'], answer_index=1, hint='', image=None, subject='natural science',
           topic='physics', skill='s', grade='grade3')


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_is_the_inverted_score_test(k, n):
    k = min(k, n)
    lo, hi = wilson(k, n)
    assert 0 <= lo <= 100*k/n + 1e-9 and 100*k/n - 1e-9 <= hi <= 100
    for p in (lo/100, hi/100):
        if 1e-9 < p < 1-1e-9: assert abs(k/n - p)/math.sqrt(p*(1-p)/n) == pytest.approx(1.959964, rel=1e-4)


def test_mcnemar_by_enumeration():
    for b in range(8):
        for c in range(8):
            n = b + c
            outcomes = [bin(i).count('1') for i in range(2**n)]
            extreme = sum(min(o, n-o) <= min(b, c) for o in outcomes)/2**n
            assert mcnemar(b, c) == pytest.approx(extreme)
    assert mcnemar(900, 901) > .9 and mcnemar(0, 3000) < 1e-300 + 1e-200


def test_classes_overlap_as_the_authors_have_it():
    qs = [judge(dict(row, hint=h, image=i), 1) for h in ('', 'N/A', 'a hint') for i in (None, 'picture')]
    c = by_class(qs)
    assert (c['TXT']['count'], c['IMG']['count'], c['NO']['count'], c['Avg']['count']) == (2, 3, 2, 6)


def test_grades_and_unknowns():
    qs = [judge(dict(row, grade=f'grade{g}'), 1) for g in range(1, 13)] + [judge(dict(row, grade='', subject=''), 1)]
    c = by_class(qs)
    assert [c[k]['count'] for k in ('G1-6', 'G7-12', 'unknown grade', 'unknown subject')] == [6, 6, 1, 1]


def test_unread_counts_as_wrong_and_is_counted():
    m = metrics([judge(row, -1), judge(row, 1)])
    assert (m['acc'], m['unread'], m['correct'], m['count']) == (50, 1, 1, 2)
    assert total_line(m) == 'Total: 2, Correct: 1, Accuracy: 50.00%, IMG-Accuracy: -%'


def test_chance_of_mixed_questions():
    assert summary([judge(row, 0), judge(dict(row, choices=list('abcd')), 0)])['chance'] == 100*(1/2 + 1/4)/2


def test_calibration_bins_hold_everyone():
    rng = random.Random(0)
    qs = [judge(row, 1, [p, 1-p]) for p in [rng.random() for _ in range(500)] + [0., .5, 1.]]
    c = calibration(qs)
    assert sum(b['count'] for b in c['bins']) == 503 and 0 <= c['ece'] <= 100


def test_compare_needs_the_same_questions():
    with pytest.raises(CliError, match='in one run only'): compare([judge(row, 1)], [judge(dict(row, id='val-1'), 1)])
    same = compare([judge(row, 1)], [judge(row, 1)])
    assert (same['diff'], same['p'], same['gained'], same['lost']) == (0, 1, [], [])


def test_hardest_leaves_out_rare_and_unknown():
    qs = [judge(dict(row, skill=skill), 0) for skill in ['']*5 + ['rare'] + ['known']*4]
    assert list(hardest(qs)) == ['known']


def test_published_files_give_the_published_table(scienceqa, capsys):
    from sciencetutor.eval.core import run_score
    table = Path(scienceqa, 'README.md').read_text()
    for file in sorted(Path(scienceqa, 'results').glob('*.json')):
        m = run_score(str(file), source=scienceqa, split='minitest', splits=f'{scienceqa}/local_splits.json')
        printed = capsys.readouterr().out.strip().splitlines()[-1]
        assert printed in table, file.name
        authors = json.loads(file.read_text())['accuracy_by_class']
        for k in [*CLASSES, 'Avg']:
            ours = m['classes'][k]
            assert (ours['count'], round(ours['acc'], 2)) == (authors[k]['n'], authors[k]['accuracy'])


def test_two_published_runs_compared(scienceqa):
    from sciencetutor.eval.core import run_score
    a, b = (f'{scienceqa}/results/{n}.json' for n in ('gpt3_qcm_ale_2shot', 'llava_13b_v0'))
    c = run_score(b, source=scienceqa, split='minitest', splits=f'{scienceqa}/local_splits.json', against=a)['against']
    assert round(c['first'], 2) == 78.07 and round(c['second'], 2) == 90.80 and c['p'] < 1e-6
    assert len(c['gained']) - len(c['lost']) == 385 - 331
