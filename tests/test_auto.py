"`serve --model auto`: what fits, what is said before anything is fetched, and `tutor` where nothing better can be had."
import sys

import httpx, pytest
from fastcore.script import CliError
from huggingface_hub.errors import GatedRepoError
from sciencetutor.cli import main
from sciencetutor.models import auto
from sciencetutor.models.auto import Machine, Model, best_model, fitting, hub_answer, read_models
from sciencetutor.models.core import load_model, save_model
from sciencetutor.serve import core as serve

BIG = Model('a/big', 8., {16: 20., 8: 11., 4: 6.}, 'Apache-2.0')
LOCKED = Model('a/locked', 4., {16: 10., 8: 6., 4: 4.}, 'Terms', gated=True)
SMALL = Model('a/small', .5, {16: 2.5, 8: 2., 4: 1.8}, 'MIT', cores=4)
MODELS = [BIG, LOCKED, SMALL]
GPU = Machine(24., '1 x GPU', 8)


@pytest.mark.parametrize('machine, want', [
    (GPU, [('a/big', 16), ('a/locked', 16), ('a/small', 16)]),
    (GPU._replace(memory=12.), [('a/big', 8), ('a/locked', 16), ('a/small', 16)]),
    (GPU._replace(memory=6.), [('a/big', 4), ('a/locked', 8), ('a/small', 16)]),
    (GPU._replace(memory=12., packs=False), [('a/locked', 16), ('a/small', 16)]),
    (Machine(64., '', 4), [('a/small', 16)]), (Machine(64., '', 2), []), (Machine(1., '1 x GPU', 8), []),
    (Machine(4., '', 8, wide=True), []), (Machine(6., '', 8, wide=True), [('a/small', 16)])])
def test_what_fits(machine, want): assert [(c.model.name, c.bits) for c in fitting(MODELS, machine)] == want


def test_the_table():
    "Its sizes are what its head says; every licence is named; nothing stands twice."
    models = read_models()
    assert len({m.name for m in models}) == len(models) > 8 and all(m.licence for m in models)
    for m in models:
        assert set(m.memory) == {16, 8, 4}
        assert all(gb == pytest.approx(m.parameters*bits/8*1.1 + 1.5, abs=.11) for bits, gb in m.memory.items()), m.name
    families = ('Qwen3-VL', 'gemma-3', 'llava', 'SmolVLM2')
    assert all(any(f in m.name for m in models) for f in families)


@pytest.mark.parametrize('text, said', [(None, 'cannot be read'), ('- {name: a}', 'is no table'), ('[', 'is no table'),
                                        ('7', 'is no table')])
def test_a_broken_table_is_one_line(tmp_path, text, said):
    if text: (tmp_path/'m.yaml').write_text(text)
    with pytest.raises(CliError, match=said): read_models(tmp_path/'m.yaml')


@pytest.fixture
def world(monkeypatch):
    "A cache, a hub and a person: which models are here, what the hub says, what is answered."
    w = dict(here=set(), hub={}, asked=[], answer='y', terminal=True, said=[], disk=500.)
    def say(prompt):
        w['asked'].append(prompt)
        return w['answer']
    monkeypatch.setattr(auto, 'is_here', lambda name: name in w['here'])
    monkeypatch.setattr(auto, 'hub_answer', lambda m: w['hub'].get(m.name, ''))
    monkeypatch.setattr(auto, 'free_disk', lambda: w['disk'])
    monkeypatch.setattr('builtins.input', say)
    monkeypatch.setattr(sys, 'stdin', type('Stdin', (), dict(isatty=lambda self: w['terminal']))())
    w['best'] = lambda yes=False, machine=GPU: best_model(yes, MODELS, machine, w['said'].append)
    return w


def test_it_is_said_and_asked_before_anything_is_fetched(world):
    assert world['best']() == ('a/big', 16) and world['asked'] == ['Fetch it? [y/N] ']
    assert world['said'] == ['auto: a/big (8 billion parameters, weights of 16 bits) needs about 20.0 GB: 24.0 GB free '
                             'on 1 x GPU. Licence: Apache-2.0; to download: 16.0 GB.']


@pytest.mark.parametrize('answer', ['', 'n', 'no', 'what?'])
def test_whoever_does_not_say_yes_gets_tutor(world, answer):
    assert (world | dict(answer=world.update(answer=answer)))['best']() == ('tutor', 16)
    assert len(world['asked']) == 1 and 'comes with ScienceTutor' in world['said'][-1]


def test_yes_asks_nobody(world): assert world['best'](yes=True) == ('a/big', 16) and not world['asked']


def test_without_a_terminal_nothing_is_fetched(world, capsys):
    world['terminal'] = False
    assert world['best']() == ('tutor', 16) and not world['asked']
    assert 'give --yes' in capsys.readouterr().err


def test_what_is_here_is_taken_without_a_question(world):
    world['here'].add('a/big')
    assert world['best']() == ('a/big', 16) and not world['asked'] and 'here already' in world['said'][0]


def test_offline_what_is_here_or_tutor(world):
    world['hub'] = dict.fromkeys(('a/big', 'a/locked', 'a/small'), 'offline')
    assert world['best'](yes=True) == ('tutor', 16)
    assert world['said'].count('auto: the hub cannot be reached.') == 1
    world['here'].add('a/small')
    assert world['best'](yes=True) == ('a/small', 16)


def test_what_cannot_be_had_is_left_out(world):
    world['hub'], world['disk'] = {'a/locked': 'its licence has to be accepted'}, 10.
    assert world['best'](yes=True) == ('a/small', 16)
    assert 'a/big is left out: its 16.0 GB do not fit on the disk (10.0 GB free)' in world['said'][0]
    assert 'a/locked is left out: its licence has to be accepted' in world['said'][1]


def test_what_the_hub_says(monkeypatch):
    import huggingface_hub
    def gated(name): raise GatedRepoError('no', response=httpx.Response(403, request=httpx.Request('GET', 'http://h/')))
    monkeypatch.setattr(huggingface_hub, 'auth_check', gated)
    assert hub_answer(LOCKED) == 'its licence has to be accepted at https://huggingface.co/a/locked'
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    monkeypatch.setattr(huggingface_hub.constants, 'ENDPOINT', 'http://127.0.0.1:9')
    assert hub_answer(SMALL) == 'offline'


def test_a_model_in_the_cache_is_known(tmp_path, monkeypatch):
    "As the hub's own client keeps it: whole, without its weights, and not at all."
    import huggingface_hub
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    assert not auto.is_here('a/b')
    top = tmp_path/'models--a--b'
    (top/'refs').mkdir(parents=True)
    (top/'refs'/'main').write_text('c0ffee')
    save_model(*load_model('tiny'), top/'snapshots'/'c0ffee')
    assert auto.is_here('a/b')
    (top/'snapshots'/'c0ffee'/'model.safetensors').unlink()
    assert not auto.is_here('a/b')


def test_it_reaches_the_engine(monkeypatch):
    "The model and its bits arrive where it is loaded."
    monkeypatch.setattr(auto, 'best_model', lambda yes: ('a/big', 8 if yes else 4))
    assert serve.auto_options(True, False, 'auto') == ('a/big', False, 'int8')
    assert serve.auto_options(False, False, 'auto') == ('a/big', True, 'auto')


def test_bits_of_ones_own_and_auto_exclude_each_other(capsys):
    assert main(['serve', '--model', 'auto', '--load-in-4bit']) == 2
    assert 'auto chooses the bits itself' in capsys.readouterr().err


def test_eight_bits():
    "LLM.int8() answers as the whole weights do, but for rounding."
    pytest.importorskip('bitsandbytes')
    from sciencetutor.models.scoring import score_choices
    item = dict(messages=[dict(role='user', content='Which is alive?')], images=[], choices=['a cat', 'a stone'])
    whole, packed = (score_choices(*load_model('tiny', dtype=d), [item])[0] for d in ('float32', 'int8'))
    assert (whole - packed).abs().max() < .05
    with pytest.raises(CliError, match='int8 and 4-bit weights'): load_model('tiny', dtype='int8', load_in_4bit=True)
