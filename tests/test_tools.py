"What can be worked out, and what must be left alone."
import json, time
from pathlib import Path
import pytest, torch
from sciencetutor.model import load_model
from sciencetutor.score import score_choices
from sciencetutor.tools import work_out


@pytest.mark.parametrize('text,choices,answer', [
    ('Which word would you find on a page with the guide words?\nnickel - nurse', ['Nozzle', 'national'], 0),
    ('Would you find the word blot on a dictionary page with the following guide words?\nbeef - bolt', ['yes', 'no'], 0),
    ('Would you find the word blot on a dictionary page with the following guide words?\nbeef - blond', ['yes', 'no'], 1),
    ('Which stone has more thermal energy?', ['the colder stone', 'the hotter stone'], 1),
    ('Which sled needs a smaller force to stop?', ['a sled carrying 1,200 pounds', 'a sled carrying 900 pounds'], 1),
    ('Which ship was moving at the highest speed?', ['a ship that moved 165 miles west in 5 hours', 'a ship that moved 210 miles south in 10 hours', 'a ship that moved 75 miles in 5 hours'], 0),
    ("The allele for curly fur (c) is recessive to the allele for straight fur (C). Pip has the homozygous genotype cc for the fur gene.\nWhat is Pip's phenotype for the fur trait?", ['straight fur', 'curly fur'], 1),
    ("The allele F is for red eyes, and the allele f is for black eyes. Pip has one allele for red eyes and one allele for black eyes.\nWhat is Pip's genotype for the eye color gene?", ['Ff', 'red eyes'], 0),
    ('Which town had a higher temperature?', ['a town at -5°C', 'a town at -10°C'], 0),
    ('Which town had a lower temperature?', ['a town at -5°C', 'a town at 10°C'], 0),
    ('Which word does not rhyme?', ['peak', 'pick', 'beak'], 1),
    ('Which of these states is farthest east?', ['Utah', 'Maine', 'Florida', 'Oregon'], 1),
    ('Which is a compound sentence?', ['On Friday, the choir from Leeds sang.', 'Sam cooked, and now we eat.'], 1),
    ('Which is a simple sentence?', ['Ann reads while Tom sleeps.', 'The lamp is new.'], 1),
    ('Which is a complex sentence?', ['Ann reads, and Tom sleeps.', 'Ann reads while Tom sleeps.'], 1),
    ('Which is a run-on sentence?', ['The bus was late they walked home.', 'Last night, they walked home.'], 0),
    ('Which is a sentence fragment?', ['The bus was late they walked home.', 'A walk by the river.'], 1)])
def test_worked_out(text, choices, answer):
    index, working = work_out(text, choices)
    assert index == answer and len(working) > 20


@pytest.mark.parametrize('text,choices', [
    ('Which word is on the page with the guide words?\nnickel - nurse', ['nozzle', 'note']),      # two fit
    ('Which word is on the page with the guide words?\nnickel - nurse', ['apple', 'tree']),       # none fits
    ('Which string makes a higher sound?', ['a string of 20 cm', 'a string of 30 cm']),           # the longer, the lower
    ('Which magnet pulls with a larger force?', ['a magnet 2 cm away', 'a magnet 5 cm away']),
    ('Which has more thermal energy?', ['5 grams of tea at 30°C', '6 grams of tea at 20°C']),     # two things differ
    ('Which has more thermal energy?', ['a pie at 30°C', 'a pie at 30°C']),
    ('Which has more thermal energy?', ['a pie at 30°C', 'a pie at 80°F']),
    ('Is more or less thermal energy in it?', ['a pie at 30°C', 'a pie at 40°C']),
    ('Which ball gets faster when it is hit with the same force?', ['a ball of 2 kg', 'a ball of 5 kg']),
    ('Which pot needs more time to reach the same temperature?', ['a pot at 20°C', 'a pot at 60°C']),
    ('Which moved at a higher speed?', ['5 miles in 0 hours', '6 miles in 0 hours']),
    ("What is Pip's phenotype for the fur trait?", ['curly fur', 'straight fur']),
    ('Which word does not rhyme?', ['tree', 'sea', 'bee']),                                       # spelling is not sound
    ('Which is a simple sentence?', ['The lamp is new.', 'The door is old.']),                        # both are
    ('Which is a complete sentence?', ['The lamp is new.', 'A new lamp.']),                          # no sign of a clause
    ('Is this a run-on sentence?\nThe lamp is new.', ['yes', 'no']),
    ('Which word does not rhyme?', ['a', 'b']), ('', []), ('Why?', ['']), ('guide words speed thermal energy more', ['', ''])])
def test_left_alone(text, choices): assert work_out(text, choices) is None


@pytest.mark.parametrize('text', ['allele for '*4000, 'guide words '*4000, 'more '*4000 + 'thermal energy', 'one allele for x and '*3000, '9'*20000 + ' more thermal energy', 'guide words ' + '-'*20000,
                                  'Is this a run-on sentence?\n' + 'A b, and '*4000])
def test_long_texts_take_no_time(text):
    begin = time.process_time()
    work_out(text, ['9'*400 + ' grams', '8'*400 + ' grams'])
    assert time.process_time() - begin < 5


def test_a_model_uses_them_only_if_it_says_so():
    model, processor = load_model('tiny', dtype='float32')
    item = dict(messages=[dict(role='user', content='Which word does not rhyme?')], images=[], choices=['bell', 'boat', 'coat'])
    plain, = score_choices(model, processor, [item])
    model.config.tools = True
    worked, = score_choices(model, processor, [item])
    assert worked.softmax(-1)[0] > .98 and not torch.equal(plain, worked)


def test_right_on_real_questions(scienceqa):
    splits = next(f for n in ('local_splits.json', 'pid_splits.json') if (f := Path(scienceqa, n)).exists())
    problems, val = json.loads(Path(scienceqa, 'problems.json').read_text()), json.loads(splits.read_text())['val']
    spoke = [(p['answer'], found[0]) for p in map(problems.get, val) if p and (found := work_out(f"Context: {p['hint']}\nQuestion: {p['question']}", p['choices']))]
    assert len(spoke) > .05*len(val) and sum(a == b for a, b in spoke) >= .99*len(spoke)
