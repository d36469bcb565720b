"A teacher's own questions: CSV as spreadsheets write it, JSONL, .xlsx."
import json
import pytest
from fastcore.script import CliError
from sciencetutor.data.tables import check_table, read_table, row_problem, run_check

ROWS = [('question', 'choices', 'answer', 'grade'), ('Which is a gas?', 'iron | helium', 'B', 3),
        ('2 + 2?', '3 | 4', 4, 1)]


def problems(file): return [row_problem(row) for _, row in read_table(file)]


def test_csv_as_spreadsheets_write_it(tmp_path):
    f = tmp_path/'a.csv'
    for sep, encoding in ((',', 'utf-8'), (';', 'utf-8-sig'), ('\t', 'utf-8')):
        f.write_bytes('\r\n'.join(sep.join(map(str, r)) for r in ROWS).encode(encoding))
        gas, sum_ = problems(f)
        assert (gas['answer'], gas['choices'], gas['grade']) == (1, ['iron', 'helium'], 'grade3')
        assert (sum_['answer'], sum_['choices'], sum_['grade']) == (1, ['3', '4'], 'grade1')
        assert check_table(f) == []


def test_quoted_lines(tmp_path):
    (tmp_path/'a.csv').write_text('question,choices,answer\n"Two lines,\nand a comma?","a | b",A\n')
    assert problems(tmp_path/'a.csv')[0]['question'] == 'Two lines,\nand a comma?'


def test_rows_are_numbered_as_the_spreadsheet_shows_them(tmp_path):
    "Empty rows count; a line separator within a cell is text."
    openpyxl = pytest.importorskip('openpyxl')
    rows = [('question', 'choices', 'answer'), ('Good?', 'a | b', 'A'), (), ('', '', ''),
            ('Bad\u2028one?', 'a | b', 'D')]
    (tmp_path/'a.csv').write_text('\n'.join(map(','.join, rows)))
    objects = [json.dumps(dict(zip(rows[0], r)), ensure_ascii=False) if any(r) else '' for r in rows[1:]]
    (tmp_path/'a.jsonl').write_text('\n'.join(['', *objects]))
    book = openpyxl.Workbook()
    for r in rows: book.active.append(r)
    book.save(tmp_path/'a.xlsx')
    for name in ('a.csv', 'a.jsonl', 'a.xlsx'):
        assert [(n, q) for n, q, _ in check_table(tmp_path/name)] == [(5, 'Bad\u2028one?')], name


def test_jsonl(tmp_path):
    (tmp_path/'a.jsonl').write_text(json.dumps(dict(question='Q?', choices=['a', 'b'], answer='b')) + '\n\n')
    assert problems(tmp_path/'a.jsonl')[0]['answer'] == 1
    (tmp_path/'a.jsonl').write_text('{"question": 1}\n{broken\n')
    with pytest.raises(CliError, match='line 2 is not a JSON object'): run_check(str(tmp_path/'a.jsonl'))


def test_an_object_is_a_row(tmp_path, capsys):
    "However little is in it."
    (tmp_path/'a.jsonl').write_text('{"question": "Good?", "choices": ["a", "b"], "answer": "A"}\n{}\n\n{"question": '
                                    '""}\n')
    with pytest.raises(CliError, match='2 of 3 questions'): run_check(str(tmp_path/'a.jsonl'))
    assert {n for n, _, why in check_table(tmp_path/'a.jsonl') if why == 'has no question'} == {2, 4}


@pytest.mark.parametrize('question, shown', [
    ('Was ist das?', 'Was ist das?'), ('Two\nlines?', 'Two lines?'), ('x'*32, 'x'*32), ('x'*33, 'x'*31+'…'),
    ('为什么天空是蓝色的？'*4, ('为什么天空是蓝色的？'*4)[:31]+'…')])
def test_the_beginning_of_a_question_is_shown(tmp_path, question, shown, capsys):
    (tmp_path/'a.jsonl').write_text(json.dumps(dict(question=question, choices='a | b')))
    with pytest.raises(CliError): run_check(str(tmp_path/'a.jsonl'))
    assert f'\n   1  {shown:32}  has no answer' in capsys.readouterr().out


def test_spreadsheet(tmp_path):
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for r in ROWS: book.active.append(r)
    book.save(tmp_path/'a.xlsx')
    assert [p['answer'] for p in problems(tmp_path/'a.xlsx')] == [1, 1]
    (tmp_path/'b.xlsx').write_text('not one')
    with pytest.raises(CliError, match='not a spreadsheet'): run_check(str(tmp_path/'b.xlsx'))


@pytest.mark.parametrize('row, why', [
    (',a | b,A', 'has no question'), ('Q?,,A', 'has no choices'), ('Q?,a,A', 'only one choice'),
    ('Q?,a | b,', 'has no answer'), ('Q?,a | b,D', 'only 2 choices'), ('Q?,a | A,A', 'same choice twice'),
    ('Q?,a | b,maybe', 'neither a letter nor one of the choices'), ('Q?,a | | c,A', 'empty choice')])
def test_what_is_wrong(tmp_path, row, why, capsys):
    (tmp_path/'a.csv').write_text(f'question,choices,answer\nGood?,a | b,A\n{row}\n')
    wrong = check_table(tmp_path/'a.csv')
    assert {n for n, *_ in wrong} == {3} and any(why in w for *_, w in wrong)
    with pytest.raises(CliError, match='1 of 2 questions'): run_check(str(tmp_path/'a.csv'))
    assert why in capsys.readouterr().out


def test_other_files(tmp_path):
    with pytest.raises(CliError, match='not a table'): run_check(str(tmp_path/'a.doc'))
    with pytest.raises(CliError, match='no file'): run_check(str(tmp_path/'a.csv'))
    (tmp_path/'a.csv').write_bytes('question,choices,answer\nWas heißt das?,a | b,A'.encode('latin-1'))
    with pytest.raises(CliError, match='not UTF-8'): run_check(str(tmp_path/'a.csv'))
    (tmp_path/'a.csv').write_text('question,choices,answer\n' + 'x'*200_000)
    with pytest.raises(CliError, match='not a table'): run_check(str(tmp_path/'a.csv'))
    (tmp_path/'a.csv').write_text('')
    with pytest.raises(CliError, match='has no questions'): run_check(str(tmp_path/'a.csv'))
