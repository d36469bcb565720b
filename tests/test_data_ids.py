"Pids that stand twice: said where they are read, made unique where they are written, never answered for one another."
import json
from pathlib import Path

import pytest
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.exports import run_export
from sciencetutor.data.images import png_bytes
from sciencetutor.data.tables import check_table, run_check
from sciencetutor.data.text import json_lines
from sciencetutor.eval.answer_parsing import load_answers, match
from sciencetutor.eval.core import run_score, write_llava
from sciencetutor.eval.predictions import answer_all

COLOURS = ('red', 'blue', 'green')


@pytest.fixture
def table(tmp_path):
    "Pid 1 in train, val and test, a picture each, and twice in train."
    rows = ['question,choices,answer,split,pid,image']
    rows += [f'{s}?,red | blue | green,{c},{s},1,{c}.png' for s, c in zip(('train', 'val', 'test'), COLOURS)]
    for c in COLOURS: (tmp_path/f'{c}.png').write_bytes(png_bytes(Image.new('RGB', (9, 9), c)))
    rows += ['train again?,red | blue,red,train,1,red.png', 'alone?,a | b,A,train,2,']
    (tmp_path/'mine.csv').write_text('\n'.join(rows))
    return tmp_path/'mine.csv'


def test_check_and_data_say_it(table, tmp_path, capsys):
    assert [(n, why) for n, _, why in check_table(table)] == [
        (n, 'has the pid 1 of row 2: give each question its own, or none') for n in (3, 4, 5)]
    with pytest.raises(CliError, match='3 of 5 questions'): run_check(str(table))
    run_data(str(table), str(tmp_path/'d'))
    assert 'note: 3 pids stand twice (exports make them unique): 1, 1, 1' in capsys.readouterr().out


def test_the_official_layout_and_back(table, tmp_path):
    "Each question and each picture stays in its split, the old pid goes along."
    run_data(str(table), str(tmp_path/'d'))
    run_export(str(tmp_path/'d'), str(tmp_path/'o'), 'official')
    splits = json.loads((tmp_path/'o'/'pid_splits.json').read_text())
    assert splits == dict(train=['1', 'train-1', '2'], val=['validation-1'], test=['test-1'])
    made = json.loads((tmp_path/'o'/'problems.json').read_text())
    assert {k: p.get('original_pid') for k, p in made.items()} == {
        '1': None, 'train-1': '1', '2': None, 'validation-1': '1', 'test-1': '1'}
    run_data(str(tmp_path/'o'), str(tmp_path/'back'))
    for split, colour in zip(('train', 'val', 'test'), COLOURS):
        row = load_split(tmp_path/'back', split)[0]
        assert row['question'] == f'{split}?' and row['choices'][row['answer_index']] == colour
        assert row['image'].getpixel((0, 0)) == Image.new('RGB', (1, 1), colour).getpixel((0, 0))


def test_llava_and_messages(table, tmp_path):
    "Two pictures of one pid were one file."
    run_data(str(table), str(tmp_path/'d'))
    for to in ('llava', 'messages'): run_export(str(tmp_path/'d'), str(tmp_path/to), to)
    records = json.loads((tmp_path/'llava'/'llava_train_CQM-A.json').read_text())
    assert [(r['id'], r.get('original_pid')) for r in records] == [('1', None), ('train-1', '1'), ('2', None)]
    assert len({r['image'] for r in records if 'image' in r}) == 2
    lines = [json.loads(x) for x in (tmp_path/'messages'/'train.jsonl').read_text().split('\n')[:-1]]
    assert [m['images'] for m in lines] == [['images/train/1/red.png'], ['images/train/train-1/red.png'], []]


def test_one_question_in_two_splits_is_one(tmp_path):
    """A mini split repeats questions: they keep their name. The same words with another picture are another question
    (deepset-ai/haystack#933)."""
    p = dict(question='Which colour?', choices=['red', 'blue'], answer=0, hint='', image='image.png', split='train')
    for pid, colour in (('1', 'red'), ('2', 'blue')):
        (where := tmp_path/'a'/'images'/'train'/pid).mkdir(parents=True)
        (where/'image.png').write_bytes(png_bytes(Image.new('RGB', (9, 9), colour)))
    (tmp_path/'a'/'problems.json').write_text(json.dumps({'1': p, '2': p}))
    splits = dict(train=['1', '2'], minitrain=['2'])
    (tmp_path/'a'/'pid_splits.json').write_text(json.dumps(splits))
    run_data(str(tmp_path/'a'), str(tmp_path/'d'), only=['train', 'minitrain'])
    run_export(str(tmp_path/'d'), str(tmp_path/'o'), 'official')
    assert json.loads((tmp_path/'o'/'pid_splits.json').read_text()) == splits
    assert list(json.loads((tmp_path/'o'/'problems.json').read_text())) == ['1', '2']
    assert [len({f.read_bytes() for f in (tmp_path/'o'/'images').rglob('*.png')})] == [2]


def test_pids_that_are_no_names(tmp_path):
    "A pid with a slash: its picture was written to one place and looked for in another."
    (tmp_path/'red.png').write_bytes(png_bytes(Image.new('RGB', (9, 9), 'red')))
    rows = [f'{pid}?,red | blue,red,{pid},red.png' for pid in ('unit/1', 'unit_1', 'Unit_1')]
    (tmp_path/'mine.csv').write_text('\n'.join(['question,choices,answer,pid,image', *rows]))
    run_data(str(tmp_path/'mine.csv'), str(tmp_path/'d'))
    run_export(str(tmp_path/'d'), str(tmp_path/'o'), 'official')
    made = json.loads((tmp_path/'o'/'problems.json').read_text())
    assert {k: p.get('original_pid') for k, p in made.items()} == {
        'unit_1': 'unit/1', 'train-unit_1': 'unit_1', 'train-Unit_1-2': 'Unit_1'}
    assert run_data(str(tmp_path/'o'), str(tmp_path/'back'))['splits']['train']['images'] == 3


def test_score_never_answers_one_question_for_another(tmp_path):
    "Two examples with one id both got the answer of the second (sgl-project/sgl-eval#39)."
    lines = ['Hot?,ice | fire,B,test,7', 'Cold?,ice | fire,A,test,7', 'Wet?,rain | sand,A,test,8']
    (tmp_path/'mine.csv').write_text('\n'.join(['question,choices,answer,split,pid', *lines]))
    score = lambda: run_score(str(tmp_path/'p.jsonl'), source=str(tmp_path/'mine.csv'), split='test')
    write = lambda *answers: (tmp_path/'p.jsonl').write_text('\n'.join(map(json.dumps, answers)))
    ours = [dict(id=f'test-{i}', pid=pid, prediction=p) for i, (pid, p) in enumerate([('7', 1), ('7', 0), ('8', 0)])]
    write(*ours)
    assert score()['correct'] == 3
    write(dict(question_id='7', text='B'), dict(question_id='8', text='A'))
    why = r'2 questions of the split have the pid 7 \(test-0, test-1\): give their ids'
    with pytest.raises(CliError, match=why): score()


def test_the_file_for_llava_names_each_question(tmp_path):
    rows = [dict(id=f'test-{i}', pid=pid, image=None, question='Hot?', hint='', choices=['ice', 'fire'],
                 conversations=[dict(value='Context: N/A\nQuestion: Hot?\nOptions: (A) ice (B) fire')])
            for i, pid in enumerate('778')]
    write_llava(rows, [dict(text='A'), dict(text='B'), dict(text='B')], dict(model='m', wording={}), tmp_path)
    lines = [r for _, r in json_lines(tmp_path/'scienceqa-eval.jsonl')]
    assert [r['question_id'] for r in lines] == ['test-0', 'test-1', '8']
    got = match(load_answers(tmp_path/'scienceqa-eval.jsonl'), rows)[0]
    assert {k: a['text'] for k, a in got.items()} == {'test-0': 'A', 'test-1': 'B', 'test-2': 'B'}


def test_ids_that_look_like_pids(tmp_path):
    "A set without pids names its rows test-0, test-1 ...; where a bad row was skipped, the ids are others."
    rows = [dict(question='Hot?', choices=['ice', 'fire'], answer='B', split='test', pid=f'test-{i}') for i in (1, 2)]
    (tmp_path/'mine.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    answers = [dict(id='test-0', pid='test-1', prediction=1), dict(id='test-1', pid='test-2', prediction=0)]
    (tmp_path/'p.jsonl').write_text('\n'.join(map(json.dumps, answers)))
    m = run_score(str(tmp_path/'p.jsonl'), source=str(tmp_path/'mine.jsonl'), split='test')
    assert (m['count'], m['correct'], m['missing']) == (2, 1, [])


def test_a_run_with_two_rows_of_one_id_is_refused(tmp_path):
    "It waited for an hour for the answer that could not come."
    qs = [dict(id='val-0', pid=str(i), answer_index=0) for i in range(2)]
    with pytest.raises(CliError, match='1 ids are not unique'):
        answer_all(qs, lambda ns: [dict(prediction=0) for _ in ns], Path(tmp_path))
