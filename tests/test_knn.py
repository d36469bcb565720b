"The index of solved questions, and the packed difference."
import numpy as np, pytest, torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from sciencetutor.engine.batching import ContinuousBatcher
from sciencetutor.models.delta import apply_delta, make_delta, pack, unpack
from sciencetutor.models.knn import (INDEX_FILE, choice_id, evidence, fingerprint, fit_mix, index_of, load_index,
                                      make_index, mix_scores, save_index)
from sciencetutor.models.core import ASSETS, WORDS_ONLY, load_model, reads_pictures, save_model
from sciencetutor.models.scoring import answer_scores, encode_item, score_choices


def drawing(seed, size=(120, 90)):
    rng, im = np.random.default_rng(seed), Image.new('RGB', size, 'white')
    for _ in range(6):
        x, y = rng.random(2)*size
        ImageDraw.Draw(im).ellipse([x - 15, y - 15, x + 15, y + 15], fill=tuple(rng.integers(0, 255, 3).tolist()))
    return im


@pytest.fixture(scope='module')
def rows():
    "The answer is in the picture alone: 10 drawings, each asked for 12 times with the three names in another order."
    names, rng, out = ['Ada', 'Bea', 'Cleo'], np.random.default_rng(0), []
    for i in range(120):
        order = rng.permutation(3)
        answer = int(np.where(order == i % 10 % 3)[0][0])
        out.append(dict(question='Whose garden is this?', choices=[names[j] for j in order], answer_index=answer,
                        image=drawing(i % 10), solution=f'garden {i % 10}'))
    return {k: [r[k] for r in out] for k in out[0]}


@pytest.fixture(scope='module')
def index(rows): return make_index(rows)


def ask(image):
    content = [dict(type='image'), dict(type='text', text='Question: Whose garden is this?')]
    return dict(messages=[dict(role='user', content=content)], images=[image], choices=['Cleo', 'Ada', 'Bea'])


def test_the_right_picture_decides(index):
    names = ['Cleo', 'Ada', 'Bea']
    answers = [names[int(evidence(index, 'Whose garden is this?', names, drawing(i)).argmax())] for i in range(10)]
    assert answers == [['Ada', 'Bea', 'Cleo'][i % 3] for i in range(10)]


def test_a_picture_is_known_in_another_size(index):
    a = evidence(index, 'Whose garden is this?', ['Cleo', 'Ada', 'Bea'], drawing(1))
    b = evidence(index, 'Whose garden is this?', ['Cleo', 'Ada', 'Bea'], drawing(1).resize((360, 270)))
    assert a.argmax() == b.argmax()


def test_equal_choices_get_equal_evidence_and_order_does_not_matter(index):
    names = ['Ada', 'Bea', 'Cleo']
    a, b = (evidence(index, 'Whose garden is this?', n, drawing(4)) for n in (names, names[::-1]))
    assert torch.allclose(a, b.flip(0), atol=1e-5)


def test_unknown_words_are_no_evidence(index):
    e = evidence(index, 'Quid novi?', ['nihil', 'multa'])
    assert torch.allclose(e[0], e[1], atol=1e-5)


def test_the_index_holds_no_text(index, tmp_path):
    save_index(index, tmp_path)
    raw = (tmp_path/INDEX_FILE).read_bytes()
    assert not any(word in raw for word in (b'Ada', b'Cleo', b'garden', b'Whose'))
    assert [f.name for f in tmp_path.iterdir()] == ['memory.safetensors']  # as earlier versions wrote it
    assert load_index(tmp_path).continuations == {}  # no replies, nothing about how they go on


def test_the_tutor_that_ships_knows_how_explanations_go_on():
    known = load_index(ASSETS).tensors['continuations']
    assert len(known) > 10_000 and known.shape[1] == 3 and 0 <= known.min() and known.max() < 49_152  # the vocabulary


def test_no_index_no_file(tmp_path): assert load_index(tmp_path) is None and index_of(load_model('tiny')[0]) is None


def test_an_index_of_questions_without_pictures(rows):
    m = make_index({k: v[:30] for k, v in rows.items()} | dict(image=[None]*30))
    assert evidence(m, 'Whose garden is this?', ['Ada', 'Bea'], drawing(0)).isfinite().all()


def test_a_checkpoint_carries_its_index_and_answers_with_it(index, tmp_path):
    model, processor = load_model('tiny')
    alone = score_choices(model, processor, [ask(drawing(2))])[0]
    model.knn_index = index
    save_model(model, processor, tmp_path/'c')
    again, processor = load_model(str(tmp_path/'c'))
    both = answer_scores(again, processor, [ask(drawing(2))])[0]
    assert torch.allclose(both, mix_scores(index, ask(drawing(2)), alone), atol=1e-3)
    assert not torch.allclose(both, alone)
    assert torch.allclose(score_choices(again, processor, [ask(drawing(2))])[0], alone, atol=1e-3)  # it is pure


def test_no_reduction_leaves_the_index_out_silently(index):
    model, processor = load_model('tiny')
    answer_scores(model, processor, [ask(drawing(2))], reduce='sum')  # it has none
    model.knn_index = index
    with pytest.warns(UserWarning, match='with sum the language model answers alone'):
        scores, = answer_scores(model, processor, [ask(drawing(2))], reduce='sum')
    assert torch.allclose(scores, score_choices(model, processor, [ask(drawing(2))], reduce='sum')[0])


def test_the_engine_answers_as_evaluation_does(index):
    from sciencetutor.engine.core import Engine
    engine, item = Engine('tiny', dtype='float32'), ask(drawing(2))
    engine.model.knn_index = index
    want, = answer_scores(engine.model, engine.processor, [item])
    got = engine.score(item['messages'], item['choices'], item['images'])
    assert got == pytest.approx(want.softmax(-1).tolist(), abs=1e-4)


def test_words_only_templates_leave_the_picture_out():
    _, processor = load_model('tiny')
    assert reads_pictures(processor)
    assert encode_item(processor, ask(drawing(0)))['pictures']
    processor.chat_template = WORDS_ONLY
    enc = encode_item(processor, ask(drawing(0)))
    assert not reads_pictures(processor) and not enc['pictures']
    assert processor.image_token_id not in enc['prompt']


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


def test_training_keeps_an_index_and_words_only_is_remembered(tmp_path):
    from sciencetutor.data.core import run_data
    from sciencetutor.train.core import run_train
    run_data(source='samples', out=str(tmp_path/'d'), n=60)
    settings = dict(text_only=True, memory=True, explain_tokens=20)
    run_train(data=str(tmp_path/'d'), model='tiny', out=str(tmp_path/'c'), steps=2, **settings)
    model, processor = load_model(str(tmp_path/'c'))
    assert len(model.knn_index) > 40 and not reads_pictures(processor)
    assert ContinuousBatcher(model, processor).continuations  # how explanations go on
    assert answer_scores(model, processor, [ask(drawing(0))])[0].isfinite().all()
    again = run_train(data=str(tmp_path/'d'), model=str(tmp_path/'c'), out=str(tmp_path/'e'), steps=1)
    assert again['settings']['text_only'] and len(load_model(str(tmp_path/'e'))[0].knn_index) == len(model.knn_index)
