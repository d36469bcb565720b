"Questions that follow another."
import json, re
from dataclasses import replace
import numpy as np, pytest

from sciencetutor.app.answers import ASK, SURE, TELL, UNSURE, Answer, converse, follow_up, last_shown, make_follow_ups
from sciencetutor.app.cards import Card, load_cards
from sciencetutor.app.follow_ups import (
    LEAST, READINGS, Example, Last, follow_examples, follow_odds, named, of_another, point_name, readings)
from sciencetutor.app.retrieval import Finder, finder

POND = Card('pond', 'The pond of our school', [2, 5], 'Our pond has newts because the water is clean.',
            ['what lives in our school pond', 'why are there newts in our pond', 'is our pond clean'],
            also=[(['is the pond deep', 'does the pond go deep'], 'Yes, the pond is two meters deep.'),
                  (['who feeds the fish in the pond'], 'Nobody does. There are no fish.')])
ASKED = 'what lives in our school pond'


@pytest.fixture(scope='module')
def find(): return finder()


@pytest.fixture(scope='module')
def own(): return Finder([POND, *load_cards()[:50]])


@pytest.fixture
def last(): return Last(ASKED, POND.answer, [POND])


def said_after(find, before, text): return converse(text, find, before=[(before, converse(before, find))])


def test_a_message_is_read_in_ways(last):
    ways = readings('is it deep', last)
    assert list(ways) == list(READINGS) and ways['alone'] == ['is it deep'] and ways['another'] == []
    assert ways['question'] == [f'{ASKED} is it deep'] and ways['subject'] == ['school pond is it deep']
    assert ways['named'][0] == 'is school pond deep'
    assert named('is the water deep', last) == []  # nothing stands for anything


def test_and_another():
    assert 'how high can a flea jump' in of_another('and a flea', 'how high can a kangaroo jump')
    for text in ('a flea', 'and', 'and one two three four five'): assert not of_another(text, 'how high can it jump')
    assert not of_another('and a flea', 'jump '*40)


def test_what_stands_beside_the_card_is_said_without_it(own):
    first = converse(ASKED, own)
    then = converse('is it deep', own, before=[(ASKED, first)])
    assert then.kind == 'follow-up' and then.text.endswith('Yes, the pond is two meters deep.')
    assert 'newts' not in then.text and then.found[0].card.id == 'pond'


def test_the_subject_outlives_a_second_follow_up(own):
    turns = []
    for text in (ASKED, 'is it deep', 'tell me more', 'is it clean'):
        turns.append((text, converse(text, own, 4, turns)))
    assert [last_shown(turns[:n], own).question for n in (1, 2, 3, 4)] == [
        ASKED, 'is school pond deep', 'is school pond deep', 'is school pond clean']
    assert last_shown([*turns[:1], ('and the newts', turns[0][1])], own).question == 'school pond and the newts'


def test_a_new_topic_in_a_chain_keeps_its_own_words(find):
    turns = []
    for text in ('what is a noun', 'how do magnets work'): turns.append((text, converse(text, find, 4, turns)))
    assert last_shown(turns, find).question == 'how do magnets work'
    wishes = [('tell me more', turns[-1][1])]*6
    assert last_shown(turns+wishes, find).question == 'how do magnets work'


def test_the_same_card_is_not_shown_once_more(own, monkeypatch):
    card, first = replace(own.cards[0], deeper='Newts breathe with gills at first.'), converse(ASKED, own)
    shown = replace(first, found=[first.found[0]._replace(card=card)])
    near = shown.found[0]._replace(direct='', sure=.3)
    monkeypatch.setattr(Finder, 'follow', lambda *a: [near])
    said = follow_up('who painted it', own, 4, [(ASKED, shown)])
    assert said.kind == 'nearest' and said.text == UNSURE+card.deeper
    assert card.deeper not in follow_up('who painted it', own, 4, [(ASKED, shown), ('more', said)]).text
    monkeypatch.setattr(Finder, 'follow', lambda *a: [near._replace(sure=0.)])
    assert follow_up('who painted it', own, 4, [(ASKED, shown)]).kind == 'unknown'


def test_it_is_said_how_sure_that_is(own, monkeypatch):
    last = (ASKED, converse(ASKED, own))
    openings = {.9: '', .6: 'I think this is what you ask. ', .3: UNSURE}
    found = own.follow('is the pond deep', last_shown([last], own))
    assert found[0].direct
    for sure, opening in openings.items():
        monkeypatch.setattr(Finder, 'follow', lambda *a, sure=sure: [found[0]._replace(sure=sure)])
        assert ASK < sure and follow_up('is it deep', own, 4, [last]).text == opening+found[0].direct
    monkeypatch.setattr(Finder, 'follow', lambda *a: [found[0]._replace(sure=ASK/2)])
    assert follow_up('is it deep', own, 4, [last]).kind == 'unknown'
    assert ASK < TELL < SURE


def test_what_was_said_is_not_said_again(own, last):
    sure = {f.card.id: f.sure for f in own.follow('why are there newts', last)}
    again = last._replace(said='Nothing.')
    assert sure.get('pond', 0) < {f.card.id: f.sure for f in own.follow('why are there newts', again)}['pond']


def test_who_changes_the_topic_is_understood(find):
    assert said_after(find, 'what is a noun', 'why is the sky blue').found[0].card.id == 'sky-blue'
    assert 'flamingo' in said_after(find, 'what is a noun', 'why are flamingos pink').found[0].card.id


def test_candidates(own, last):
    points, found, rows = own.follow_candidates('is it deep', last)
    assert len(points) == len(found) == len(rows) and rows.shape[1] == 11
    assert (rows[:, :5] >= LEAST).all() and (rows[:, 5] == rows[:, :5].max(1)).all()
    assert all(own.place(p)[0] == own.cards.index(f.card) for p, f in zip(points, found))


def test_nothing_that_may_be_said(own, last, monkeypatch):
    monkeypatch.setattr(Finder, 'direct', lambda *a: None)
    assert [(f.card.id, f.sure) for f in own.follow('is it deep', last)] == [('pond', 0.)]


def test_learning(own, last):
    deep, fish = ('pond', 'is the pond deep'), ('pond', 'who feeds the fish in the pond')
    examples = [Example(last, 'is it deep', [deep], []), Example(last, 'who feeds them', [fish], []),
                Example(last, 'is it deep', [], [deep]), Example(last, 'who won the cup', [], [])]
    rows, good = follow_examples(own, examples)
    assert [int(g.sum()) for g in good] == [1, 1, 0, 0] and len(rows[2]) == len(rows[0])-1
    assert np.isfinite(follow_odds(rows, good)).all()
    assert point_name(own, 0) == ('pond', '')


def test_made_from_a_file(tmp_path):
    find = finder()
    beside = [(c, a[0]) for c in find.cards if c.also and c.id in ('light-rainbow', 'ice-float') for a, _ in c.also]
    asked = [dict(before='what is a rainbow', text=a, good=[[c.id, a]], without=[]) for c, a in beside]
    asked += [dict(before='what is a rainbow', text='who won the cup', good=[], without=[])]*3
    file, out = tmp_path/'asked.jsonl', tmp_path/'w.safetensors'
    file.write_text('\n'.join(map(json.dumps, asked)))
    report = make_follow_ups(str(file), str(out))
    assert out.stat().st_size < 1000 and report['follow_ups'] == len(asked)
    assert 0 < report['chosen_well'] <= report['answerable'] < 100


def test_no_card_before_is_no_follow_up(find):
    before = [('hello', Answer('Hello!', 'talk'))]
    assert re.search('ice', converse('why does ice float', find, before=before).text, re.I)
