"What is said: straight, yes or no, corrected, compared, followed up, in other languages, or not at all."
import re

import pytest

from sciencetutor.app.answers import (Answer, bare, compared, converse, false_premise, leans_on_last, meet_wish,
                                      nearest_card, other_language, overlap, say_card, small_talk, tell_card, verdict,
                                      wants_yes_or_no, wish_of)
from sciencetutor.app.cards import Card
from sciencetutor.app.retrieval import Found, finder

ICE = Card('ice', 'Why ice floats', [2, 5], 'Ice floats because it is less dense than water.', ['why does ice float'],
           deeper='Its molecules stand farther apart.', example='An ice cube in a glass.',
           facts=['Ice is less dense than water.', 'Ice floats on water.'],
           misconceptions=[['Ice is heavier than water.', 'Ice is lighter than the same amount of water.']],
           check=dict(question='What floats?', choices=['ice', 'iron'], answer='ice'),
           activity='Put an ice cube into a glass of water.', care='Never walk on a frozen pond.')


@pytest.fixture(scope='module')
def find(): return finder()


@pytest.mark.parametrize('question, expected', [
    ('Is ice less dense than water?', 'yes'), ('does ice float on water', 'yes'), ('Is ice heavier than water?', 'no'),
    ('my brother says ice is heavier than water is that true', 'no'),
    ('is it true that ice floats on water', 'yes'), ('Is ice not less dense than water?', None),
    ('Is ice slippery?', None), ('Why does ice float?', None), ('can you tell me if ice floats', None),
])
def test_yes_or_no(question, expected): assert (verdict(question, [ICE]) or (None,))[0] == expected


def test_what_is_faster_than_what():
    light = Card('light', 'Light and sound', [3, 6], 'Light is faster.', ['x'], facts=['Light is faster than sound.'])
    assert verdict('is light faster than sound', [light])[0] == 'yes'
    assert verdict('is sound faster than light', [light]) is None


@pytest.mark.parametrize('fact, asked, expected', [
    ('Water conducts electricity.', 'does pure water conduct electricity', None),
    ('Thunder is caused by lightning.', 'is lightning caused by thunder', None),
    ('Thunder is caused by lightning.', 'is thunder caused by lightning', 'yes'),
    ('Unlike charges attract.', 'do like charges attract', None),
    ('Unlike charges attract.', 'do unlike charges attract', 'yes')])
def test_yes_is_said_of_the_very_thing(fact, asked, expected):
    card = Card('x', 'X', [3, 6], 'X.', ['x'], facts=[fact])
    assert (verdict(asked, [card]) or (None,))[0] == expected


def test_no_comes_with_the_truth():
    assert verdict('Is ice heavier than water?', [ICE]) == ('no', ICE.misconceptions[0][1])
    assert say_card(ICE, 'no', ICE.misconceptions[0][1]).startswith('No. Ice is lighter')


def test_a_false_premise_is_corrected():
    assert false_premise('why is ice heavier than water', ICE) == ICE.misconceptions[0][1]
    assert false_premise('why does ice float on water', ICE) == ''


def test_a_card_is_said_whole():
    text = say_card(ICE)
    assert text.startswith(ICE.answer) and ICE.care in text
    assert ICE.deeper in say_card(ICE, grade=7) and ICE.deeper not in say_card(ICE, grade=3)


def test_statements():
    assert wants_yes_or_no('Do you know why ice floats?') is None and wants_yes_or_no('is it a frog or a toad') is None
    assert overlap('Ice floats on water', 'Does water float on ice?') == 1 and overlap('', 'x') == 0


@pytest.mark.parametrize('text, kind', [
    ('hi!', 'hello'), ('thank you so much', 'thanks'), ('who are you', 'who'), ('bye', 'bye'),
    ('im so confused', 'lost'), ('this is boring', 'bored'),
])
def test_talk(text, kind): assert (small_talk(text) or ('',))[0] == kind


@pytest.mark.parametrize('text, says', [
    ('tell me something funny', 'science tutor'), ('write my essay about volcanoes', "won't do your work"),
    ('what is my middle name', "can't know"), ('will it rain on my birthday next year', 'Nobody can know'),
    ('whats the best animal in the world', 'opinion'), ('who is going to win the election', 'Nobody can know'),
    ('what is 6 plus 9', 'math'), ('how do u say cat in spanish', 'not one of my subjects'),
])
def test_messages_that_want_no_card(find, text, says):
    answer = converse(text, find)
    assert answer.kind == 'talk' and says in answer.text and not answer.found, (answer.kind, answer.text)


@pytest.mark.parametrize('text', [
    'who eats who in a food chain', 'how do i read a map key', 'why is ice slippery', 'how do you kill germs',
    'is a whale a fish', 'what is a joke', 'what will happen to the water if i heat it',
    'how many bones are in my body', 'are sharks fish', 'what is the biggest animal', 'how do plants make food',
    'do fish sleep',
])
def test_questions_are_no_talk(text): assert small_talk(text) is None and wish_of(text) is None


@pytest.mark.parametrize('text, wish', [
    ('why?', 'why'), ('how come', 'why'), ('more', 'more'), ('tell me more about it', 'more'),
    ('give me an example', 'example'), ('like what', 'example'), ('easier please', 'easier'),
    ('i dont get it', 'easier'), ("I don't understand", 'easier'), ('huh?', 'easier'),
    ('can i try it at home', 'activity'), ('quiz me', 'quiz'),
])
def test_wishes(text, wish): assert wish_of(text) == wish


def test_a_wish_is_met_from_the_card():
    assert ICE.example in meet_wish('example', ICE) and meet_wish('activity', ICE) == ICE.activity
    assert meet_wish('more', ICE) == ICE.deeper
    assert 'What floats?' in meet_wish('quiz', ICE) and 'less dense' in meet_wish('easier', ICE)
    assert meet_wish('more', ICE, said=ICE.deeper) != ICE.deeper


@pytest.mark.parametrize('text, pair', [
    ('difference between a frog and a toad', ('frog', 'toad')), ('Atom vs molecule', ('atom', 'molecule')),
    ('how is mass different from weight', ('mass', 'weight')), ('what is a frog', None),
])
def test_compared(text, pair): assert compared(text) == pair


@pytest.mark.parametrize('text, language', [
    ('¿Por qué el cielo es azul?', 'es'), ('Pourquoi le ciel est bleu ?', 'fr'), ('天空为什么是蓝色的', 'zh'),
    ('आसमान नीला क्यों है', 'hi'), ('لماذا السماء زرقاء', 'ar'), ('Почему небо голубое', 'ru'),
    ('আকাশ নীল কেন', 'bn'), ('آسمان نیلا کیوں ہے ٹھیک', 'ur'), ('Por que o céu é azul?', 'pt'),
    ('Mengapa langit itu biru?', 'id'), ('wat is a baloon made of', None), ('why is la paz so high', None),
    ('balance H2 + O2 = H2O', None), ('as brave as a lion?', None), ('quick as a cat', None),
    ('as abelhas no inverno dormem', 'pt'), ('as folhas no outono me encantam', 'pt'),
])
def test_other_languages(text, language): assert other_language(text) == language


def test_conversation(find):
    first = converse('why does ice float', find)
    assert first.kind == 'card' and first.found and 'dense' in first.text
    before = [('why does ice float', first)]
    more = converse('more', find, before=before)
    assert more.kind == 'follow-up' and more.found[0].card.id == first.found[0].card.id and more.text != first.text
    assert converse('thanks', find, before=before).kind == 'talk'
    assert converse('why are flamingos pink', find, before=before).found[0].card.id == 'flamingo-why-pink'
    assert converse('i dont get it', find).kind == 'talk'


@pytest.mark.parametrize('text', ['', '   ', '🌋🌋', '???', '...'])
def test_no_words(find, text): assert converse(text, find).kind == 'talk'


def test_nothing_is_made_up(find):
    a = converse('who won the football match last night', find)
    assert a.kind in ('unknown', 'talk') and not a.found
    assert converse('what is shown in the picture', find).text.startswith("I can't see")


def test_a_question_beside_the_card_is_answered_first():
    text = tell_card('does ice float in oil', [Found(ICE, .9, 'In most oils it sinks.')], 4).text
    assert text.startswith('In most oils it sinks.') and ICE.answer in text and ICE.care in text
    short = tell_card('does ice float in oil', [Found(ICE, .9, 'In most oils it sinks.')], 1).text
    assert ICE.answer not in short and ICE.care in short  # little ones read little, and are warned all the same


def test_a_near_card_is_no_answer():
    answer = nearest_card([Found(ICE, .3), Found(ICE, .2)])
    assert answer.kind == 'nearest' and answer.text.startswith('I am not sure') and ICE.answer in answer.text


def test_a_teachers_card_is_named_as_theirs():
    from dataclasses import replace
    assert 'From the cards of grade-4' in say_card(replace(ICE, owner='grade-4')) and 'From' not in say_card(ICE)


@pytest.mark.parametrize('before, text, card, said', [
    ('what is a rainbow', 'can i touch it', 'light-rainbow', 'No'),
    ('Why does Saturn have rings?', 'does any other planet have that', 'planet-rings', 'Uranus')])
def test_a_follow_up_is_answered_by_what_stands_beside_the_card(find, before, text, card, said):
    first = converse(before, find)
    then = converse(text, find, before=[(before, first)])
    assert said in ' '.join(re.split(r'(?<=[.])\s', then.text)[:2]), then.text


@pytest.mark.parametrize('before,text,card,said', [
    ('What are lungs for?', 'How many of them do I have?', 'breath-lungs-do', 'two'),  # not: breaths a day
    ('what is an article in grammar', 'how many are there', 'article-a-an-the', ''),  # not: nuclear weapons
    ('whats a force', 'is gravity one', 'force-push-or-pull', 'gravity')])
def test_a_follow_up_stays_with_what_was_asked(find, before, text, card, said):
    then = converse(text, find, before=[(before, converse(before, find))])
    assert then.found[0].card.id == card and said in then.text.lower(), then.text


def test_a_follow_up_of_unknown_words_is_unknown(find):
    before = 'what is a rainbow'
    assert converse('zzgh qwrt', find, before=[(before, converse(before, find))]).kind == 'unknown'


def test_it_is_what_was_asked_about_or_answered(find):
    before = 'what is the biggest planet'
    said = converse('could you stand on it', find, before=[(before, converse(before, find))])
    assert said.found[0].card.id == 'jupiter-what' and 'stand' in said.text


def test_a_word_is_spelled_out(find):
    assert 'w-e-d-n-e-s-d-a-y' in converse('how is wensday spelled', find).text.lower()
    assert 'd-i-n-o-s-a-u-r' in converse('can you spell dinasor please', find).text
    assert 'spell **' not in converse('how do i cast a spell', find).text


def test_leaning():
    assert leans_on_last('and a whale?') and leans_on_last('how fast tho')
    assert not leans_on_last('why do leaves change color in autumn every year')


def test_bare(): assert bare("What's THAT?!") == 'whats that' and isinstance(Answer('x', 'talk'), Answer)
