"Runs that are killed, resumed, shared by processes, and fed with nonsense."
import json, os, random, re, subprocess, sys, time

import pytest
from fastcore.script import CliError
from killable import begin, end

from sciencetutor.eval.core import load_rows, run_eval, run_score
from sciencetutor.eval.predictions import answer_all, claim

qs = [dict(id=f'val-{i}', pid=str(i), answer_index=i % 2) for i in range(10)]
def guess(ns): return [dict(prediction=i % 2, scores=[-.1*i, -.2]) for i in ns]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    from sciencetutor.data.core import run_data
    out = tmp_path_factory.mktemp('runs')/'samples'
    run_data(source='samples', out=str(out), n=400)
    return str(out)


def start(data, out, *more, launcher=(), **env):
    flags = ['--data', data, '--model', 'tiny', '--out', str(out), '--window', '4', *more]
    command = [sys.executable, *(launcher or ['-m']), 'sciencetutor.cli', 'eval', *flags]
    env = dict(os.environ, OMP_NUM_THREADS='1', **env)
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(p):
    text = p.communicate(timeout=300)[0]
    assert p.returncode == 0, text
    return text


def test_torn_anywhere_the_file_is_the_same(tmp_path):
    whole = answer_all(qs, guess, tmp_path, 4)
    f = tmp_path/'predictions.jsonl'
    text = f.read_bytes()
    for cut in range(0, len(text), 7):
        f.write_bytes(text[:cut])
        assert answer_all(qs, guess, tmp_path, 4) == whole and f.read_bytes() == text
    f.write_bytes(text[:90] + b'\x00\xff\n{}\n[]\n"x"\n' + text[300:])
    assert answer_all(qs, guess, tmp_path, 4) == whole and f.read_bytes() == text


def killed_and_resumed(data, tmp_path, kills):
    "Kill the run `kills` times at random progress, let it end, and compare with a run that was left alone."
    def run(out): return begin(run_eval, data=data, model='tiny', out=str(out), window=4)
    assert end(run(tmp_path/'whole')) == 0
    want, rng = (tmp_path/'whole'/'predictions.jsonl').read_bytes(), random.Random(kills)
    f, left = tmp_path/'killed'/'predictions.jsonl', sorted(rng.randrange(len(want)) for _ in range(kills))
    for size in left:
        p = run(tmp_path/'killed')
        while p.is_alive() and not (f.exists() and f.stat().st_size > size): time.sleep(.003)
        p.kill()
        end(p)
    assert not (tmp_path/'killed'/'metrics.json').exists()
    assert end(run(tmp_path/'killed')) == 0
    assert f.read_bytes() == want


def test_sigkill_three_times(data, tmp_path): killed_and_resumed(data, tmp_path, 3)

@pytest.mark.soak
def test_sigkill_twenty_times(data, tmp_path): killed_and_resumed(data, tmp_path, 20)


def test_two_processes_write_what_one_does(data, tmp_path):
    finish(start(data, tmp_path/'one', '--limit', '30'))
    torchrun = ['-m', 'torch.distributed.run', '--nproc-per-node', '2', '-m']
    finish(start(data, tmp_path/'two', '--limit', '30', launcher=torchrun))
    read = lambda d, f: (tmp_path/d/f).read_bytes()
    assert read('one', 'predictions.jsonl') == read('two', 'predictions.jsonl')
    assert json.loads(read('one', 'metrics.json')) == json.loads(read('two', 'metrics.json'))
    assert not list((tmp_path/'two').glob('predictions.*-of-*'))


def batched_and_alone(data, tmp_path, protocol, model='tiny', **kw):
    "The same predictions in batches and one question at a time."
    lines = []
    for name, tokens in (('batched', kw.pop('batch_tokens', 0)), ('alone', 1)):
        run_eval(data=data, model=model, out=str(tmp_path/name), protocol=protocol, batch_tokens=tokens, **kw)
        lines.append([json.loads(x) for x in (tmp_path/name/'predictions.jsonl').read_text().splitlines()])
    for a, b in zip(*lines, strict=True):
        assert (a['id'], a['prediction'], a.get('text')) == (b['id'], b['prediction'], b.get('text'))
        assert a.get('scores', []) == pytest.approx(b.get('scores', []), abs=1e-4)
    if protocol == 'generate': assert any(a['text'] for a in lines[0])  # silence is always the same
    return lines[0]


@pytest.mark.parametrize('protocol', ['choices', 'letter', 'generate'])
def test_batched_equals_one_by_one(data, tmp_path, protocol):
    some = dict(limit=24, max_new_tokens=6, conv_mode='vicuna_v1')  # `tiny` is silent in its own template
    batched_and_alone(data, tmp_path, protocol, batch_tokens=4096, **some)


@pytest.fixture(scope='module')
def real(scienceqa, tmp_path_factory):
    "500 validation questions, half of them with a picture."
    from sciencetutor.data.core import run_data
    out = tmp_path_factory.mktemp('real')
    problems, splits = (json.loads(open(f'{scienceqa}/{f}.json').read()) for f in ('problems', 'local_splits'))
    kinds = [[p for p in splits['val'] if bool(problems[p]['image']) == k] for k in (True, False)]
    (out/'splits.json').write_text(json.dumps(dict(val=[p for ps in kinds for p in ps[::max(1, len(ps)//250)][:250]])))
    run_data(scienceqa, str(out/'d'), splits=str(out/'splits.json'))
    return str(out/'d')


@pytest.mark.soak
@pytest.mark.parametrize('model', ['tiny', 'tutor-base'])
@pytest.mark.parametrize('protocol', ['choices', 'letter', 'generate'])
def test_batched_equals_one_by_one_on_real_questions(real, tmp_path, protocol, model):
    conv_mode = 'vicuna_v1' if model == 'tiny' else 'chat'
    lines = batched_and_alone(real, tmp_path, protocol, model, split='val', max_new_tokens=8, conv_mode=conv_mode)
    assert len(lines) == 500


@pytest.mark.soak
@pytest.mark.parametrize('model', ['tiny', 'tutor-base'])
@pytest.mark.parametrize('reduce', ['mean', 'sum'])
def test_a_shared_prefix_equals_each_choice_alone(real, model, reduce):
    from sciencetutor.models.core import load_model
    from sciencetutor.models.scoring import question_item, score_choices
    m, processor = load_model(model, dtype='float32')
    ds, most = load_rows(real, 'val')[0], 0.
    for i in range(0, len(ds), 10):
        item = question_item(ds[i])
        together, = score_choices(m, processor, [item], reduce=reduce)
        for c, s in zip(item['choices'], together, strict=True):
            alone = score_choices(m, processor, [dict(item, choices=[c])], reduce=reduce)[0]
            most = max(most, abs(float(s - alone)))
    print(f'{model}, {reduce}: largest difference {most:.1e}')
    assert most < 1e-4


def test_a_finished_run_needs_no_model(data, tmp_path, monkeypatch):
    first = run_eval(data=data, model='tiny', out=str(tmp_path), limit=8)
    monkeypatch.setattr('sciencetutor.eval.core.load_eval_model', lambda *a: 1/0)
    assert run_eval(data=data, model='tiny', out=str(tmp_path), limit=8) == first


def test_another_run_is_not_overwritten(data, tmp_path):
    run_eval(data=data, model='tiny', out=str(tmp_path), limit=8)
    other = dict(data=data, model='tiny', out=str(tmp_path), limit=8, protocol='letter')
    with pytest.raises(CliError, match='protocol is choices there and letter now'): run_eval(**other)
    assert run_eval(**other, restart=True)['protocol'] == 'letter'


def test_a_retrained_checkpoint_is_another_run(data, tmp_path):
    import torch
    from sciencetutor.models.core import load_model, save_model
    model, processor = load_model('tiny')
    save_model(model, processor, tmp_path/'m')
    run_eval(data=data, model=str(tmp_path/'m'), out=str(tmp_path/'e'), limit=8)
    with torch.no_grad(): next(p for n, p in model.named_parameters() if 'layers.2.mlp' in n).mul_(1.01)
    save_model(model, processor, tmp_path/'m')
    with pytest.raises(CliError, match='model_hash is'):
        run_eval(data=data, model=str(tmp_path/'m'), out=str(tmp_path/'e'), limit=8)


@pytest.mark.parametrize('argv,message', [
    (dict(split='nowhere'), 'no split nowhere'), (dict(data='nothing-here'), 'no data set in nothing-here'),
    (dict(model='no-such-model'), 'no-such-model')])
def test_bad_names_leave_nothing_behind(data, tmp_path, argv, message):
    whole = dict(data=data, model='tiny', out=str(tmp_path/'e')) | argv
    with pytest.raises(CliError, match=message) as e: run_eval(**whole)
    assert '\n' not in str(e.value) and not (tmp_path/'e').exists()


def test_a_model_without_chat_template(data, tmp_path):
    from sciencetutor.models.core import load_model, save_model
    model, processor = load_model('tiny')
    processor.chat_template = processor.tokenizer.chat_template = None
    save_model(model, processor, tmp_path/'m')
    for protocol in ('choices', 'letter', 'generate'):
        with pytest.raises(CliError, match='no chat template.*--conv-mode'):
            run_eval(data=data, model=str(tmp_path/'m'), out=str(tmp_path/protocol), protocol=protocol)
    m = run_eval(data=data, model=str(tmp_path/'m'), out=str(tmp_path/'letter'), protocol='letter',
                 conv_mode='vicuna_v1', limit=8)
    assert m['conv_mode'] == 'vicuna_v1'


def test_scored_again_the_run_gives_its_own_metrics(data, tmp_path):
    want = run_eval(data=data, model='tiny', out=str(tmp_path), protocol='generate', max_new_tokens=4, limit=12)
    for name in ('predictions.jsonl', 'scienceqa-eval.jsonl'):
        m = run_score(str(tmp_path/name), source=data, split='test')
        assert (m['correct'], m['count'], len(m['missing'])) == (want['correct'], 80, 68)


def test_memory_is_flat(tmp_path):
    "Ten times the questions, each with a picture that is looked at: no picture is kept."
    code = """
import json, sys
from pathlib import Path
from sciencetutor.data.core import run_data
from sciencetutor.eval.core import load_rows
from sciencetutor.eval.predictions import answer_all
from PIL import Image
from datasets import disable_progress_bars
n, top = int(sys.argv[1]), Path(sys.argv[2])
Image.effect_noise((200, 200), 90).convert('RGB').save(top/'p.png')  # 120 kB
question = lambda i: dict(question=f'Which is {i}?', choices=['a', 'b'], answer='A', image='p.png')
(top/'t.jsonl').write_text('\\n'.join(json.dumps(question(i)) for i in range(n)))
run_data(str(top/'t.jsonl'), str(top/'d'))
ds, rows = load_rows(str(top/'d'), 'train')
most = 0
def answer(ns):
    global most
    most = max(most, next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon')))
    return [dict(prediction=0, scores=[-float(len(ds[i]['image'].tobytes())), -1e9]) for i in ns]
assert len(answer_all(rows, answer, top, 16)) == n
print(most)
"""
    used = []
    for n in (100, 1000):
        (tmp_path/str(n)).mkdir()
        env = dict(os.environ, OMP_NUM_THREADS='1', TQDM_DISABLE='1')
        command = [sys.executable, '-c', code, str(n), str(tmp_path/str(n))]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        used.append(int(done.stdout.split()[-1]))
    assert used[1] - used[0] < 900*20, used  # kB; the pictures alone would be 900 * 120


@pytest.mark.parametrize('lines, said', [
    (lambda ls: ls[:-2], '2 of 80 questions have no answer'), (lambda ls: [*ls, ls[0]], '1 answers in .* are repeated'),
    (lambda ls: [*ls, ls[0].replace('test-0', 'test-900').replace('"pid": "', '"pid": "x')],
     '1 answers in .* belong to no question')])
def test_gaps_are_counted(data, tmp_path, capsys, lines, said):
    ls = [json.dumps(dict(id=r['id'], pid=r['pid'], prediction=r['answer_index'])) for r in load_rows(data, 'test')[1]]
    (tmp_path/'p.jsonl').write_text('\n'.join(lines(ls)))
    m = run_score(str(tmp_path/'p.jsonl'), source=data, split='test')
    assert m['count'] == 80 and m['correct'] == 80 - len(m['missing'])
    assert re.search(said, capsys.readouterr().out)


def test_torn_and_doubled_files_are_refused(data, tmp_path):
    (tmp_path/'p.jsonl').write_text('{"id": "test-0", "prediction": 0}\n{"id": "test-1", "pred')
    score = lambda: run_score(str(tmp_path/'p.jsonl'), source=data, split='test')
    with pytest.raises(CliError, match='line 2 is not a JSON object .cut off'): score()
    (tmp_path/'p.jsonl').write_text(''.join(json.dumps(dict(id='test-0', prediction=i)) + '\n' for i in (0, 1)))
    with pytest.raises(CliError, match='test-0 has two different answers'): score()


def test_score_names_what_is_wrong(data, tmp_path):
    with pytest.raises(CliError, match='no split .*nowhere'): run_score(str(tmp_path/'f'), source=data, split='nowhere')
    (tmp_path/'f').write_text('{"results": {"train-0-0": 1}}')
    with pytest.raises(CliError, match='none of the 1 answers'): run_score(str(tmp_path/'f'), source=data, split='test')


def test_claiming(tmp_path):
    claim(tmp_path/'e', dict(a=1))
    claim(tmp_path/'e', dict(a=2))  # no predictions yet: free
    (tmp_path/'e'/'predictions.jsonl').write_text('x\n')
    with pytest.raises(CliError, match='a is 2 there and 3 now'): claim(tmp_path/'e', dict(a=3))
    (tmp_path/'e'/'run.json').write_text('{')
    with pytest.raises(CliError, match='holds another run'): claim(tmp_path/'e', dict(a=2))
