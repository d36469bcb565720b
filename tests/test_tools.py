"What can be worked out, and what must be left alone."
import json, time
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
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
    ('Which word does not rhyme?', ['pack', 'pick', 'tack'], 1),
    ('Which of these states is farthest east?', ['Utah', 'Maine', 'Florida', 'Oregon'], 1),
    ('Which is a compound sentence?', ['On Friday, the choir from Leeds sang.', 'Sam cooked, and now we eat.'], 1),
    ('Which is a simple sentence?', ['Ann reads while Tom sleeps.', 'The lamp is new.'], 1),
    ('Which is a complex sentence?', ['Ann reads, and Tom sleeps.', 'Ann reads while Tom sleeps.'], 1),
    ('Which is a run-on sentence?', ['The bus was late they walked home.', 'Last night, they walked home.'], 0),
    ('Which is a sentence fragment?', ['The bus was late they walked home.', 'A walk by the river.'], 1),
    ('Look at the word. Does it have a closed syllable or an open syllable?\nshe', ['closed', 'open'], 1),
    ('Which correctly shows the title of a poem?', ['***The Owl in the Oak***', '"The Owl in the Oak"'], 1),
    ('Which correctly shows the title of a movie?', ['The fox of the North', 'The Fox of the North'], 1),
    ('Which greeting is correct for a letter?', ['Dear grandpa Otto,', 'Dear Grandpa Otto,'], 1),
    ('What kind of sentence is this?\nWhat a storm that was!', ['declarative', 'exclamatory'], 1),
    ('Which tense does the sentence use?\nThe twins fed the hens.', ['present tense', 'past tense'], 1),
    ('Which tense does the sentence use?\nThe twins feed the red hens.', ['present tense', 'past tense'], 0),
    ('Which tense does the sentence use?\nThe batter struck the ball.', ['present tense', 'past tense'], 1),
    ('Which tense does the sentence use?\nMom likes baked beans with her will to win.', ['future tense', 'past tense', 'present tense'], 2),
    ('Which is a complex sentence?', ['Who is at the door?', 'The dog barked because it saw a cat.'], 1),
    ('Which greeting is correct for a letter?', ['Dear Mom and dad,', 'Dear Mom and Dad,'], 1),
    ('Would you find the word "bolt" on a dictionary page with the following guide words?\nbo-at - boot', ['yes', 'no'], 0),
    ('Which sentence uses a metaphor?', ['His voice was a trumpet.', 'His voice was like a trumpet.'], 0),
    ('Which of the following contains a vague pronoun reference?', ['The cooks say that the soup is ready.', 'They say that the soup is ready.'], 1),
    ('Which sentence is more formal?', ["The guys can't come.", 'The guests cannot come.'], 1),
    ('What is the temperature of a hot cup of tea?', ['55°F', '55°C'], 1),
    ('Is the following statement about our solar system true or false?\nHalf of the planets are made mainly of rock.', ['false', 'true'], 1),
    ('Select the invertebrate.', ['tree frog', 'hermit crab', 'bull shark'], 1),
    ('The scientific name is Corvus corax.\nSelect the organism in the same genus as the raven.', ['Larus canus', 'Corvus corone'], 1),
    ('Which organ pumps blood?', ['skin', 'heart'], 1),
    ('Select the part whose main job is to direct a plant cell\'s activities.', ['vacuole', 'nucleus'], 1),
    ('It is a member of the animal kingdom.\nIs it made up of one cell?', ['yes', 'no'], 1),
    ('Jade has the following properties:\nsolid\nno fixed crystal structure\nIs jade a mineral?', ['yes', 'no'], 1),
    ('The chemical formula for ozone is O3.\nComplete the statement.\nOzone is ().', ['an elementary substance', 'a compound'], 0),
    ('Is the steam above a pot a solid, a liquid, or a gas?', ['a liquid', 'a gas', 'a solid'], 1),
    ('What is the direction of this push?', ['toward the girl', 'away from the girl'], 1),
    ('Select the use of energy that did not add to air pollution.', ['A truck burned diesel fuel.', 'Water turned a mill.'], 1)])
def test_worked_out(text, choices, answer):
    index, working = work_out(text, choices)
    assert index == answer and len(working) > 10


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
    ('Does it have a closed syllable or an open syllable?\nwindow', ['closed', 'open']),                 # two syllables
    ('Which correctly shows the title of a book?', ['A Fox', 'A Hen']),
    ('What kind of sentence is this?\nSit down!', ['imperative', 'exclamatory']),                      # both
    ('Which of the following contains a vague pronoun reference?', ['Ann told Eva that she won.', 'Eva heard from Ann that she won.']),
    ('Which sentence is more formal?', ['We stay.', 'We leave.']),
    ('What is the temperature of a comet?', ['55°F', '55°C']),
    ('Is the following statement about our solar system true or false?\nMars has two moons.', ['false', 'true']),
    ('Select the bird.', ['barn owl', 'griffin']),                                                     # one is unknown
    ('Which organ is the largest?', ['skin', 'heart']),
    ('Is jade a mineral?', ['yes', 'no']),                                                             # no properties
    ('Complete the statement.\nFlubber is ().', ['an elementary substance', 'a compound']),
    ('Is a milk carton a solid or a liquid?', ['a solid', 'a liquid']),
    ('What is the direction of this push?', ['north', 'south']),
    ('Which word is NOT on the page with the guide words?\nnickel - nurse', ['nozzle', 'apple']),     # the opposite is asked
    ('Which word is on the page after the one with the guide words?\nnickel - nurse', ['nozzle', 'apple']),
    ('Would you find the word blot on a page with the guide words?\nbolt - beef', ['yes', 'no']),        # in no order
    ('Which sentence does not sound more formal?', ["The guys can't come.", 'The guests cannot come.']),
    ('Which word does not rhyme?', ['kite', 'night', 'light']), ('Which word does not rhyme?', ['fox', 'socks', 'rocks']), ('Which word does not rhyme?', ['said', 'bed', 'paid']),
    ('Does it have a closed syllable or an open syllable?\nsnow', ['closed', 'open']),
    ('Which is a complete sentence?', ['Press the red button.', 'The red button.']),                    # an order needs no subject
    ('Is this a run-on sentence?\nThese are the shoes she has.', ['yes', 'no']),
    ('Is this a run-on sentence?\nThe boy was glad, I think.', ['yes', 'no']),
    ('Which sentence uses a metaphor?', ['She sings as if she were an angel.', 'She is an angel.']),
    ('Which has more mass?', ['a stick of 1/3 kg', 'a stick of 1/2 kg']),
    ('Which town had a higher temperature?', ['5 degrees below zero', '10 degrees below zero']),
    ('Which cup needs more thermal energy to reach 100°C?', ['a cup at 20°C', 'a cup at 60°C']),
    ('Is the following statement about our solar system true or false?\nThe third largest planet is made mainly of gas.', ['false', 'true']),
    ('The genotype tt is that of Ann. Pip has the genotype TT. The allele for tall (T) is dominant over the allele for short (t).\nWhat is the phenotype for the stem trait?', ['tall', 'short']),
    ('A frog eats a member of the plant kingdom. It is a member of the animal kingdom.\nIs it made up of one cell?', ['yes', 'no']),
    ('Which organ brings oxygen to other organs?', ['skeleton', 'heart', 'lungs']),
    ('Is a stone under water a solid, a liquid, or a gas?', ['a solid', 'a liquid', 'a gas']), ('Is titanium dioxide a solid, a liquid, or a gas?', ['a solid', 'a liquid', 'a gas']),
    ('A girl pushes a door. What is the direction of this push?', ['toward the door', 'away from the door']),
    ('Which word does not rhyme?', ['a', 'b']), ('', []), ('Why?', ['']), ('guide words speed thermal energy more', ['', ''])])
def test_left_alone(text, choices): assert work_out(text, choices) is None


@pytest.mark.parametrize('text', ['allele for '*4000, 'guide words '*4000, 'more '*4000 + 'thermal energy', 'one allele for x and '*3000, '9'*20000 + ' more thermal energy', 'guide words ' + '-'*20000,
                                  'Is this a run-on sentence?\n' + 'A b, and '*4000, 'What is the temperature of '*4000, 'Which organ '*4000, 'Select the part that '*4000, 'Complete the statement. '*4000,
                                  'Is '*9000, 'chemical formula for '*4000 + 'is ' + 'C2'*9000, 'Which of the following contains a vague pronoun reference?' + ' she'*9000, 'Which tense does the sentence use?\n' + 'bed '*9000,
                                  'has the following properties: '*4000 + 'Is it a mineral?', 'Which sentence is more formal?', 'Which sentence uses a simile?'])
def test_long_texts_take_no_time(text):
    begin = time.process_time()
    work_out(text, ['9'*400 + ' grams', '8'*400 + ' grams'])
    work_out(text, ['as a'*9000, 'she '*9000])
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
    def answers(i, p):
        found = work_out(f"Context: {p['hint']}\nQuestion: {p['question']}", p['choices'], Image.open(Path(scienceqa)/'images'/'val'/i/p['image']) if p['image'] else None)
        return found and (p['answer'], found[0], bool(p['image']))
    spoke = [a for i in val if (a := answers(i, problems[i]))]
    for pictures in False, True:
        right = [a == b for a, b, seen in spoke if seen == pictures]
        assert len(right) > .2*sum(bool(problems[i]['image']) == pictures for i in val) and sum(right) >= .99*len(right)


ASKED = {'Will these magnets attract or repel each other?': ['attract', 'repel'],
         'Think about the magnetic force between the magnets in each pair. Which of the following statements is true?': ['The magnitude of the magnetic force is smaller in Pair 1.', 'The magnitude of the magnetic force is smaller in Pair 2.', 'The magnitude of the magnetic force is the same in both pairs.'],
         'Which solution has a higher concentration of blue particles?': ['Solution A', 'Solution B', 'neither; their concentrations are the same'],
         'Compare the average kinetic energies of the particles in each sample. Which sample has the higher temperature?': ['sample A', 'sample B', 'neither; the samples have the same temperature'],
         'The allele for red eyes (E) is dominant over the allele for black eyes (e). What is the probability that a fly produced by this cross will be homozygous dominant for the eye gene?': ['0/4', '1/4', '2/4', '3/4', '4/4']}

@pytest.mark.parametrize('question', ASKED)
@pytest.mark.parametrize('kind', ['noise', 'one pixel', 'white', 'black', 'stripes', 'transparent', 'grey', 'a photograph', *range(8)])
def test_pictures_that_are_no_diagram_are_left_alone(question, kind):
    noise = np.random.default_rng(kind if kind in range(8) else 0).integers(0, 256, (900, 1100, 3), dtype=np.uint8)
    picture = dict(noise=lambda: Image.fromarray(noise), white=lambda: Image.new('RGB', (300, 200), 'white'), black=lambda: Image.new('RGB', (300, 200)), grey=lambda: Image.new('L', (1, 900)),
                   stripes=lambda: Image.fromarray(np.tile(np.array([255, 0, 0, 0, 0, 255], np.uint8).reshape(1, 2, 3), (400, 300, 1))), transparent=lambda: Image.new('RGBA', (90, 90)),
                   **{'one pixel': lambda: Image.new('RGB', (1, 1)), 'a photograph': lambda: Image.fromarray(noise).resize((4000, 3000))}).get(kind, lambda: Image.fromarray(noise[:6, :8]).resize((600, 450), Image.BICUBIC))  # blobs
    picture, begin = picture(), time.process_time()
    assert work_out(question, ASKED[question], picture) is None
    assert time.process_time() - begin < 5
