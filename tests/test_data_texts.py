"Text files as editors and spreadsheets save them, and JSON lines that end at a line break and nowhere else."
import json

import pytest
from fastcore.script import CliError
from sciencetutor.data.core import load_split, read_captions, run_data
from sciencetutor.data.tables import read_table, row_problem
from sciencetutor.data.text import json_lines
from sciencetutor.eval.answer_parsing import load_answers
from sciencetutor.eval.core import known_answers
from sciencetutor.eval.predictions import answer_all, prediction_line

BREAKS = 'one\u2028two\u2029three\x85four'
GAS = 'question,choices,answer\nWas heißt das?,Süßes | Saures,B\n'


def test_our_own_predictions_are_read_back(tmp_path):
    """U+2028, U+2029 and U+0085 stand inside a JSON text as they are (wbolster/jsonlines#53, huggingface/tau#354:
    a session with one of them could never be opened again)."""
    qs = [dict(id=f'val-{i}', pid=str(i), answer_index=0) for i in range(3)]
    answer_all(qs, lambda ns: [dict(prediction=0, tolerant=0, text=BREAKS) for _ in ns], tmp_path, size=2)
    assert [a['text'] for a in load_answers(tmp_path/'predictions.jsonl')] == [BREAKS] * 3
    assert {k: a['text'] for k, a in known_answers(tmp_path).items()} == {q['id']: BREAKS for q in qs}


def test_half_an_emoji(tmp_path):
    "A lone surrogate in one answer ended a whole run at its `write` (strands-rl/strands-env#211)."
    qs = [dict(id=f'val-{i}', pid=str(i), answer_index=0) for i in range(2)]
    answer_all(qs, lambda ns: [dict(prediction=0, text='B \ud835') for _ in ns], tmp_path)
    assert [a['text'] for a in load_answers(tmp_path/'predictions.jsonl')] == ['B ?'] * 2
    assert '🦊' in prediction_line(qs[0], dict(text='🦊'))


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be'])
def test_every_mark_and_width(tmp_path, encoding):
    "Excel's \"CSV UTF-8\" begins with a mark (UKGovernmentBEIS/inspect_ai#5353), its \"Unicode text\" is UTF-16."
    (tmp_path/'a.csv').write_bytes(GAS.encode(encoding))
    line = json.dumps(dict(question='Was heißt das?', choices=['Süßes', 'Saures'], answer='B'), ensure_ascii=False)
    (tmp_path/'a.jsonl').write_bytes(f'{line}\r\n'.encode(encoding))
    for name in ('a.csv', 'a.jsonl'):
        (_, row), = read_table(tmp_path/name)
        p = row_problem(row)
        assert (p['question'], p['choices'], p['answer']) == ('Was heißt das?', ['Süßes', 'Saures'], 1)
    (tmp_path/'c.json').write_bytes(json.dumps(dict(captions={'7': 'Süß'}), ensure_ascii=False).encode(encoding))
    assert read_captions(tmp_path/'c.json') == {'7': 'Süß'}
    (tmp_path/'p.json').write_bytes(json.dumps(dict(results={'7': 1})).encode(encoding))
    assert load_answers(tmp_path/'p.json') == [dict(key='7', prediction=1, text=None)]


@pytest.mark.parametrize('encoding, why', [('utf-8-sig', ''), ('utf-16', 'problems.json is UTF-16: save it as UTF-8')])
def test_official_files_with_a_mark(tmp_path, encoding, why):
    problem = dict(question='Hot?', choices=['ice', 'fire'], answer=1, hint='', image=None, split='train')
    (tmp_path/'sqa').mkdir()
    (tmp_path/'sqa'/'problems.json').write_bytes(json.dumps({'1': problem}).encode(encoding))
    (tmp_path/'sqa'/'pid_splits.json').write_bytes(json.dumps(dict(train=['1'])).encode(encoding))
    run = lambda: run_data(str(tmp_path/'sqa'), str(tmp_path/'d'))
    if why:
        with pytest.raises(CliError, match=why): run()
    else:
        run()
        assert load_split(tmp_path/'d', 'train')['question'][:] == ['Hot?']


def test_a_broken_line_is_named(tmp_path):
    f = tmp_path/'a.jsonl'
    f.write_text(json.dumps(dict(text=BREAKS), ensure_ascii=False) + '\n\n{"text": "x"', encoding='utf-8')
    with pytest.raises(CliError, match=r'a.jsonl: line 3 is not a JSON object \(cut off'): list(json_lines(f))
    f.write_text('{"question": "Q?", "choices": ["a", "b"], "answer": "A", "answer": "B"}')
    with pytest.raises(CliError, match="line 1 is not a JSON object \\('answer' stands twice\\)"): list(read_table(f))
    f.write_bytes('{"text": "Süß"}'.encode('latin-1'))
    with pytest.raises(CliError, match='is not UTF-8 text'): list(json_lines(f))
