"Which of two points that are near answers the very question."
import json

import numpy as np
import pytest

from sciencetutor.app.answers import answer_question
from sciencetutor.app.cards import TALK, Card, points
from sciencetutor.app.reranking import (Choice, chosen_well, compare, lead, learn_odds, log_odds, pair_features,
                                         question_kind, read_choices, taken_apart)
from sciencetutor.app.retrieval import Pairs, WordIndex, all_pairs, finder, look_at_choices, weights, without
from sciencetutor.app.spelling import Speller


@pytest.fixture(scope='module')
def find(): return finder()


@pytest.mark.parametrize('text, kind', [
    ('Why is the sky blue?', 'reason'), ('how come ice floats', 'reason'), ('How many legs has a fly', 'amount'),
    ('how do bees fly', 'way'), ('what happens if i eat soap', 'case'), ('what if the sun went out', 'case'),
    ('when do bats sleep', 'time'), ('where is it', 'place'), ('who was darwin', 'person'), ('which is bigger', 'one'),
    ('whats a noun', 'thing'), ("isn't it cold", 'yes or no'), ('and is it cold', 'yes or no'),
    ('tell me of ants', 'other'), ('', 'other'), ("so, couldn't it fly", 'yes or no'), ('candy is what', 'thing')])
def test_what_is_asked_for(text, kind): assert question_kind(text) == kind


def test_the_point_with_the_same_words_fits_better():
    question = taken_apart(['how many moons does earth have'])
    fit = taken_apart(['how many moons would fit into earth'], 'About 50, if you melt them.')
    have = taken_apart(['how many moons has earth', 'does earth have one moon'], 'Earth has one moon.')
    near, far = (compare(question, p, len) for p in (have, fit))
    assert near[0] == pytest.approx(1, abs=1e-5) and near[2] > far[2] and near[5] <= far[5]
    assert near[7] and far[7]  # both are asked for by an amount


def test_numbers_and_yes_are_seen():
    point = taken_apart(['is 5 kg heavy'], 'Yes, for a child.')
    assert compare(taken_apart(['is 5 kg heavy']), point, len)[8:] == [False, False]
    assert compare(taken_apart(['why is 7 kg heavy']), point, len)[8:] == [True, True]


def test_a_question_without_words_or_a_point_without_asks():
    for one, other in (([''], ['a']), (['ice'], [])):
        assert np.isfinite(compare(taken_apart(one), taken_apart(other), len)).all()


def test_lead():
    assert lead(np.array([4., 4., 1.])).tolist() == [0, 0, -3] and lead(np.array([2.])).tolist() == [0]
    rows = pair_features(np.zeros((3, 10)), np.zeros(3, bool), np.zeros((3, 5)), np.array([.1, .9, .3]))
    assert rows.shape == (3, 21) and rows[:, 6] == pytest.approx([-.8, .6, -.6])


def test_what_is_learned_from_choices():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(rng.integers(2, 7), 21)) for _ in range(300)]
    good = [r[:, 3] > .8 for r in rows]
    w = learn_odds(np.concatenate(rows), np.concatenate(good))
    odds = log_odds(rows[0], w)
    assert w.shape == (22,) and odds.shape == (len(rows[0]),) and odds.argmax() == rows[0][:, 3].argmax()
    best = np.mean([g[r[:, 3].argmax()] for r, g in zip(rows, good)])  # nothing fits some questions
    assert best-.1 < chosen_well(rows, good).mean() <= best < 1


def test_choices_are_read_and_points_that_came_later_are_left_out(tmp_path, find):
    card = next(c for c in find.cards if len(c.also) > 1)
    shown = [[card.id, ''], [card.id, card.also[1][0][0]], ['no-such-card', '']]
    rows = [dict(question=card.also[0][0][0], shown=shown, good=[1])]  # the best point was not there yet
    (tmp_path/'c.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    choices = read_choices(tmp_path/'c.jsonl')
    assert choices == [Choice(rows[0]['question'], [tuple(s) for s in shown], [1])]
    cards = [card, *find.cards[:20]]
    parts = [p for c in cards for p in points(c)]
    place = np.stack([find.meaning.vectors[find.meaning.starts[find.cards.index(c)]+j]
                      for c in cards for j in range(len(points(c)))])
    assert len(place) == len(parts)
    seen, good = look_at_choices(choices, cards, find.spell, all_pairs(cards, place, find.spell), place, weights())
    assert good[0].tolist() == [False, True] and seen[0].shape == (2, 21)
    assert seen[0][:, 6].max() >= 0  # the lead is over what was there


def test_left_out_ways_to_ask_are_nowhere():
    asks = ['do ants zigzag', 'will ants wobble', 'can ants hover']
    card = Card('a', 'Ants', [1, 2], 'Ants are insects.', ['what is an ant', 'tell me of ants', 'are ants insects'],
                also=[(asks, 'Some do.')])
    spell, kept = Speller([card]), without([card])[0]
    words = {'zigzag', 'wobbl', 'hover'}
    assert len(kept.asked) == len(kept.also[0][0]) == 2 and kept.also[0][1] == 'Some do.'
    assert words <= WordIndex([card], spell).stems.keys() and len(words & WordIndex([kept], spell).stems.keys()) == 2
    hello = Card('hello', 'Hello', [1, 8], 'Hi!', ['hi', 'hello', 'hey'], topic=TALK)
    assert without([hello]) == [hello]  # each of its ways to ask is a point


def test_as_many_points_as_there_are():
    apart = [taken_apart([a]) for a in ('what is ice', 'why is ice cold', 'what is fire')]
    cards = [Card(str(i), t, [1, 2], t, [t]) for i, t in enumerate(('ice', 'fire'))]
    pairs = Pairs(apart.__getitem__, np.array([0, 2]), np.eye(2, dtype=bool), WordIndex(cards, Speller(cards)))
    points, rows = pairs('why is ice cold', np.array([.5, .9, .1]))
    assert points[0] == 1 and sorted(points) == [0, 1, 2] and rows.shape == (3, 21)
