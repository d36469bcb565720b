"Teaching without a page."
import random
import pytest
from sciencetutor.app.cards import load_cards
from sciencetutor.app.teaching import (KNOWN0, MASTERED, card_bank, class_table, draw_quiz, gives_away, hints,
                                       join_banks, next_skill, print_quiz, sample_bank, share, simulate, trace)
from sciencetutor.app.turns import find_cards

def test_tracing_by_hand():
    "Corbett & Anderson 1995, section 3: P(L|right) = P(L)(1-S) / (P(L)(1-S) + (1-P(L))G), then learning."
    seen = .4*.9/(.4*.9+.6*.25)
    assert trace(.4, True, 4) == pytest.approx(seen+(1-seen)*.05)
    seen = .4*.1/(.4*.1+.6*.75)
    assert trace(.4, False, 4) == pytest.approx(seen+(1-seen)*.05)
    assert trace(.4, True, 2) < trace(.4, True, 4) and trace(.4, False, 4) < .4 < trace(.4, True, 2)

def test_most_children_are_judged_right(): assert share(k == m for _, k, m, _ in simulate(200, seed=1)) > .9

def test_what_next():
    skills, at = [dict(skill=s) for s in 'ABC'], lambda k: dict(known=k, asked=3)
    assert next_skill(skills, {'A': at(.8)}) == ('A', 'nearly')
    assert next_skill(skills, {'A': at(.5), 'B': at(.4)}) == ('A', 'begun')
    assert next_skill(skills, {'A': at(.1)})[1] == 'new'  # the hard one rests
    assert next_skill(skills, {s: at(.1) for s in 'ABC'})[1] == 'begun'
    assert next_skill(skills, {s: at(MASTERED) for s in 'ABC'})[1] == 'review'
    assert next_skill(skills, {'A': at(.8), 'B': at(.5)}, ['A', 'A'])[0] == 'B'
    assert next_skill(skills[:1], {'A': at(.8)}, ['A', 'A'])[0] == 'A'

def test_hints_never_tell_before_the_end():
    for p in draw_quiz(sample_bank(), 100, seed=2):
        ladder = hints(p['question'], p['choices'], p['answer'], find_cards(p['question']))
        assert ladder[-1] == {'kind': 'answer'} and all(h['kind'] != 'answer' for h in ladder[:-1])
        for h in ladder:
            assert h['kind'] != 'rule' or not gives_away(h['text'], p['choices'], p['answer'])
            assert h['kind'] != 'strike' or h['choice'] != p['answer']

def test_hints_without_anything(): assert hints('Why?', [], None, []) == [dict(kind='answer')]

def test_quiz_on_paper_is_escaped_and_complete():
    ps = draw_quiz(sample_bank(), 10, grade=4)
    ps[0] = ps[0] | dict(question='<script>x</script>')
    page = print_quiz(ps)
    assert '<script' not in page and page.count('type="A"') == 10
    assert page.count('data:image/png') == sum(p['image'] is not None for p in ps) and 'http' not in page

def test_bank_picks_by_subject_and_grade():
    bank = sample_bank()
    picked = bank.pick('language science', 2)
    assert picked and all(s['subject'] == 'language science' for s in picked)
    assert all(s['grades'][0] <= 2 <= s['grades'][1] for s in picked)
    assert not bank.pick('alchemy')

def test_class(): assert class_table([('a', {}), ('b', {'X': dict(known=.5)})]) == (['X'], [('a', [None]), ('b', [.5])])

def test_a_guess_strikes_nothing_out():
    choices, sources = ['milk', 'a rock', 'air'], []
    struck = lambda probs: [h['choice'] for h in hints('Which?', choices, 0, sources, probs) if h['kind'] == 'strike']
    assert struck([.5, .3, .2]) == [] and struck([.9, .06, .04]) == [2] and struck([]) in ([1], [2])

def test_a_skill_comes_twice_at_most():
    skills = [dict(skill=s) for s in 'AB']
    assert next_skill(skills, {}, ['A', 'B', 'A'])[0] == 'B' and next_skill(skills[:1], {}, ['A', 'A', 'A'])[0] == 'A'

def test_the_cards_are_a_bank():
    bank, checks = card_bank(load_cards()), {c.check['question']: c.check['answer'] for c in load_cards() if c.check}
    assert all(s['topic'] != 'science' for s in bank.skills) and len(bank.skills) >= 80
    for p in draw_quiz(bank, 50, grade=2):
        assert p['choices'][p['answer']] == checks[p['question']] and p['solution'] and int(p['grade'][5:]) <= 2
    both = join_banks(sample_bank(), bank, bank)
    assert len(both.skills) == len(bank.skills)+len(sample_bank().skills)
