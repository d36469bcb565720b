"The cards: their form, that all of them are whole, and what is said about those that are not."
import shutil
from collections import Counter

import pytest
from fastcore.script import CliError

from sciencetutor.app.cards import (BANDS, IDEAS, KNOWLEDGE, PAGE_FILE, card_fields, check_folder, coverage,
                                    field_faults, field_of, load_cards, make_card, parse_cards, part_faults,
                                    place_card, read_folder, run_check, save_card, too_hard)

GOOD = '''topic: Ice
cards:
- id: ice-floats
  title: Why ice floats
  grades: 3-6
  answer: Ice floats because it is less dense than water.
  asked: [why does ice float]
'''


@pytest.fixture(scope='module')
def cards(): return load_cards()


def test_our_cards_are_whole(cards):
    found, faults = check_folder(KNOWLEDGE)
    assert faults == [] and len(found) == len(cards) >= 1500
    for card in cards:
        assert card.idea in IDEAS and 25 <= len(card.answer.split()) <= 95, card.id
        assert card.deeper and card.example and card.misconceptions, card.id
        assert len(card.asked) >= 6 and len(card.facts) >= 2, card.id
        assert len(card.hints) == 2 and len(card.keywords) >= 3 and card.related, card.id
        assert 3 <= len(card.check['choices']) <= 5, card.id
        assert card.grades[0] <= card.grades[1], card.id


def test_questions_beside_the_cards(cards):
    for card in cards:
        for asks, says in card.also: assert asks and 6 <= len(says.split()) <= 80, (card.id, says)
    assert sum(len(c.also) for c in cards) >= 1000
    assert list(part_faults({'also': [{'asks': 'why', 'says': 'so'}]})) == [
        'also must be a list of asks (a list of texts) and says (a text)']


def test_nothing_is_missing(cards):
    table = coverage(cards)
    empty = [(idea, band) for idea, row in table.items() for band in BANDS if not row[band]]
    assert not empty
    assert sum(bool(c.activity) for c in cards) >= 300
    assert sum(bool(c.care) for c in cards) >= 100


def test_children_can_read_them(cards):
    assert [c.id for c in cards if too_hard(c)] == []


def test_no_way_to_ask_leads_to_two_cards(cards):
    "Some do; they are few, and a third card must not join them."
    asked = Counter(a.lower().strip(' ?') for c in cards for a in set(c.asked))
    assert sum(n > 1 for n in asked.values()) < .03*len(asked)


@pytest.mark.parametrize('change, line, says', [
    ('  title: Why ice floats\n', 3, "the field 'title' is missing"),
    ('  answer: Ice floats because it is less dense than water.\n', 3, "the field 'answer' is missing"),
    ('  grades: 3-6\n', 3, "the field 'grades' is missing"),
])
def test_a_missing_field_is_named(change, line, says):
    _, faults, _ = parse_cards(GOOD.replace(change, ''), 'ice.yaml')
    assert [(f.file, f.line, f.says) for f in faults] == [('ice.yaml', line, says)]


@pytest.mark.parametrize('raw, says', [
    (dict(answer=True), 'answer must be a text'), (dict(asked=['a', 1]), 'asked must be a list of texts'),
    (dict(grades='4'), 'must be like 1-4'),
    (dict(colour='blue'), "there is no field 'colour'"), (dict(id='Ice floats'), 'small letters'),
])
def test_what_a_field_must_be(raw, says):
    whole = dict(id='ice', title='Ice', grades='1-3', answer='Ice is cold.', asked=['ice']) | raw
    assert any(says in f for f in field_faults(whole))


def test_a_folder(tmp_path):
    (tmp_path/'a.yaml').write_text(GOOD)
    (tmp_path/'b.yaml').write_text(GOOD.replace('ice-floats', 'ice-sinks') + '  related: [nothing-here, ice-floats]\n')
    with pytest.raises(CliError,
                       match=r"b\.yaml:3: ice-sinks: related: there is no card 'nothing-here'"): read_folder(tmp_path)
    (tmp_path/'b.yaml').write_text(GOOD)
    with pytest.raises(CliError,
                       match=r'b\.yaml:3: ice-floats: this id is there already, in a\.yaml'): read_folder(tmp_path)
    (tmp_path/'b.yaml').write_text('cards: [')
    with pytest.raises(CliError, match='this is not YAML'): read_folder(tmp_path)
    (tmp_path/'b.yaml').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(CliError, match='could not be read'): read_folder(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    with pytest.raises(CliError, match='no cards here'): read_folder(tmp_path)


def test_a_teachers_card_comes_first(tmp_path, cards):
    taken = cards[5].id
    (tmp_path/'mine.yaml').write_text(GOOD.replace('ice-floats', taken))
    both = load_cards(str(tmp_path))
    assert len(both) == len(cards) and both[0].title == 'Why ice floats'
    assert both[0].id == taken and both[0].owner == tmp_path.name
    with pytest.raises(CliError, match='no such folder'): load_cards(str(tmp_path/'nowhere'))


def test_check_command(tmp_path, capsys):
    (tmp_path/'mine.yaml').write_text(GOOD)
    run_check(str(tmp_path))
    assert '1 good card, 0 faults' in capsys.readouterr().out
    (tmp_path/'mine.yaml').write_text(GOOD.replace('grades: 3-6', 'grades: all'))
    with pytest.raises(CliError, match='1 fault in'): run_check(str(tmp_path/'mine.yaml'))
    assert "mine.yaml:3: ice-floats: grades 'all' must be like 1-4" in capsys.readouterr().out
    with pytest.raises(CliError, match='could not be read'): run_check(str(tmp_path/'none.yaml'))


def test_a_card_goes_back_into_its_file(cards):
    assert all(make_card(card_fields(c), c.topic, c.owner) == c for c in cards)


@pytest.mark.parametrize('head', ['', '# Für die Klasse 3ü 🧊\n', 'about: >-\n  Längst\n  gefroren ❄\n'])
def test_a_card_is_replaced_in_its_place(head):
    second = GOOD.partition('cards:\n')[2].replace('ice-floats', 'ice-sinks')
    two = f'{head}{GOOD}  # why not\n\n# the next one\n{second}'
    new = dict(id='ice-floats', title='Öl', grades='1-2', answer='yes', asked=['no', '3', 'a: b'])
    text = place_card(two, new)
    found, faults, _ = parse_cards(text, 'x.yaml')
    assert not faults and [c.id for c in found] == ['ice-floats', 'ice-sinks'] and found[0] == make_card(new, 'Ice')
    assert text.startswith(head) and '# the next one\n- id: ice-sinks' in text
    assert [c.id for c in parse_cards(place_card(text, new | dict(id='third')), 'x')[0]][2:] == ['third']


def test_a_card_is_saved_in_its_folder(tmp_path):
    new, mine = dict(id='zork', title='Zork', grades='1-2', answer='A toy.', asked=['what']), tmp_path/'cards'
    mine.mkdir()
    assert load_cards(str(mine)) == load_cards()  # an empty folder is one to begin with
    (mine/'ice.yaml').write_text(GOOD)
    check = dict(question='q', choices=['a', 'b'], answer='c')
    for bad, field in ((dict(id='../../x'), 'id'), (dict(grades='all'), 'grades'), (dict(answer=''), 'answer'),
                       (dict(check=check), 'check'), (dict(related=['nope']), 'related')):
        faults = save_card(str(mine), new | bad)
        assert faults and field_of(faults[0]) == field, faults
    assert save_card(str(mine), new | dict(id='ice-floats'), new=True) == [
        'this id is there already: correct that card, or choose another']
    assert [p.name for p in tmp_path.rglob('*.yaml')] == ['ice.yaml'] and (mine/'ice.yaml').read_text() == GOOD
    assert save_card(str(mine), new, new=True) == [] and save_card(str(mine), new | dict(id='ice-floats')) == []
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['cards', PAGE_FILE, 'ice.yaml']
    assert {c.id: c.title for c in read_folder(mine)} == {'zork': 'Zork', 'ice-floats': 'Zork'}
    (mine/'ice.yaml').write_text('cards: [{id: flow, title: F, grades: 1-2, answer: a, asked: [b]}]')
    assert 'correct it there' in save_card(str(mine), new | dict(id='flow'))[0]
