"Emergencies of the body: their own message, with the number of the country, before all else."
import pytest
from sciencetutor.app import safety
from sciencetutor.app.guard import tutor_guard
from sciencetutor.app.safety import Guard, helpful_texts, use_country

@pytest.fixture(scope='module')
def guard(): return tutor_guard()

NOW = {'my grandma wont wake up': 'wake', "we can't wake our dad up": 'wake', 'nobody in the house wakes up': 'wake',
       'mommy is lying on the floor and not moving': 'wake', 'the baby stopped breething': 'wake',
       'my brother is chokeing on a grape': 'choking', 'im choking': 'choking', 'i cant breathe': 'breath',
       'she ate a peanut and her tongue is swelling': 'breath', 'my dad is holding his chest and saying ow': 'heart',
       'my aunts face is drooping and she talks gibberish': 'heart', 'my sister is having a siezure': 'seizure',
       'my cousin fell in the pool and does not come up': 'drowning', 'my friend past out in the sun': 'heat',
       'my cousin cut his leg and the blood is gushing': 'bleeding', 'i have diabetes and i feel shaky': 'ill',
       'my brother hit his head and throws up': 'head'}

@pytest.mark.parametrize('text, kind', NOW.items())
def test_an_emergency_has_its_own_message(guard, text, kind):
    found = guard.check(text)
    assert found and found.note == f'refuse_{kind}', found

LESSONS = ['why do bears not wake up in winter', 'my hamster does not wake up in the day', 'she never wakes me up',
           'what does choking mean', 'i am choking on these long words', 'a fish cant breathe on land',
           'i cant breathe through my nose', 'what is a heart attack', 'what happens in the heart when it stops',
           'my tongue is blue from the popsicle', 'newton was hit on the head by an apple', 'he rolled his eyes at me',
           'the king in my book is drowning', 'how does blood stop bleeding', 'the plant is choking the flowers',
           'my grandpa will not wake up for a fire drill lol', 'what do i do if someone has a seizure']

@pytest.mark.parametrize('text', LESSONS)
def test_a_lesson_is_none(guard, text):
    found = guard.check(text)
    assert not found or found.level != 'emergency', found

def test_the_number_is_that_of_the_country(monkeypatch):
    monkeypatch.setattr(safety, '_country', [''])
    use_country('GB')
    emergencies = {r.help for r in Guard().rules if r.level == 'emergency'}
    texts = helpful_texts()
    assert len(emergencies) >= 9 and all('999' in texts[f'refuse_{kind}'] for kind in emergencies)
    assert texts['levels']['emergency']

SIGNS = {  # one a new pattern
    'i havent eaten for 2 days because i want to be skinny': 'self-harm', 'will anyone cry at my funeral': 'self-harm',
    'i just want to fall asleep and stay asleep': 'self-harm', 'she has cuts on her arms under the hoodie': 'self-harm',
    'my bruises have to be hidden with makeup': 'hurt', 'he lied to the doctor that i tripped': 'hurt',
    'do counselors have to tell my parents': 'hurt', 'my scab has pus and red streaks': 'injury',
    'a leech is stuck on my leg': 'injury', 'i heard a pop in my knee and now it is swollen': 'injury',
    'the label said do not drink and then my sister drank it': 'poison',
    'my lips are numb since i ate the leaf': 'poison',
    'what does third base mean with a girl': 'sexual', 'what do mom and dad do in bed': 'sexual',
    'she gave her phone number to a guy online': 'personal', 'can i shoot roman candles at my brother': 'experiment',
    'where can kids get bulets': 'violence', 'i will touch the downed wire with a stick': 'experiment'}

@pytest.mark.parametrize('text, level', SIGNS.items())
def test_a_new_sign(text, level):
    found = Guard().match(text, 'in')
    assert found and found.level == level, found

def test_exceptions_still_count():
    "A rule looks for its patterns first and for what excuses them then."
    pattern = lambda text: safety.compile_patterns([text], {})
    rule = safety.Rule('hurt', 'in', [pattern('hits me')], pattern('he hits me in the game'))
    assert rule.search('she hits me') == 'hits me' and not rule.search('he hits me in the game')
    assert rule.search('he hits me in the game and she hits me')
