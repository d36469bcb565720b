"Training on `tiny`: objectives, budgets, what is left out, and interrupted runs."
import json, random, signal, time
import pytest, torch
from fastcore.script import CliError
from killable import begin, end
from sciencetutor.data.core import load_split, run_data
from sciencetutor.models.core import load_model
from sciencetutor.models.scoring import branch_batch, per_branch, token_logprobs
from sciencetutor.train.core import Questions, choice_loss, collate, run_train


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('train')/'data'
    run_data(source='samples', out=str(folder), n=80)
    return str(folder)


def train(data, out, **kw):
    return run_train(**{**dict(data=data, model='tiny', out=str(out), steps=4, warmup=2, precision="fp32"), **kw})


@pytest.mark.parametrize('kw', [
    dict(), dict(objective='answer'), dict(explain_tokens=24), dict(grad_accum=2), dict(precision='bf16'),
    dict(freeze=['vision', 'embeddings'], freeze_layers=0.5), dict(steps=None, epochs=0.5),
    dict(steps=None, minutes=0.05)])
def test_every_switch_trains(data, tmp_path, kw):
    report = train(data, tmp_path/'ck', **kw)
    assert report['steps'] > 0 and report['questions'] > 0
    assert json.loads((tmp_path/'ck/training.json').read_text())['settings']['data'] == data
    model, _ = load_model(str(tmp_path/'ck'))
    before, _ = load_model('tiny')
    changed = {n for (n, a), b in zip(before.named_parameters(), model.parameters()) if not torch.equal(a, b)}
    still = ('vision_tower', 'embed_tokens', '.layers.0.')
    frozen = [n for n in changed if any(part in n.replace('encoder.layers', '') for part in still)]
    assert changed and not (kw.get('freeze') and frozen)
    assert not (tmp_path/'ck.training').exists()


def test_text_only_leaves_the_pictures_out(data, tmp_path):
    _, processor = load_model('tiny')
    rows = load_split(data, 'train')
    assert any(row['image'] is not None for row in rows)
    for objective in ('choices', 'answer'):
        questions = Questions(rows, processor, objective, text_only=True)
        items = [questions[i] for i in range(len(questions))]
        assert all(not it['pictures'] and processor.image_token_id not in it['prompt'] for it in items)
    assert train(data, tmp_path/'ck', text_only=True)['settings']['text_only']


def test_loss_falls(data, tmp_path):
    loss = [l['loss'] for l in train(data, tmp_path/'ck', steps=30, lr=3e-3)['log']]
    assert sum(loss[-5:]) < sum(loss[:5])


def test_batch_has_the_gradient_of_single_questions(data):
    model, processor = load_model('tiny')
    questions = Questions(load_split(data, 'train').select(range(12)), processor, explain_tokens=16)
    items, pad = [questions[i] for i in range(12)], processor.tokenizer.pad_token_id
    def loss_of(items):
        batch = collate(items, pad)
        return choice_loss(token_logprobs(model, batch), batch, explain_weight=0.)
    def grads(loss):
        model.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert any(it['pictures'] for it in items)
    together = loss_of(items)
    alone = sum(loss_of([it]) for it in items)/len(items)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grads(together), grads(alone), atol=1e-5, rtol=1e-4)


def test_long_questions_are_counted_and_named(data, tmp_path, capsys):
    report = train(data, tmp_path/'ck', batch_tokens=200)
    assert report['left_out'] and report['left_out'][0] in capsys.readouterr().out
    with pytest.raises(CliError, match='no question'): train(data, tmp_path/'no', batch_tokens=5)


def test_bad_input_is_one_line(data, tmp_path):
    with pytest.raises(CliError, match='no-such'): train('no-such', tmp_path/'ck')
    with pytest.raises(CliError): train(data, tmp_path/'ck', split=['nope'])
    every = ['vision', 'projector', 'language', 'embeddings']
    with pytest.raises(CliError, match='leaves nothing'): train(data, tmp_path/'ck', freeze=every)
    with pytest.raises(CliError, match='contradict'): train(data, tmp_path/'ck', minutes=1)
    with pytest.raises(CliError, match='grad-accum is 0'): train(data, tmp_path/'ck', grad_accum=0)
    with pytest.raises(CliError, match='is what is read'): train(data, data)
    with pytest.raises(CliError, match='loss is nan'): train(data, tmp_path/'ck', steps=20, lr=1e30, warmup=1)
    assert not (tmp_path/'ck').exists()


@pytest.mark.parametrize('kills', [2, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_run_resumes_to_the_same_losses(data, tmp_path, kills):
    steps, rng = 15*kills, random.Random(kills)
    kw = dict(data=data, model='tiny', steps=steps, warmup=2, precision='fp32', save_minutes=0.002)
    def start(out): return begin(run_train, out=str(out), **kw)
    assert end(start(tmp_path/'whole')) == 0
    work = tmp_path/'killed.training'
    def saved():
        states = work.glob('checkpoint-*/trainer_state.json')
        return max((int(f.parent.name.split('-')[1]) for f in states), default=0)
    for _ in range(kills):
        seen, p = saved(), start(tmp_path/'killed')
        while p.is_alive() and saved() <= seen: time.sleep(0.02)
        time.sleep(rng.random()/5)  # in a step, or while the next checkpoint is written
        p.kill()
        assert end(p) == -signal.SIGKILL, 'the run ended before it could be killed'
        assert not (tmp_path/'killed').exists()
    assert end(start(tmp_path/'killed')) == 0
    reports = [json.loads((tmp_path/d/'training.json').read_text()) for d in ('whole', 'killed')]
    losses = [[l['loss'] for l in report['log']] for report in reports]
    assert losses[0] == losses[1] and len(losses[0]) == steps
