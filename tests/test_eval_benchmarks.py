"Benchmarks asked as their communities ask them, and several runs side by side."
import json

import pytest, torch
from fastcore.script import CliError
from test_data_benchmarks import AI2D, ARC, LABELLED, MMMU, OPEN, SCIQ, lesson, stored, tqa

from sciencetutor.cli import main
from sciencetutor.data.core import load_split, run_data
from sciencetutor.eval.core import run_eval
from sciencetutor.eval.protocols import encode_continuations, percentages, plain_prompt
from sciencetutor.models.core import load_model

SETS = {'ARC-Easy': ('ARC-Easy', ARC), 'ARC-Challenge': ('ARC-Challenge', ARC), 'OpenBookQA': ('main', OPEN),
        'SciQ': ('data', SCIQ), 'AI2D': ('data', AI2D), 'MMMU-Science': ('Physics', MMMU)}
FOLDERS = {'AI2D': 'ai2d', 'MMMU-Science': 'MMMU'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    "The data set folder of each benchmark, by name."
    top, made = tmp_path_factory.mktemp('benchmarks'), {}
    for name, (part, rows) in SETS.items():
        source = stored(top/'raw'/name/FOLDERS.get(name, 'x'), part, 'test', rows)
        run_data(str(source/part if part.startswith('ARC') else source), str(top/name))
        made[name] = str(top/name)
    (top/'raw'/'t').mkdir()
    q = lesson(nonDiagramQuestions=dict(N1=tqa('Hot?', 'a', 'true', 'false'), N2=tqa('Which?', 'b', 'x', 'y', 'z')))
    (top/'raw'/'t'/'tqa_v2_test.json').write_text(json.dumps(q))
    run_data(str(top/'raw'/'t'), str(top/'TQA'))
    return made | dict(TQA=str(top/'TQA'))


def evaluated(data, name, out, **kw):
    return run_eval(data=data[name], model='tiny', out=str(out), protocol='benchmark', max_new_tokens=3, **kw)


@pytest.mark.parametrize('name, asked, number', [
    ('ARC-Easy', 'continuation', 'acc'), ('ARC-Challenge', 'continuation', 'acc_norm'), ('SciQ', 'continuation', 'acc'),
    ('OpenBookQA', 'continuation', 'acc_norm'), ('AI2D', 'generate', 'acc'), ('MMMU-Science', 'generate', 'acc'),
    ('TQA', 'generate', 'acc')])
def test_each_is_asked_as_its_community_does(data, tmp_path, capsys, name, asked, number):
    m = evaluated(data, name, tmp_path)
    f = m['benchmark']
    assert (f['name'], m['protocol'], f['number']) == (name, asked, number)
    assert f['lo'] <= f['value'] <= f['hi'] and f'{name}: {number} {f["value"]:.2f}%' in capsys.readouterr().out
    if asked == 'continuation':
        assert {*f['numbers']} == {'acc', 'acc_norm'} and f['value'] == pytest.approx(m['acc'])
    if name == 'TQA': assert {*f['numbers']} == {'acc', 'text true or false', 'text multiple choice'}
    page = (tmp_path/'report.html').read_text()
    assert f'by the protocol of {f["peer"]}' in page and 'LLaVA-13B' not in page  # whose figures are of ScienceQA
    assert evaluated(data, name, tmp_path)['benchmark'] == f  # a finished run is read again


@pytest.mark.parametrize('name, row, want', [
    ('ARC-Easy', dict(question='Why?', hint=''), 'Question: Why?\nAnswer:'),
    ('OpenBookQA', dict(question='A wet towel dries in', hint=''), 'A wet towel dries in'),
    ('SciQ', dict(question='Why?', hint='It is so.'), 'It is so.\nQuestion: Why?\nAnswer:'),
    ('SciQ', dict(question='Why {so}?', hint=''), '\nQuestion: Why {so}?\nAnswer:')])
def test_prompts_are_those_of_the_harness(name, row, want): assert plain_prompt(row, name) == want


def test_sums_equal_one_choice_after_the_other(data, tmp_path):
    evaluated(data, 'SciQ', tmp_path)
    lines = [json.loads(x) for x in (tmp_path/'predictions.jsonl').read_text().splitlines()]
    model, processor = load_model('tiny', dtype='float32')
    for row, line in zip(load_split(data['SciQ'], 'test'), lines, strict=True):
        prompt, want = plain_prompt(row, 'SciQ'), []
        for choice in row['choices']:
            start, ids = (processor.tokenizer(t)['input_ids'] for t in (prompt, f'{prompt} {choice}'))
            with torch.no_grad(): logp = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            want.append(sum(float(logp[i - 1, ids[i]]) for i in range(len(start), len(ids))))
        assert line['sums'] == pytest.approx(want, abs=1e-3) and line['prediction'] == want.index(max(want))


def test_a_choice_of_the_models_own_marks_is_text():
    _, processor = load_model('tiny')
    row = dict(question='Which <image> ends?', choices=['<|im_end|>a', 'b'], image=None)
    e = encode_continuations(processor, row, 'ARC-Easy')
    special = {*processor.tokenizer.all_special_ids, processor.image_token_id}
    assert not special & {*e['prompt'], *sum(e['branches'], [])}


def test_the_two_numbers_of_the_harness():
    rows = [dict(choices=['no', 'most certainly'], answer_index=1)]*2
    answers = [dict(sums=[-3., -9.]), dict(sums=[-9., -3.])]
    assert percentages(rows, answers, [], 'ARC-Challenge') == dict(acc_norm=100., acc=50.)
    assert list(percentages(rows, answers, [], 'ARC-Easy')) == ['acc', 'acc_norm']


def test_lmms_evals_reader_decides_on_ai2d():
    rows = [dict(choices=['a', 'b'], answer_index=1)]*3
    answers = [dict(text='B'), dict(text='The answer is B.'), dict(error='timeout')]
    assert percentages(rows, answers, [], 'AI2D') == dict(acc=pytest.approx(100/3))


def test_other_questions_have_no_such_protocol(tmp_path, capsys):
    run_data('samples', str(tmp_path/'d'), n=10)
    argv = ['eval', '--data', str(tmp_path/'d'), '--model', 'tiny', '--out', str(tmp_path/'e')]
    assert main([*argv, '--protocol', 'benchmark']) == 2
    assert 'needs the questions of one of ARC-Easy, ' in capsys.readouterr().err and not (tmp_path/'e').exists()


def test_an_endpoint_cannot_continue(data, tmp_path):
    with pytest.raises(CliError, match='an endpoint can only write'):
        evaluated(data, 'SciQ', tmp_path/'e', endpoint='http://127.0.0.1:9')


def test_runs_side_by_side(data, tmp_path, capsys):
    for name in ('SciQ', 'AI2D'): evaluated(data, name, tmp_path/name)
    run_eval(data=data['SciQ'], model='tiny', out=str(tmp_path/'own'))
    capsys.readouterr()
    folders = [str(tmp_path/n) for n in ('SciQ', 'AI2D', 'own')]
    assert main(['runs', *folders, '--out', str(tmp_path/'all')]) == 0
    table = capsys.readouterr().out
    results = json.loads((tmp_path/'all'/'runs.json').read_text())
    assert [(r['set'], r['number'], r['count']) for r in results] == [
        ('SciQ', 'acc', 8), ('AI2D', 'acc', 2), ('split test', 'acc', 8)]
    page = (tmp_path/'all'/'runs.html').read_text()
    assert all(r['set'] in page and f'| {r["set"]} | tiny |' in table for r in results) and '<svg' in page
    assert main(['runs', *folders, '--out', str(tmp_path/'all')]) == 0  # ours are replaced


def result(folder, questions='', **more):
    folder.mkdir()
    m = dict(model='m', split='test', protocol='choices', acc=40., lo=30., hi=50., chance=25., count=9) | more
    (folder/'metrics.json').write_text(json.dumps(m))
    (folder/'run.json').write_text(json.dumps(dict(questions=questions)))
    return str(folder)


def test_other_questions_under_the_same_name_are_kept_apart(tmp_path, capsys):
    evil = result(tmp_path/'b', 'bbb', model='<b>$x$|y')
    assert main(['runs', result(tmp_path/'a', 'aaa'), evil, '--out', str(tmp_path/'o')]) == 0
    table, page = capsys.readouterr().out, (tmp_path/'o'/'runs.html').read_text()
    assert 'split test, 9 questions (aaa)' in table and 'split test, 9 questions (bbb)' in table
    assert '<b>' not in page and r'<b>$x$\|y' in table


@pytest.mark.parametrize('text, said', [(None, 'holds no metrics.json'), ('[]', 'is none of ours'), ('{}', 'is none'),
                                        ('{', 'is none of ours')])
def test_what_is_no_run_is_one_line(tmp_path, capsys, text, said):
    if text: (tmp_path/'metrics.json').write_text(text)
    assert main(['runs', str(tmp_path)]) == 2 and said in capsys.readouterr().err


def test_openbookqas_choices_have_labels(data):
    assert load_split(data['OpenBookQA'], 'test')[0]['choices'] == LABELLED['text']
