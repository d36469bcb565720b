"The memory of solved questions, and the packed difference."
import numpy as np, pytest, torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from sciencetutor.engine.batching import Batch
from sciencetutor.models.delta import apply_delta, make_delta, pack, unpack
from sciencetutor.models.knn import choice_id, combine, evidence, fingerprint, fit_mix, load_memory, make_memory, save_memory
from sciencetutor.models.core import ASSETS, load_model, reads_pictures, save_model, WORDS_ONLY
from sciencetutor.models.scoring import encode_item, score_choices


def drawing(seed, size=(120, 90)):
    rng, im = np.random.default_rng(seed), Image.new('RGB', size, 'white')
    for _ in range(6):
        x, y = rng.random(2)
        ImageDraw.Draw(im).ellipse([x*size[0] - 15, y*size[1] - 15, x*size[0] + 15, y*size[1] + 15], fill=tuple(rng.integers(0, 255, 3).tolist()))
    return im


@pytest.fixture(scope='module')
def rows():
    "The answer is in the picture alone: 10 drawings, each asked for 12 times with the three names in another order."
    names, rng, out = ['Ada', 'Bea', 'Cleo'], np.random.default_rng(0), []
    for i in range(120):
        order = rng.permutation(3)
        out.append(dict(question='Whose garden is this?', choices=[names[j] for j in order], answer_index=int(np.where(order == i % 10 % 3)[0][0]),
                        image=drawing(i % 10), solution=f'garden {i % 10}'))
    return {k: [r[k] for r in out] for k in out[0]}


@pytest.fixture(scope='module')
def memory(rows): return make_memory(rows)


def ask(image): return dict(messages=[dict(role='user', content=[dict(type='image'), dict(type='text', text='Question: Whose garden is this?')])],
                            images=[image], choices=['Cleo', 'Ada', 'Bea'])


def test_the_right_picture_decides(memory):
    names = ['Cleo', 'Ada', 'Bea']
    answers = [names[int(evidence(memory, 'Whose garden is this?', names, drawing(i)).argmax())] for i in range(10)]
    assert answers == [['Ada', 'Bea', 'Cleo'][i % 3] for i in range(10)]


def test_a_picture_is_known_in_another_size(memory):
    a = evidence(memory, 'Whose garden is this?', ['Cleo', 'Ada', 'Bea'], drawing(1))
    b = evidence(memory, 'Whose garden is this?', ['Cleo', 'Ada', 'Bea'], drawing(1).resize((360, 270)))
    assert a.argmax() == b.argmax()


def test_equal_choices_get_equal_evidence_and_order_does_not_matter(memory):
    names = ['Ada', 'Bea', 'Cleo']
    a, b = (evidence(memory, 'Whose garden is this?', n, drawing(4)) for n in (names, names[::-1]))
    assert torch.allclose(a, b.flip(0), atol=1e-5)


def test_unknown_words_are_no_evidence(memory):
    e = evidence(memory, 'Quid novi?', ['nihil', 'multa'])
    assert torch.allclose(e[0], e[1], atol=1e-5)


def test_the_memory_holds_no_text(memory, tmp_path):
    save_memory(memory, tmp_path)
    raw = (tmp_path/'memory.safetensors').read_bytes()
    assert not any(word in raw for word in (b'Ada', b'Cleo', b'garden', b'Whose'))
    assert [f.name for f in tmp_path.iterdir()] == ['memory.safetensors']
    assert load_memory(tmp_path).tensors['continuations'].shape == (0, 3)  # no replies, nothing about how they go on


def test_the_tutor_that_ships_knows_how_explanations_go_on():
    known = load_memory(ASSETS).tensors['continuations']
    assert len(known) > 10_000 and known.shape[1] == 3 and 0 <= known.min() and known.max() < 49_152  # the vocabulary


def test_no_memory_no_file(tmp_path): assert load_memory(tmp_path) is None


def test_a_memory_of_questions_without_pictures(rows):
    m = make_memory({k: v[:30] for k, v in rows.items()} | dict(image=[None]*30))
    assert evidence(m, 'Whose garden is this?', ['Ada', 'Bea'], drawing(0)).isfinite().all()


def test_a_checkpoint_carries_its_memory_and_scores_with_it(memory, tmp_path):
    model, processor = load_model('tiny')
    alone = score_choices(model, processor, [ask(drawing(2))])[0]
    model.memory = memory
    save_model(model, processor, tmp_path/'c')
    again, processor = load_model(str(tmp_path/'c'))
    both = score_choices(again, processor, [ask(drawing(2))])[0]
    assert torch.allclose(both, combine(memory, ask(drawing(2)), alone), atol=1e-3) and not torch.allclose(both, alone)


def test_words_only_templates_leave_the_picture_out():
    _, processor = load_model('tiny')
    assert reads_pictures(processor) and encode_item(processor, ask(drawing(0)))['pixel_values'] is not None
    processor.chat_template = WORDS_ONLY
    enc = encode_item(processor, ask(drawing(0)))
    assert not reads_pictures(processor) and enc['pixel_values'] is None and processor.image_token_id not in enc['prompt']


def test_choices_are_equal_by_words(): assert choice_id('A  rock.') == choice_id('a rock') != choice_id('a block')


def test_fingerprints_differ(): assert len({fingerprint(drawing(i)).tobytes() for i in range(50)}) == 50


def test_mix_trusts_who_is_right():
    answers = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(0))
    good = [2*torch.eye(3)[a] for a in answers]
    bad = list(torch.randn(200, 3, generator=torch.Generator().manual_seed(1)))
    a, b = fit_mix(good, bad, answers.tolist())
    assert a > 1 and abs(b) < .3


@pytest.mark.parametrize('shape', [(1, 8), (7, 16), (192, 576)])
def test_pack_keeps_sign_and_most_of_the_size(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = unpack(*pack(x))
    assert y.shape == x.shape and (y.sign() == x.sign()).all() and (y - x).square().sum() < .2*x.square().sum()


def test_a_delta_of_another_model_is_refused():
    a, b = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    delta = make_delta({'x.weight': a.weight.data}, {'x.weight': b.weight.data})
    with pytest.raises(KeyError): apply_delta(torch.nn.Linear(8, 8), delta)


def test_training_keeps_a_memory_and_words_only_is_remembered(tmp_path):
    from sciencetutor.data.core import run_data
    from sciencetutor.train.core import run_train
    run_data(source='samples', out=str(tmp_path/'d'), n=60)
    run_train(data=str(tmp_path/'d'), model='tiny', out=str(tmp_path/'c'), steps=2, text_only=True, memory=True, explain_tokens=20)
    model, processor = load_model(str(tmp_path/'c'))
    assert len(model.memory) > 40 and not reads_pictures(processor)
    assert Batch(model, processor).follows  # how explanations go on
    assert score_choices(model, processor, [ask(drawing(0))])[0].isfinite().all()
    again = run_train(data=str(tmp_path/'d'), model=str(tmp_path/'c'), out=str(tmp_path/'e'), steps=1)
    assert again['settings']['text_only'] and len(load_model(str(tmp_path/'e'))[0].memory) == len(model.memory)
