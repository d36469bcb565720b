"Cards and solved questions: what is found, what is said, and when the tutor does not know."
import pytest
from sciencetutor.app.turns import Turn, answer_open, looks_up, reply
from sciencetutor.engine.core import Engine
from sciencetutor.app.retrieval import LEAST, PHRASES, SURE, Index, Solved, WISH, card_says, find_cards, inner_choices, look_up, needs_choices, solved, sure_key, terms
from sciencetutor.resources import cards

T = PHRASES['en']

def test_index():
    ix = Index(["Magnets attract.", "Plants make food.", "Plants and magnets."])
    assert [i for i, _ in ix.best("magnets attract", 2)] == [0, 2] and ix.best("unheard", 2) == []
    assert ix.covered("do magnets attract", "Magnets attract.") == 1 and ix.covered("do magnets float", "Magnets attract.") < .5 and ix.covered("", "x") == 0
    assert ix.known("plants", 1) == 1 and ix.known("plants", 0) == 0
    assert terms("How do volcanoes erupt?")[1:] == terms("eruptions") and terms("Why?") == []

@pytest.mark.parametrize('question,card', [("Why is the sky blue?", 'sky'), ("what is gravity", 'gravity'), ("Why does ice float on water?", 'density'), ("How does a volcano erupt?", 'volcano'), ("Why do we have seasons?", 'day-night'),
    ("What is photosynthesis?", 'photosynthesis'), ("When did the Civil War begin?", 'civil-war'), ("Is this a run-on sentence?", 'run-on'), ("Will these magnets attract or repel each other?", 'magnets')])
def test_the_card_that_fits(question, card): assert find_cards(question)[0]['id'] == card and find_cards(question)[0]['kind'] == 'card'

def test_every_card_finds_itself():
    assert sum(find_cards(c['title']+'. '+c['text'])[:1] != [] and find_cards(c['title']+'. '+c['text'])[0]['id'] == k for k, c in cards().items()) >= .98*len(cards())

@pytest.mark.parametrize('question', ["Who won the football match?", "Tell me a joke", "What is the best pizza?", "Where do you live?", "What is your name?", "How long is a hammer?", "", "🌋"])
def test_nothing_fits(question):
    a = look_up(question, T)
    assert a['sure'] == 0 and a['sources'] == [] and a['text'] == T['dont_know'] and a['choices'] == []

@pytest.mark.parametrize('question', ["Select the living thing.", "Which of these is a mammal?", "Which country is highlighted?", "Which sentence states a fact?"])
def test_choices_are_asked_for(question):
    assert needs_choices(question)
    a = look_up(question, T)
    assert a['sure'] == 0 and a['text'].startswith(T['need_choices']) and not a['choices']

def test_choices_inside():
    assert inner_choices("Is the air inside a balloon a solid, a liquid, or a gas?") == ['a solid', 'a liquid', 'a gas']
    assert inner_choices("Does this passage describe the weather or the climate?\nIt rained.") == ['the weather', 'the climate']
    assert inner_choices("Is the following trait inherited or acquired?\nRegan plays soccer.") == ['inherited', 'acquired']
    assert inner_choices("Will these magnets attract or repel each other?") == ['attract', 'repel'] and inner_choices("Is a whale a fish?") == ['yes', 'no']
    assert inner_choices("Which tense does the sentence use?\nWe went home.") == ['past tense', 'present tense', 'future tense']
    assert inner_choices("Why is the sky blue?") == inner_choices("or?") == []

def test_solved_questions():
    assert solved().find("What's the capital of Oregon?")['answer'] == 'Salem' and solved().find("What is the capital of France?") is None
    p = dict(question='What is a pride?', hint='', choices=['a herd', 'a group of lions'], answer=1, solution='Lions live in prides.', skill='Lions', image=None)
    own = Solved([p, p | dict(question='Which of these is a pride?')])
    assert len(own.problems) == 1 and own.find("What is a pride?")['answer'] == 'a group of lions' and own.find("What is a pride of people?") is None and Solved([]).find('x') is None

def test_look_up():
    a = look_up("Why is the sky blue?", T)
    assert a['sure'] > .8 and 'Why the sky is blue' in a['text'] and 'scatter' in a['text'] and a['text'].startswith(T['card_sure'].split('{')[0])
    assert look_up("Why is the sky blue?\n"+WISH.format(grade=3), T) == a
    assert look_up("What's the capital of Oregon?", T)['sources'][0]['kind'] == 'question'
    assert all(k in T for k in ('card_sure', 'card_think', 'card_unsure', 'from_question', 'need_choices', 'card_help', 'card_says')) and 0 < LEAST < 1

def test_words_for_sure(): assert [sure_key(p) for p in (1, .8, .79, .5, .49, 0)] == ['sure', 'sure', 'think', 'think', 'unsure', 'unsure'] and list(SURE) == ['sure', 'think', 'unsure']

def test_card_says(): assert card_says(cards()['sky'], "Why is the sky red at sunset?", 1).startswith("At sunset")

@pytest.fixture(scope='module')
def engine(): return Engine('tiny')

def answered(engine, turn, before=()):
    *_, last = reply(engine, turn, before)
    return last

def test_open_answers(engine):
    assert looks_up(engine) and not looks_up(object())
    t = answered(engine, Turn("Why is the sky blue?"))
    assert t.confidence == t.sure > .8 and t.sources[0]['id'] == 'sky' and not t.probs and not t.choices
    t = answered(engine, Turn("Who won the football match?"))
    assert t.confidence == t.sure == 0 and t.text == T['dont_know'] and t.sources == []
    t = answered(engine, Turn("Is the air inside a balloon a solid, a liquid, or a gas?"))
    assert 0 < t.sure <= 1 and any(f'**{c}**' in t.text for c in ('a solid', 'a liquid', 'a gas')) and t.sources and t.choices == []

def test_a_word_is_about_the_last_question(engine):
    first = answered(engine, Turn("Why is the sky blue?"))
    assert answered(engine, Turn("Why?"), [first]).sources[0]['id'] == 'sky' and answered(engine, Turn("Why?")).sure == 0
    assert answered(engine, Turn("What is photosynthesis?"), [first]).sources[0]['id'] == 'photosynthesis'  # one word, but a subject of its own

def test_with_choices_the_choices_decide(engine):
    t = Turn("Which is a gas?", ["air", "sand"], probs=[.3, .7])
    assert t.confidence == .7 and t.sure is None


def test_polite_questions_are_open():
    for q in ('Can you tell me why the sky is blue?', 'Could you explain how volcanoes erupt?', 'Do you know what gravity is?', 'Why is the sky blue? Is it magic?'): assert inner_choices(q) == []
    assert inner_choices('Do plants need water or not?') == ['yes', 'no'] and inner_choices('Is it a or'+' '*20000+'b?')
