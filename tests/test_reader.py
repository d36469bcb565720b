"The reader: it is the network that was taught, and what is taught can be gone on with."
import random
from pathlib import Path
import numpy as np, pytest, torch
from fastcore.script import CliError
from safetensors.numpy import load_file, save_file

from sciencetutor.app.teaching_the_reader import (HEADS, OF_ONE_SKILL, choice_lesson, danger_lesson, from_checks,
                                                  from_file, from_rows, in_batches, kept_weights, loss_of, take_weights,
                                                  teach, torch_encoder, torch_reader)
from sciencetutor.app import teaching_the_reader as teaching
from sciencetutor.models import reader as reader_module
from sciencetutor.models.embedding import sentence_encoder
from sciencetutor.models.reader import (CHOOSING, END, LONGEST, Reader, choice_row, line_row, shipped_reader,
                                        side_by_side)

ROOT = Path(__file__).parents[1]
QUESTION, CHOICES = 'Why does ice float on water?', ['it is less dense', 'it is colder', 'it is whiter']
PASSAGES = [['Ice is less dense than water.', 'Ice floats.'], [], ['Snow is white.']]


@pytest.fixture(scope='module')
def taught():
    "A network with a random update."
    net = torch_reader(2, seed=3)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if 'lora_B' in name: p.normal_(std=.05)
    return net.eval()


def test_torch_has_the_weights_of_the_encoder():
    ids = sentence_encoder().tokenizer.encode('why is the sky blue').ids
    with torch.no_grad(): mean = torch_encoder().eval()(torch.tensor([ids])).last_hidden_state.mean(1).numpy()
    assert np.allclose(mean, sentence_encoder().pooled([ids]), atol=1e-5)


@pytest.mark.parametrize('head', HEADS)
def test_the_reader_is_the_network_that_was_taught(taught, head):
    reader, rows = Reader(kept_weights(taught, HEADS, np.float32)), [line_row('my dog ate a battery'),
                                                                    choice_row(QUESTION, CHOICES[0], PASSAGES[0])]
    wanted = []
    for ids, types in rows:
        ids, types = torch.tensor([ids]), torch.tensor([types])
        with torch.no_grad():
            out = taught['encoder'](input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids))
            wanted.append(taught[head](out.last_hidden_state.mean(1))[0].numpy())
    assert np.allclose(reader(rows, head), wanted, atol=1e-3) and reader(rows, head).shape == (2, HEADS[head])


def test_what_is_kept_can_be_taken_up(taught, tmp_path):
    save_file(kept_weights(taught, ['choice'], np.float32), tmp_path/'r.safetensors', {'step': '7'})
    new = torch_reader(2, seed=9)
    assert take_weights(new, str(tmp_path/'r.safetensors')) == {'step': '7'}
    old, now = taught.state_dict(), new.state_dict()
    assert all(torch.equal(old[k], now[k]) for k in old if 'danger' not in k)
    assert not torch.equal(old['danger.0.weight'], now['danger.0.weight'])


def lessons():
    return [choice_lesson(QUESTION, CHOICES, PASSAGES, 0), danger_lesson(['i drank bleach', 'i dranc bleech'], 5)]*4


def test_it_learns_and_goes_on(tmp_path, monkeypatch):
    out, how = tmp_path/'r.safetensors', dict(epochs=15, rank=2, size=4, rate=5e-3)
    monkeypatch.setattr(teaching, 'EVERY', 10)
    cut = teach(lessons(), str(out), **how)
    assert [next(cut)['step'] for _ in range(23)][-1] == 23 and not out.exists()
    cut.close()
    with pytest.raises(CliError, match='left of another run'): next(teach(lessons()*2, str(out), **how))
    steps = [t['step'] for t in teach(lessons(), str(out), **how)]
    assert steps == list(range(21, 31)) and not Path(f'{out}.part').exists()
    reader = Reader(load_file(out))
    assert reader.choose(QUESTION, CHOICES, PASSAGES).argmax() == 0
    assert reader([line_row('i drank bleach')], 'danger').argmax() == 5


def test_batches_are_of_one_kind_and_the_same_each_time():
    some = [l._replace(size=i) for i, l in enumerate(lessons())]
    one, two = in_batches(some, 2.5, 3, 0), in_batches(some, 2.5, 3, 0)
    assert [[l.size for l in b] for b in one] == [[l.size for l in b] for b in two]
    assert all(len({l.head for l in b}) == 1 for b in one) and sum(map(len, one)) == 20


def test_a_lesson_is_sometimes_without_passages():
    seen = {len(choice_lesson(QUESTION, CHOICES, PASSAGES, 0).rows(random.Random(i))[0][0]) for i in range(40)}
    assert len(seen) == 2
    assert loss_of(torch_reader(2), lessons()[:1], random.Random(0)).item() == pytest.approx(np.log(3), abs=.1)


def test_long_texts_are_cut():
    assert sentence_encoder().tokenizer.decode(choice_row('why '*500+'zebra', 'no', [])[0]).endswith('zebra no')
    ids, types = choice_row('why '*500, 'because '*500, ['word '*500])
    assert len(ids) == len(types) == CHOOSING and ids.count(END) == 2
    assert side_by_side([[7]*90], [[8]*9], 80)[0].count(8) == 0
    assert len(line_row('a '*5000)[0]) == LONGEST['line']+2


@pytest.mark.parametrize('question, choices', [('', ['a', 'b']), ('🙂', ['🙂', '']), ('x\0y', ['1', '2'])])
def test_odd_questions_get_numbers(question, choices):
    assert np.isfinite(shipped_reader().choose(question, choices, [[], []])).all()


def test_the_order_of_choices_does_not_matter():
    one = shipped_reader().choose(QUESTION, CHOICES, PASSAGES)
    assert np.allclose(one[::-1], shipped_reader().choose(QUESTION, CHOICES[::-1], PASSAGES[::-1]), atol=1e-3)
    assert one.argmax() == 0


def test_weights_that_are_gone_are_one_line(monkeypatch):
    monkeypatch.setattr(reader_module, 'files', lambda package: Path('/nowhere'))
    with pytest.raises(CliError, match='install it again'): shipped_reader.__wrapped__()


def test_a_data_set_without_other_questions_is_one_line(tmp_path):
    for others in ('', str(tmp_path)):
        with pytest.raises(CliError, match='splits that end in _train'): teaching.run_reader('x', others)


def test_questions_to_learn_from():
    row = dict(choices=['a', 'b'], answer_index=1, image=None, skill='s')
    rows = [row | dict(question=f'q{i}') for i in range(30)]
    assert len(list(from_rows(rows))) == OF_ONE_SKILL
    assert not list(from_rows([rows[0] | dict(image=object()), rows[0] | dict(choices=['a'])]))
    own = list(from_file(ROOT/'bench'/'questions.jsonl'))
    assert len(own) > 3500 and all(0 <= right < len(set(choices)) == len(choices) for _, choices, right, _ in own)
    place = np.mean([right == 0 for _, choices, right, _ in own if len(choices) == 4])
    assert .2 < place < .3
    card = type('Card', (), dict(check=dict(question='Hot?', choices=['no', 'yes'], answer='yes')))
    assert list(from_checks([card])) == [('Hot?', ['no', 'yes'], 1, 'Hot? yes')]


def test_tokens_are_those_of_the_text():
    assert sentence_encoder().tokenizer.decode(choice_row('ice', 'melts', ['it is warm'])[0]) == 'ice melts it is warm'
