"Other published sets of questions, in small files of our own that have their layouts."
import json

import datasets, pytest
from datasets import Dataset, DatasetDict, Features, Image, Value
from fastcore.script import CliError
from PIL import Image as Picture
from sciencetutor.cli import main
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.images import png_bytes

RED = dict(bytes=png_bytes(Picture.new('RGB', (9, 9), 'red')), path=None)
LABELLED = dict(text=['a stone', 'a lamp', 'a rope'], label=['A', 'B', 'C'])
DIGITS = dict(text=['ice', 'steam', 'fog', 'dew'], label=['1', '2', '3', '4'])
ARC = [dict(id='X_1', question='Which gives light?', choices=LABELLED, answerKey='B'),
       dict(id='X_2', question='Which is hottest?', choices=DIGITS, answerKey='2')]
OPEN = [dict(id='8-1', question_stem='A wet towel dries in', choices=LABELLED, answerKey='A', fact1='wind dries')]
SCIQ = [dict(question=f'What falls, number {i}?', distractor3='hay', distractor1='ash', distractor2='ink',
             correct_answer='rain', support='  Rain falls. ') for i in range(8)]
AI2D = [dict(question='Who eats grass?', options=['fox', 'hare'], answer='1', image=RED),
        dict(question='What is P?', options=['a leaf', 'a root', 'a stem', 'a bud'], answer='0', image=RED)]
MMMU = [dict(id='validation_Physics_1', question='Look at <image 1>. Which falls first?', options="['a', \"b's\"]",
             explanation='', img_type="['Diagrams']", answer='B', question_type='multiple-choice', subfield='Motion'),
        dict(id='validation_Physics_2', question='<image 1> Compute v.', options='[]', explanation='',
             img_type='[]', answer='3', question_type='open', subfield='Motion'),
        dict(id='validation_Physics_3', question='<image 1> or <image 2>?', options="['a', 'b']", explanation='',
             img_type='[]', answer='A', question_type='multiple-choice', subfield='Motion')]
MMMU = [row | {f'image_{i}': RED if i == 1 else None for i in range(1, 8)} for row in MMMU]
TALK = [{'from': 'human', 'value': 'Context: N/A\nQuestion: Of what?\nOptions: (A) iron (B) glass\n<image>'},
        {'from': 'gpt', 'value': 'The answer is B.'}]
THEIRS = [dict(id=f'test-{i}', question='Of what?', context='N/A', choice='(A) iron (B) glass', answer='B',
               lecture='On things.', solution='It breaks.', image=RED if i else None, conversations=TALK)
          for i in range(4)]


def as_hub(rows):
    "Rows as `datasets` hands them out, pictures with the feature that the hub's files carry."
    pictures = [k for k in rows[0] if k.startswith('image')]
    ds = Dataset.from_list(rows)
    for k in pictures: ds = ds.cast_column(k, Image())
    return ds


def stored(folder, subset, split, rows):
    "A file where the hub has it."
    (folder/subset).mkdir(parents=True, exist_ok=True)
    as_hub(rows).to_parquet(folder/subset/f'{split}-00000-of-00001.parquet')
    return folder


def read(source, tmp_path, split='train', **kw):
    run_data(str(source), str(tmp_path/'d'), **kw)
    return load_split(tmp_path/'d', split)


def benchmark(row): return json.loads(row['extra']).get('benchmark')


@pytest.mark.parametrize('name', ['ARC-Easy', 'ARC-Challenge'])
def test_arc(tmp_path, name):
    "Labels are letters or digits; the part is named by its folder."
    for part in ('ARC-Easy', 'ARC-Challenge'): stored(tmp_path/'arc', part, 'train', ARC)
    ds = read(tmp_path/'arc'/name, tmp_path)
    assert [(r['pid'], r['choices'][r['answer_index']], benchmark(r)) for r in ds] == [
        ('X_1', 'a lamp', name), ('X_2', 'steam', name)]
    with pytest.raises(CliError, match='holds several sets: name one, as .*arc/ARC-Challenge or .*arc/ARC-Easy'):
        read(tmp_path/'arc', tmp_path)


def test_openbookqa_reads_its_main_part(tmp_path):
    for part in ('main', 'additional'): stored(tmp_path/'o', part, 'validation', OPEN)
    ds = read(tmp_path/'o', tmp_path, 'val')
    assert ds['question'][:] == ['A wet towel dries in'] and benchmark(ds[0]) == 'OpenBookQA'
    assert ds[0]['solution'] == 'wind dries' and ds[0]['hint'] == ''


def test_sciq_is_shuffled_the_same_way_each_time(tmp_path):
    ds = read(stored(tmp_path/'s', 'data', 'train', SCIQ), tmp_path)
    assert {r['choices'][r['answer_index']] for r in ds} == {'rain'} and len({*ds['answer_index']}) > 1
    assert ds[0]['hint'] == 'Rain falls. ' and benchmark(ds[0]) == 'SciQ'
    assert read(tmp_path/'s', tmp_path)['choices'][:] == ds['choices'][:]


def test_ai2d(tmp_path):
    ds = read(stored(tmp_path/'ai2d', 'data', 'test', AI2D), tmp_path, 'test')
    assert [r['choices'][r['answer_index']] for r in ds] == ['hare', 'a leaf'] and benchmark(ds[0]) == 'AI2D'
    assert ds[0]['image'].getpixel((0, 0)) == (255, 0, 0)


def test_mmmu_keeps_what_can_be_asked(tmp_path, capsys):
    for part in ('Physics', 'Biology', 'Art'): stored(tmp_path/'MMMU', part, 'validation', MMMU)
    ds = read(tmp_path/'MMMU', tmp_path, 'val')
    assert len(ds) == 2 and ds[0]['choices'] == ['a', "b's"] and ds[0]['answer_index'] == 1  # Art is no science
    assert '<image' not in ds[0]['question'] and ds[0]['image'].size == (9, 9) and benchmark(ds[0]) == 'MMMU-Science'
    said = capsys.readouterr().out
    assert '2 questions have no choices, and are left out' in said
    assert '2 questions have several pictures, and are left out' in said


def lesson(**q): return [dict(lessonName='rocks', globalID='L_1', questions=q)]


def tqa(text, right, *choices, **more):
    said = lambda t: dict(processedText=t, rawText=t)
    return dict(beingAsked=said(text), correctAnswer=said(right), questionType='Multiple Choice',
                answerChoices={k: dict(idStructural=f'{k}.', **said(c)) for k, c in zip('abcdefg', choices)}, **more)


def test_tqa(tmp_path):
    (tmp_path/'t'/'train'/'question_images').mkdir(parents=True)
    (tmp_path/'t'/'train'/'question_images'/'r.png').write_bytes(RED['bytes'])
    texts = dict(NDQ_1=tqa('Rocks melt.', 'b', 'true', 'false'), NDQ_2=tqa('Which?', 'a', 'x', 'y'))
    diagram = tqa('What is T?', 'c', 'p', 'q', 'r', imagePath='question_images/r.png')
    q = lesson(nonDiagramQuestions=texts, diagramQuestions=dict(DQ_1=diagram))
    (tmp_path/'t'/'train'/'tqa_v1_train.json').write_text(json.dumps(q))
    ds = read(tmp_path/'t', tmp_path)
    assert [(r['pid'], r['topic'], r['answer_index'], r['image'] is not None) for r in ds] == [
        ('NDQ_1', 'text true or false', 1, False), ('NDQ_2', 'text multiple choice', 0, False),
        ('DQ_1', 'diagram multiple choice', 2, True)]
    with pytest.raises(CliError, match='no split test'): read(tmp_path/'t', tmp_path, only=['test'])


@pytest.mark.parametrize('text, said', [
    ('{}', 'expected a list of lessons'), ('[7]', 'a lesson has no questions'),
    (json.dumps(lesson(diagramQuestions=dict(DQ_1=7))), 'DQ_1 lacks beingAsked or answerChoices'),
    (json.dumps(lesson(nonDiagramQuestions=dict(N=tqa('Q?', 'z', 'x', 'y')))), "N has the answer 'z', which"),
    (json.dumps(lesson(diagramQuestions=dict(D=tqa('Q?', 'a', 'x', 'y', imagePath='../../p.png')))), 'refused')])
def test_a_broken_tqa_is_one_line(tmp_path, text, said):
    (tmp_path/'t').mkdir()
    (tmp_path/'t'/'tqa_v1_train.json').write_text(text)
    with pytest.raises(CliError, match=said): read(tmp_path/'t', tmp_path)


@pytest.mark.parametrize('rows, said', [
    ([ARC[0] | dict(answerKey='E')], "X_1 has the answer 'E', which names none of its choices"),
    ([AI2D[0] | dict(answer='7')], "'7', which names none"), ([AI2D[0] | dict(options=None)], 'cannot be read as'),
    ([MMMU[0] | dict(options='[' * 5000)], 'has options that are no list'),
    ([SCIQ[0] | dict(distractor2=None)], 'has an empty choice'),
    ([THEIRS[0] | dict(choice='iron, glass')], r'test-0 has no choices such as \(A\) x \(B\) y')])
def test_what_is_wrong_is_one_line(tmp_path, rows, said):
    with pytest.raises(CliError, match=said): read(stored(tmp_path/'x', 'data', 'train', rows), tmp_path)


def test_secret_answers_are_left_out(tmp_path, capsys):
    read(stored(tmp_path/'ARC-Easy', '', 'train', [ARC[0], ARC[1] | dict(answerKey='')]), tmp_path)
    assert '1 questions have no published answer, and are left out: X_2' in capsys.readouterr().out


@pytest.fixture
def hub(monkeypatch):
    "What the hub would hand out, and what it was asked for."
    asked, sets = [], {('allenai/ai2_arc', 'ARC-Easy'): ARC, ('allenai/openbookqa', 'main'): OPEN,
                       ('allenai/sciq',): SCIQ, ('lmms-lab/ai2d',): AI2D, ('someone/ScienceQA-LLAVA',): THEIRS}
    sets |= {('MMMU/MMMU', s): MMMU for s in ('Biology', 'Chemistry', 'Geography', 'Math', 'Physics')}

    def load(*names):
        asked.append(names)
        if names == ('allenai/ai2_arc',): raise ValueError('Config name is missing.\nPlease pick one')
        return DatasetDict(test=as_hub(sets[names]))
    monkeypatch.setattr(datasets, 'load_dataset', load)
    monkeypatch.setattr(datasets, 'get_dataset_config_names', lambda name: ['ARC-Challenge', 'ARC-Easy'])
    return asked


@pytest.mark.parametrize('source, rows, name', [
    ('allenai/ai2_arc/ARC-Easy', 2, 'ARC-Easy'), ('allenai/openbookqa', 1, 'OpenBookQA'), ('allenai/sciq', 8, 'SciQ'),
    ('lmms-lab/ai2d', 2, 'AI2D'), ('MMMU/MMMU', 5, 'MMMU-Science'), ('MMMU/MMMU/Physics', 1, 'MMMU-Science'),
    ('someone/ScienceQA-LLAVA', 4, None)])
def test_hub_ids(tmp_path, hub, source, rows, name):
    ds = read(source, tmp_path, 'test')
    assert len(ds) == rows and {*map(benchmark, ds)} == {name}


def test_a_hub_id_with_several_sets(tmp_path, hub):
    with pytest.raises(CliError, match='name one, as allenai/ai2_arc/ARC-Challenge or allenai/ai2_arc/ARC-Easy'):
        read('allenai/ai2_arc', tmp_path)


def good(ds):
    assert [(r['id'], r['pid'], r['choices'], r['answer_index'], r['hint'], r['lecture']) for r in ds] == [
        (f'test-{i}', f'test-{i}', ['iron', 'glass'], 1, '', 'On things.') for i in range(4)]
    assert [r['image'] is not None for r in ds] == [False, True, True, True]


def test_columns_of_llavas_converter(tmp_path):
    "A KeyError once: saved data sets and Parquet files with `choice` as one text and no `choices`."
    DatasetDict(test=as_hub(THEIRS)).save_to_disk(str(tmp_path/'saved'))
    good(read(tmp_path/'saved', tmp_path, 'test'))
    good(read(stored(tmp_path/'p', 'data', 'test', THEIRS), tmp_path, 'test'))


def test_such_a_data_set_needs_no_conversion(tmp_path, monkeypatch):
    "Trained on and measured as it stands."
    DatasetDict(train=as_hub(THEIRS), test=as_hub(THEIRS)).save_to_disk(str(tmp_path/'saved'))
    good(load_split(tmp_path/'saved', 'test'))
    assert load_split(tmp_path/'saved', 'test')[0]['conversations'] == TALK
    how = ['--data', str(tmp_path/'saved'), '--model', 'tiny']
    for objective in ('choices', 'answer'):
        out = str(tmp_path/objective)
        assert main(['train', *how, '--out', out, '--steps', '1', '--objective', objective, '--eval-steps', '0']) == 0
    for protocol in ('choices', 'letter', 'generate'):
        more = ['--max-new-tokens', '2'] if protocol == 'generate' else []
        assert main(['eval', *how, '--out', str(tmp_path/f'e-{protocol}'), '--protocol', protocol, *more]) == 0
        assert json.loads((tmp_path/f'e-{protocol}'/'metrics.json').read_text())['count'] == 4


@pytest.mark.parametrize('rows, said', [
    ([THEIRS[0], THEIRS[1] | dict(answer='C')], "question test-1 has the answer 'C'.*--bad skip"),
    ([{k: v for k, v in ARC[0].items() if k != 'id'}], 'is a data set of another layout .*sciencetutor data --source')])
def test_what_has_to_be_converted_says_so(tmp_path, rows, said):
    DatasetDict(test=as_hub(rows)).save_to_disk(str(tmp_path/'saved'))
    with pytest.raises(CliError, match=said): load_split(tmp_path/'saved', 'test')


def test_pictures_that_are_only_named_are_not_opened(tmp_path):
    f = Features(question=Value('string'), choice=Value('string'), answer=Value('string'), image=Value('string'))
    row = dict(question='Of what?', choice='(A) iron (B) glass', answer='A', image='/etc/hostname')
    ds = Dataset.from_list([row], features=f).add_column('conversations', [TALK])
    DatasetDict(test=ds).save_to_disk(str(tmp_path/'s'))
    with pytest.raises(CliError, match='pictures that are no pictures'): load_split(tmp_path/'s', 'test')
    with pytest.raises(CliError, match='refused'): read(tmp_path/'s', tmp_path, 'test')
