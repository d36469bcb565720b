"LLaVA files, chats, data sets of the hub and captions in the shapes that others write: read, or named in a line."
import datetime, json, math

import pytest
from datasets import Dataset, DatasetDict, Features, List, Value
from datasets import Image as Picture
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data.core import load_split, read_captions, run_data
from sciencetutor.data.exports import run_export
from sciencetutor.data.formats import parse_turns
from sciencetutor.data.images import png_bytes

RED = png_bytes(Image.new('RGB', (9, 9), 'red'))
ASKED = 'Context: N/A\nQuestion: Of what?\nOptions: (A) iron (B) glass'
TALK = [{'from': 'human', 'value': f'{ASKED}\n<image>'}, {'from': 'gpt', 'value': 'The answer is B.'}]
CHAT = [dict(role='user', content=f'<image>{ASKED}'), dict(role='assistant', content='The answer is B.')]
SYSTEM = [{'from': 'system', 'value': 'Be brief.'}, *TALK]
PARTS = [dict(role='user', content=[dict(type='image'), dict(type='text', text=ASKED)]),
         dict(role='assistant', content=[dict(type='text', text='The answer is B.')])]


def converted(tmp_path, *records, lines=False, name='llava_train_CQM-A.json', **kw):
    (tmp_path/'images').mkdir(exist_ok=True)
    (tmp_path/'images'/'red.png').write_bytes(RED)
    (tmp_path/name).write_text('\n'.join(map(json.dumps, records)) if lines else json.dumps(records))
    run_data(str(tmp_path/name), str(tmp_path/'d'), **kw)
    return load_split(tmp_path/'d', 'train')


def good(row, picture=True):
    assert (row['question'], row['choices'], row['answer_index']) == ('Of what?', ['iron', 'glass'], 1)
    assert (row['image'] is not None) == picture


@pytest.mark.parametrize('human', [
    f'{ASKED} <image>', f'{ASKED}<image>', f'<image> {ASKED}', f'<image>\n{ASKED}',
    ASKED.replace('what', 'what <image>'),
    f"{ASKED}\nAnswer with the option's letter from the given choices directly.",
    f"<image>\n{ASKED}\nAnswer with the option's letter from the given choices directly."])
@pytest.mark.parametrize('gpt', ['The answer is B.', 'B', 'B.', '(B)'])
def test_what_is_no_part_of_a_choice(human, gpt):
    """`(B) glass <image>` made a choice `glass <image>`, and LLaVA-1.5's closing line (as in alibaba/conv-llava#2)
    went into the last one."""
    p = parse_turns(human, gpt)
    assert (p['choices'], p['answer'], p['question'].rstrip(' ?')) == (['iron', 'glass'], 1, 'Of what')


@pytest.mark.parametrize('human, hint', [
    ('Who is she?\nA. a nurse\nB. a cook, e.g. A. B. Smith', ''),
    ('Context: A kitchen.\nWho is she?\nA. a nurse\nB. a cook, e.g. A. B. Smith', 'A kitchen.')])
def test_a_choice_a_line(human, hint):
    "As the multiple-choice part of LLaVA-1.5's data has them, and lmms-eval."
    p = parse_turns(f"<image>\n{human}\nAnswer with the option's letter from the given choices directly.", 'B')
    assert p == dict(question='Who is she?', hint=hint, choices=['a nurse', 'a cook, e.g. A. B. Smith'], answer=1)


@pytest.mark.parametrize('record', [
    dict(image='red.png', conversations=TALK), dict(image=['red.png'], conversations=TALK),
    dict(image=dict(path='red.png'), conversations=TALK), dict(images=['red.png'], messages=CHAT),
    dict(images=[dict(path='red.png', bytes=None)], messages=PARTS), dict(image='red.png', conversations=SYSTEM)])
def test_pictures_and_turns_in_other_shapes(tmp_path, record):
    """`messages` of `role` and `content` beside `conversations` (hiyouga/LlamaFactory#7982, #8947), a system prompt in
    front (hiyouga/LlamaFactory#2464), pictures as a list or a dict (huggingface/datasets#7667)."""
    ds = converted(tmp_path, dict(id=0) | record)
    good(ds[0])
    assert ds[0]['pid'] == '0'


@pytest.mark.parametrize('name', ['llava_train_CQM-A.json', 'llava.jsonl'])
def test_json_lines_under_either_name(tmp_path, name):
    "LLaVA's converter writes lines where its trainer wants a list (haotian-liu/LLaVA#1753, #31)."
    ds = converted(tmp_path, *(dict(id=str(i), conversations=TALK) for i in range(2)), lines=True, name=name)
    assert ds['pid'][:] == ['0', '1']
    good(ds[1], picture=False)


@pytest.mark.parametrize('record, why', [
    (dict(conversations=None), 'has no conversations that can be read'), (dict(conversations='hi'), 'has no conv'),
    (dict(messages=[dict(role='user')]), 'has no conv'), (dict(conversations=TALK, image=['a', 'b']), 'has 2 pictures'),
    (dict(conversations=TALK, image='http://example.org/a.png'), 'has a picture at an address'),
    (dict(conversations=TALK, image=7), 'has a picture that names no file')])
def test_a_record_that_cannot_be_read_is_named(tmp_path, record, why):
    "One record whose messages are null ended the conversion in a traceback (hiyouga/LlamaFactory#10116)."
    with pytest.raises(CliError, match=f'1 questions are bad: x7 {why}') as e:
        converted(tmp_path, dict(id='x6', conversations=TALK), dict(id='x7') | record)
    assert '\n' not in str(e.value)
    ds = converted(tmp_path, dict(id='x6', conversations=TALK), dict(id='x7') | record, bad='skip')
    assert ds['pid'][:] == ['x6']


def test_another_layout(tmp_path, capsys):
    joke = [{'from': 'human', 'value': 'A joke?'}, {'from': 'gpt', 'value': 'No.'}]
    with pytest.raises(CliError, match='has no questions: conversation j and 0 more lack the lines Context'):
        converted(tmp_path, dict(id='j', conversations=joke))
    assert len(converted(tmp_path, dict(id='j', conversations=joke), dict(id='q', conversations=TALK))) == 1
    assert 'note: 1 conversations are in another layout: j' in capsys.readouterr().out
    (tmp_path/'problems.json').write_text('{"1": {}}')
    with pytest.raises(CliError, match='expected a list of conversations'):
        run_data(str(tmp_path/'problems.json'), str(tmp_path/'d'))


def test_a_mark_that_is_text(tmp_path):
    "Trainers count the marks: `<image>` in a question about HTML is none (hiyouga/LlamaFactory#5658)."
    (tmp_path/'red.png').write_bytes(RED)
    (tmp_path/'a.csv').write_text('question,choices,answer,image\nWhat is <image>?,a tag | <image>,A,\n'
                                  'And <image> here?,a tag | red,A,red.png\n')
    run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'))
    assert load_split(tmp_path/'d', 'train')['question'][:] == ['What is <image>?', 'And <image> here?']
    for to in ('messages', 'llava'): run_export(str(tmp_path/'d'), str(tmp_path/to), to)
    for line in (tmp_path/'messages'/'train_tags.jsonl').read_text().split('\n')[:-1]:
        m = json.loads(line)
        assert sum(t['content'].count('<image>') for t in m['messages']) == len(m['images'])
    for r in json.loads((tmp_path/'llava'/'llava_train_CQM-A.json').read_text()):
        assert sum(t['value'].count('<image>') for t in r['conversations']) == ('image' in r)


COLUMNS = dict(question=['Hot?', 'Cold?'], choices=[['ice', 'fire']] * 2, answer=[1, 0])


def from_hub(tmp_path, features=None, **columns):
    DatasetDict(train=Dataset.from_dict(COLUMNS | columns, features)).save_to_disk(tmp_path/'hub')
    run_data(str(tmp_path/'hub'), str(tmp_path/'d'))
    return load_split(tmp_path/'d', 'train')


TEXT = dict(question=Value('string'), choices=List(Value('string')), answer=Value('int64'))


def test_a_column_images(tmp_path):
    f = Features(TEXT | dict(images=List(Picture())))
    ds = from_hub(tmp_path, f, images=[[dict(bytes=RED, path=None)], []])
    assert ds[0]['image'].getpixel((0, 0)) == (255, 0, 0) and ds[1]['image'] is None
    with pytest.raises(CliError, match='1 questions are bad: train-0 has 2 pictures, of which one can be used'):
        from_hub(tmp_path, f, images=[[dict(bytes=RED, path=None)] * 2, []])


def test_pictures_as_plain_bytes(tmp_path):
    "A column of binary, as pandas writes it."
    assert from_hub(tmp_path, image=[RED, None])[0]['image'].getpixel((0, 0)) == (255, 0, 0)


def test_columns_that_json_cannot_say(tmp_path, capsys):
    "A timestamp ended the export (huggingface/datatrove#325, datajuicer/data-juicer#1064)."
    when = datetime.datetime(2026, 2, 1, 12)
    f = Features(TEXT | dict(when=Value('timestamp[s]'), thumb=Picture(), raw=Value('binary'), weight=Value('float32')))
    thumbs = [dict(bytes=RED, path=None), None]
    ds = from_hub(tmp_path, f, when=[when, None], thumb=thumbs, raw=[b'\xff', None], weight=[.5, 1])
    assert [json.loads(x) for x in ds['extra'][:]] == [
        dict(when='2026-02-01 12:00:00', weight=.5), dict(when=None, weight=1)]
    assert 'note: 2 columns are left out, as they hold no text: thumb, raw' in capsys.readouterr().out


def test_a_pid_of_zero_and_choices_that_are_no_list(tmp_path):
    assert from_hub(tmp_path, pid=[0, 1])['pid'][:] == ['0', '1']
    with pytest.raises(CliError, match='2 questions are bad: train-0 has no choices in a list'):
        from_hub(tmp_path, choices=[dict(text=['a', 'b'], label=['A', 'B'])] * 2)


@pytest.mark.parametrize('value', [
    {'captions': {'7': 'a map'}}, {'7': 'a map'}, {'7': ['a map', 'a chart']}, [dict(pid=7, caption='a map')],
    {'annotations': [dict(image_id=7, caption='a map')]}, {'captions': [dict(id='7', caption='a map')]}])
def test_captions_in_other_shapes(tmp_path, value):
    (tmp_path/'c.json').write_text(json.dumps(value))
    assert read_captions(str(tmp_path/'c.json')) == {'7': 'a map'}


@pytest.mark.parametrize('value, why', [
    (7, 'has no captions'), ([], 'has no captions'), (['a map'], 'has no captions'),
    ([dict(caption='a map')], 'belongs to no pid'),
    ({'captions': {'7': {'text': 'a map'}}}, 'the caption of 7 is no text'), ({'7': math.pi}, 'the caption of 7')])
def test_captions_that_cannot_be_read(tmp_path, value, why):
    (tmp_path/'c.json').write_text(json.dumps(value))
    with pytest.raises(CliError, match=f'c.json.*{why}'): read_captions(str(tmp_path/'c.json'))
