"Tables as teachers and their spreadsheets write them: what a cell shows is read, or is a fault with its row."
import datetime, json, re, zipfile

import openpyxl, pytest
from fastcore.script import CliError
from PIL import Image
from sciencetutor.data.core import load_split, run_data
from sciencetutor.data.tables import check_table, read_table, row_problem, run_check

HEAD = ('question', 'A', 'B', 'answer')


def book(file, *rows, formats=None, **sheets):
    "A spreadsheet; `formats` are number formats by cell, `sheets` the rows of further sheets."
    made = openpyxl.Workbook()
    for r in rows: made.active.append(r)
    for cell, format in (formats or {}).items(): made.active[cell].number_format = format
    for title, more in sheets.items():
        sheet = made.create_sheet(title)
        for r in more: sheet.append(r)
    made.save(file)
    return file


def problems(file): return [row_problem(row) for _, row in read_table(file)]


def read(file):
    "(choices, index of the answer) of each row."
    return [(p['choices'], p['answer']) for p in problems(file)]


def test_an_unquoted_comma_is_a_fault(tmp_path, capsys):
    f = tmp_path/'a.csv'
    f.write_text('question,choices,answer\nGood?,a | b,A\nWell, which one?,a | b,B\nEnd?,a | b,B,,\n')
    assert [(n, why) for n, _, why in check_table(f)] == [
        (3, "has 'B' under no head: put text with commas into quotes, or name the column")]
    with pytest.raises(CliError, match='1 questions are bad: row-3 has .B. under no head'):
        run_data(str(f), str(tmp_path/'d'))
    run_data(str(f), str(tmp_path/'d'), bad='skip')
    assert load_split(tmp_path/'d', 'train')['question'][:] == ['Good?', 'End?']


def test_a_quote_that_is_never_closed(tmp_path):
    "It took every row below into its cell, silently (cldf/csvw#52, whose closing quote was a typographic one)."
    head = 'question,choices,answer,hint\n'
    (tmp_path/'a.csv').write_text(f'{head}Hot?,a | b,A,\nCold?,a | b,B,"see below”\nWet?,a | b,B,\n')
    with pytest.raises(CliError, match='a.csv, row 3: a quote is never closed'): check_table(tmp_path/'a.csv')
    (tmp_path/'a.csv').write_text(f'{head}Hot?,a | b,A,"""Look"", they said"\n5" or 6"?,a | b,B,\n\n')
    assert [(p['question'], p['hint']) for p in problems(tmp_path/'a.csv')] == [
        ('Hot?', '"Look", they said'), ('5" or 6"?', '')]


def test_a_workbook_under_a_password(tmp_path):
    "pandas-dev/pandas#59042: `BadZipFile` says nothing to a teacher."
    (tmp_path/'a.xlsx').write_bytes(b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(600))
    with pytest.raises(CliError, match='an old .xls, or under a password'): run_check(str(tmp_path/'a.xlsx'))


def test_pictures_named_on_windows(tmp_path):
    "`images\\\\red.png` is `images/red.png` (AILab-CVC/YOLO-World#535, roboflow/supervision#2581)."
    (tmp_path/'images').mkdir()
    Image.new('RGB', (9, 9), 'red').save(tmp_path/'images'/'red.png')
    (tmp_path/'a.csv').write_text('question,choices,answer,image\nWhich?,red | blue,A,images\\red.png\n')
    turns = [{'from': 'human', 'value': 'Context: N/A\nQuestion: Which?\nOptions: (A) red (B) blue\n<image>'},
             {'from': 'gpt', 'value': 'The answer is A.'}]
    (tmp_path/'a.json').write_text(json.dumps([dict(id='1', image='images\\red.png', conversations=turns)]))
    assert check_table(tmp_path/'a.csv') == []
    for name in ('a.csv', 'a.json'):
        run_data(str(tmp_path/name), str(tmp_path/'d'))
        assert load_split(tmp_path/'d', 'train')[0]['image'].getpixel((0, 0)) == (255, 0, 0)


def test_check_and_data_use_one_decoder(tmp_path):
    Image.effect_noise((90, 90), 90).save(tmp_path/'a.png')
    data = bytearray((tmp_path/'a.png').read_bytes())
    data[900:1100] = bytes(200)
    (tmp_path/'a.png').write_bytes(data)
    (tmp_path/'a.csv').write_text('question,choices,answer,image\nWhich?,red | blue,A,a.png\n')
    (_, _, why), = check_table(tmp_path/'a.csv')
    assert why.startswith('has a picture that cannot be used (a.png): broken picture')
    with pytest.raises(CliError, match='1 pictures are bad: row-2 broken picture'):
        run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'))


def test_cells_under_a_column_without_a_name(tmp_path):
    rows = ('Hot?', 'ice', 'fire', 'B', None), ('Cold?', 'ice', 'fire', 'A', 'which')
    f = book(tmp_path/'a.xlsx', (*HEAD, None), *rows)
    assert [n for n, *_ in check_table(f)] == [3]


def test_numbers_are_read_as_they_are_shown(tmp_path):
    rows = [('How much is half?', .5, .25, 'A'), ('Which is half?', .5, 1.5, '1/2'), ('How much?', 1234.5, 3, 'B'),
            ('Which?', -2, 6.02e23, 'A'), ('True?', True, False, 'A'), ('Sum?', .1 + .2, 4.0, 'B')]
    formats = dict(B2='0%', C2='0.0%', B3='# ?/?', C3='# ?/?', B4='#,##0.00', C4='0" kg"', B5='0', C5='0.00E+00')
    f = book(tmp_path/'a.xlsx', HEAD, *rows, formats=formats)
    assert read(f) == [(['50%', '25.0%'], 0), (['1/2', '1 1/2'], 0), (['1,234.50', '3 kg'], 1), (['-2', '6.02E+23'], 0),
                       (['TRUE', 'FALSE'], 0), (['0.3', '4'], 1)]
    assert check_table(f) == []


def test_a_plain_number_is_a_choice(tmp_path):
    "A number in a cell stopped the whole import (mawoka-myblock/ClassQuiz#316)."
    assert read(book(tmp_path/'a.xlsx', HEAD, ('2 + 2?', 3, 4, 4))) == [(['3', '4'], 1)]


@pytest.mark.parametrize('cell, format, why', [
    (datetime.datetime(2026, 2, 1), 'd-mmm', r'a date in B2 \(2026-02-01 00:00:00\), as Excel makes of 1/2'),
    (datetime.time(12, 30), 'h:mm', 'a date in B2'), ('#N/A', 'General', 'has the error #N/A in B2'),
    ('=1/3', 'General', 'a formula without a value in B2: open the file in Excel'),
    (.5, '[h]"ours"0', 'a date in B2|format is not understood')])
def test_cells_that_are_no_text_are_faults(tmp_path, cell, format, why):
    f = book(tmp_path/'a.xlsx', HEAD, ('Good?', 'a', 'b', 'A'), ('Bad?', cell, 'b', 'B'), formats=dict(B3=format))
    (n, question, said), = check_table(f)
    assert (n, question) == (3, 'Bad?') and re.search(why.replace('B2', 'B3'), said), said
    with pytest.raises(CliError, match='1 questions are bad: row-3'): run_data(str(f), str(tmp_path/'d'))


def test_a_fault_in_a_column_that_is_not_used(tmp_path):
    f = book(tmp_path/'a.xlsx', (*HEAD, 'written on'), ('Hot?', 'ice', 'fire', 'B', datetime.datetime(2026, 2, 1)))
    assert check_table(f) == [] and read(f) == [(['ice', 'fire'], 1)]


def edited(file, new, old: bytes, by: bytes):
    "A copy of a spreadsheet, its XML changed as another program would have written it."
    with zipfile.ZipFile(file) as a, zipfile.ZipFile(new, 'w') as b:
        for name in a.namelist(): b.writestr(name, re.sub(old, by, a.read(name)))
    return new


def test_a_formula_that_gives_nothing(tmp_path):
    f = book(tmp_path/'a.xlsx', (*HEAD[:3], 'C', 'answer'), ('Hot?', 'ice', 'fire', '=IF(A1="","x","")', 'B'))
    g = edited(f, tmp_path/'b.xlsx', rb'<c r="D2">(<f>.*?</f>)<v ?/>', rb'<c r="D2" t="str">\1<v></v>')
    assert len(check_table(f)) == 1 and check_table(g) == [] and read(g) == [(['ice', 'fire'], 1)]


def test_wps_says_that_every_sheet_is_one_cell(tmp_path):
    "`<dimension ref=\"A1\"/>`: only the first cell was read (langgenius/dify#1039, pandas-dev/pandas#39001)."
    f = book(tmp_path/'a.xlsx', HEAD, ('Hot?', 'ice', 'fire', 'B'))
    g = edited(f, tmp_path/'b.xlsx', rb'<dimension ref="[^"]*"', b'<dimension ref="A1"')
    assert read(g) == [(['ice', 'fire'], 1)]


def test_every_sheet_with_a_head_is_read(tmp_path):
    f = book(tmp_path/'a.xlsx', ['How to use this file'], formats={}, Hot=[HEAD, ('Hot?', 'ice', 'fire', 'B')],
             Cold=[HEAD, ('Cold?', 'ice', 'fire', 'A'), ('Bad?', 'ice', 'fire', 'C')])
    assert [n for n, _ in read_table(f)] == ['Hot!2', 'Cold!2', 'Cold!3']
    assert [(n, why) for n, _, why in check_table(f)] == [('Cold!3', 'has the answer C, but only 2 choices')]


@pytest.mark.parametrize('text', [
    'sep=;\nquestion;A;B;answer\nHot?;ice;fire;B\n', 'My quiz\n\nquestion;A;B;answer\nHot?;ice;fire;B\n',
    'My quiz, 2026, class 3\nquestion\tA\tB\tanswer\nHot?\tice\tfire\tB\n',
    'Question;Option A;Option B;Correct Answer\nHot?;ice;fire;B\n',
    'question,OptionA,OptionB,answerKey\nHot?,ice,fire,B\n',
    'Question_Text,Choice 1,Choice 2,Correct\nHot?,ice,fire,2\n', 'question,A,B,answer\nHot?,ice,fire,Option B\n',
    'Question - max 120 characters,Answer 1 - max 75 characters,Answer 2 - max 75 characters,Time limit (sec),'
    'Correct answer(s) - choose at least one\nHot?,ice,fire,20,2\n', 'question,A,B,answer\nHot?,ice,fire,B) fire\n'])
def test_heads_titles_and_separators(tmp_path, text):
    "The separator was taken from the first line, whatever that was (huggingface/datasets#2658)."
    (tmp_path/'a.csv').write_text(text)
    assert read(tmp_path/'a.csv') == [(['ice', 'fire'], 1)] and check_table(tmp_path/'a.csv') == []


def test_a_head_that_is_not_understood_is_named_once(tmp_path):
    (tmp_path/'a.csv').write_text('Frage,Antwort A,Antwort B\nHeiß?,Eis,Feuer\nKalt?,Eis,Feuer\n')
    with pytest.raises(CliError, match='a.csv has no head: .* not Frage, Antwort A, Antwort B$'):
        run_check(str(tmp_path/'a.csv'))
    (tmp_path/'a.jsonl').write_text('{"prompt": "Hot?"}\n')
    with pytest.raises(CliError, match='a.jsonl has no questions: .*line 1 has prompt'):
        run_check(str(tmp_path/'a.jsonl'))


@pytest.mark.parametrize('more', ['answer', 'Correct Answer', 'ANSWER '])
def test_two_columns_for_the_same(tmp_path, more):
    rows = [(*HEAD, more), ('Hot?', 'ice', 'fire', 'B', 'A')]
    (tmp_path/'a.csv').write_text('\n'.join(map(','.join, rows)))
    for f in (tmp_path/'a.csv', book(tmp_path/'a.xlsx', *rows)):
        with pytest.raises(CliError, match='has two columns for answer: rename or delete'): list(read_table(f))


def test_a_place_that_is_also_the_words_of_another_choice(tmp_path):
    (tmp_path/'a.csv').write_text('question,A,B,C,answer\nBlood group?,0,A,B,A\nWhose blood?,0,A,B,(B)\n')
    (n, _, why), = check_table(tmp_path/'a.csv')
    assert n == 2 and why == ('has the answer A, the place of one choice and the words of another: write (A) or (B)')
    assert problems(tmp_path/'a.csv')[1]['answer'] == 1


@pytest.mark.parametrize('words', ['None', 'null', 'NA', 'N/A', 'nan', 'TRUE', '1e5', '007'])
def test_words_that_look_like_nothing_or_a_number(tmp_path, words):
    """A choice that says null or None was taken for an empty cell (huggingface/datasets#4467,
    open-compass/VLMEvalKit#1651)."""
    rows = [HEAD, ('Which?', words, 'b', words)]
    (tmp_path/'a.csv').write_text('\n'.join(map(','.join, rows)))
    for f in (tmp_path/'a.csv', book(tmp_path/'a.xlsx', *rows)): assert read(f) == [([words, 'b'], 0)]


@pytest.mark.parametrize('choices, answer', [
    ('{"text": ["ice", "fire"], "label": ["1", "2"]}', '2'), ('{"text": ["ice", "fire"], "label": ["A", "B"]}', 'B'),
    ('[{"text": "ice", "label": "A"}, {"text": "fire", "label": "B"}]', 'B'), ('{"A": "ice", "B": "fire"}', 'B'),
    ('"[\'ice\', \'fire\']"', 'B'), ('{"text": ["2", "1"], "label": ["1", "2"]}', '2')])
def test_choices_as_benchmarks_write_them(tmp_path, choices, answer):
    """ARC labels some questions 1 to 4 and answers with the label (confident-ai/deepeval#2352,
    modelscope/evalscope#1516); MMMU keeps its options as the text of a list."""
    (tmp_path/'a.jsonl').write_text(f'{{"question": "Hot?", "choices": {choices}, "answerKey": "{answer}"}}\n')
    assert read(tmp_path/'a.jsonl') == [(['2', '1'] if '"2", "1"' in choices else ['ice', 'fire'], 1)]


@pytest.mark.parametrize('choices, answer, index', [
    ('["ice", "fire"]', '1', 1), ('["ice", "fire"]', '0', 0), ('["2", "1"]', '1', 1), ('["0", "1"]', '0', 0)])
def test_a_number_in_json_lines_counts_from_0_unless_it_is_a_choice(tmp_path, choices, answer, index):
    (tmp_path/'a.jsonl').write_text(f'{{"question": "Hot?", "choices": {choices}, "answer": {answer}}}\n')
    assert [a for _, a in read(tmp_path/'a.jsonl')] == [index]

def test_a_number_outside_the_choices_is_a_fault(tmp_path):
    (tmp_path/'a.jsonl').write_text('{"question": "Hot?", "choices": ["ice", "fire"], "answer": 2}\n')
    assert 'neither a letter nor one of the choices' in check_table(tmp_path/'a.jsonl')[0][2]

def test_values_that_are_no_text(tmp_path):
    (tmp_path/'a.jsonl').write_text('{"question": {"stem": "Hot?"}, "choices": ["a", "b"], "answer": "A"}\n')
    assert check_table(tmp_path/'a.jsonl') == [(1, '', 'has a question that is not text')]


def test_hint_and_context_are_both_kept(tmp_path):
    rows = 'question,choices,answer,hint,context', 'Q?,a | b,A,,A lake.', 'Q2?,a | b,A,Look.,A lake.'
    (tmp_path/'a.csv').write_text('\n'.join(rows))
    assert [p['hint'] for p in problems(tmp_path/'a.csv')] == ['A lake.', 'Look. A lake.']


def test_only_the_splits_that_were_asked_for(tmp_path):
    (tmp_path/'a.csv').write_text('question,choices,answer,split\nHot?,a | b,A,train\nCold?,a | b,B,val\n')
    assert list(run_data(str(tmp_path/'a.csv'), str(tmp_path/'d'), only=['validation'])['splits']) == ['val']
