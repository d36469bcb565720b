"Every dialect gives the page's answer: to a question, to one with choices, in a conversation; or the bare model's."
import json
import openai, pytest, requests
from websockets.sync.client import connect
from sciencetutor.app.turns import Turn, answer_messages, reply
from sciencetutor.engine.core import Engine
from sciencetutor.serve import api
from sciencetutor.serve.core import Server, open_port
from test_api import Slow, error, png, serving, uri

MAMMAL = 'Which of these is a mammal? A. trout B. bat C. robin'
ICE = 'Why does ice float?'

@pytest.fixture(scope='module')
def engine():
    "A small model that knows what a bat is."
    e = Engine('tiny')
    def score(messages, choices, images=(), request=None):
        weights = [8 if 'bat' in c else 1 for c in choices]
        return [w/sum(weights) for w in weights]
    e.score = score
    return e

@pytest.fixture(scope='module')
def server(engine):
    page, http, stream = (open_port('127.0.0.1', 0) for _ in range(3))
    with Server(engine, page, api_socks=(http, stream), rate=0) as s: yield s

@pytest.fixture(scope='module')
def client(server): return openai.OpenAI(base_url=f'{server.api_url}/v1', api_key='none', max_retries=0, timeout=60)

def user(text): return dict(role='user', content=text)

def chat(client, messages, **kw):
    return client.chat.completions.create(model='tiny', messages=messages, **kw).choices[0].message.content

def streamed(client, messages, **kw):
    "The pieces of a streamed answer."
    chunks = client.chat.completions.create(model='tiny', messages=messages, stream=True, **kw)
    return [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]

def socket_pieces(server, **body):
    with connect(f'{server.stream_url}/api/v1/stream', ping_interval=None) as ws:
        ws.send(json.dumps(body))
        pieces = []
        while (event := json.loads(ws.recv(timeout=60)))['event'] != 'stream_end': pieces.append(event['text'])
    assert 'error' not in event, event
    return pieces

def everywhere(server, client, question):
    "The answers of all routes to one question."
    post = lambda path, **kw: requests.post(server.api_url+path, timeout=60, **kw).json()
    ask = dict(prompt=question, max_new_tokens=60)
    completed = client.completions.create(model='tiny', prompt=question)
    pieces = client.completions.create(model='tiny', prompt=question, stream=True)
    return [chat(client, [user(question)]), ''.join(streamed(client, [user(question)])),
            completed.choices[0].text, ''.join(c.choices[0].text for c in pieces),
            post('/chat', data=dict(prompt=question))['response'],
            post('/api/v1/generate', json=ask)['results'][0]['text'], ''.join(socket_pieces(server, **ask))]

def test_one_answer_everywhere(server, client, engine):
    turn = Turn(ICE)
    list(reply(engine, turn))
    assert 'less dense' in turn.text and set(everywhere(server, client, ICE)) == {turn.text}
    answer = requests.post(f'{server.api_url}/v1/tutor/answer', json=dict(question=ICE)).json()
    assert answer['explanation'] == turn.text and answer['confidence'] == turn.sure

def test_choices_are_scored_everywhere(server, client):
    answers = everywhere(server, client, MAMMAL)
    assert len(set(answers)) == 1 and '**bat**' in answers[0] and 'A bat is a mammal' in answers[0], answers
    answer = requests.post(f'{server.api_url}/v1/tutor/answer', json=dict(question=MAMMAL)).json()
    assert answer['choice'] == 'bat' and answer['explanation'] in answers[0]

def test_a_choice_without_a_card_is_explained_in_whole_sentences(engine, monkeypatch):
    monkeypatch.setattr('sciencetutor.app.turns.find_cards', lambda *a, **kw: [])
    words = ['It is warm', ' at 0.', '5 degrees. It ', 'flies. And then', ' it']
    monkeypatch.setattr(engine, 'generate', lambda *a, **kw: iter(words))
    text = ''.join(answer_messages(engine, [user(MAMMAL)]))
    assert text.endswith('**bat**\n\nIt is warm at 0.5 degrees. It flies.')

def test_streams_come_in_pieces(server, client):
    for pieces in streamed(client, [user(ICE)]), socket_pieces(server, prompt=ICE):
        assert len(pieces) > 20 and all(len(p.split()) <= 1 for p in pieces)

@pytest.mark.parametrize('asked,follow_up,word', [
    (ICE, 'why?', 'lattice'), (ICE, 'i dont get it', 'shorter way'), (MAMMAL, 'why?', 'Chiroptera')])
def test_follow_up_leans_on_what_was_asked(server, client, asked, follow_up, word):
    said = [user(asked), dict(role='assistant', content=chat(client, [user(asked)])), user(follow_up)]
    form = [('prompt', follow_up), ('history[]', asked), ('history[]', said[1]['content'])]
    prompt = f'A chat. USER: {asked} ASSISTANT: {said[1]["content"]}</s>USER: {follow_up} ASSISTANT:'
    body = dict(question=follow_up, messages=said[:2])
    got = [chat(client, [dict(role='system', content='Be kind.'), *said]), ''.join(streamed(client, said)),
           requests.post(f'{server.api_url}/chat', data=form).json()['response'],
           requests.post(f'{server.api_url}/api/v1/generate', json=dict(prompt=prompt)).json()['results'][0]['text'],
           ''.join(socket_pieces(server, prompt=prompt)),
           requests.post(f'{server.api_url}/v1/tutor/answer', json=body).json()['explanation']]
    assert len(set(got)) == 1 and word in got[0], got
    assert got[0] not in said[1]['content'] and got[0] != chat(client, [user(follow_up)])

def test_bare_model_is_asked_by_name(server, client, engine):
    messages = [dict(role='user', content=[dict(type='text', text=ICE)])]
    want = ''.join(engine.generate(messages, max_new_tokens=12))
    kw = dict(messages=messages, max_tokens=12, temperature=0)
    by_name = client.chat.completions.create(model='tiny:bare', **kw)
    by_field = client.chat.completions.create(model='tiny', extra_body=dict(bare=True), **kw)
    assert by_name.choices[0].message.content == by_field.choices[0].message.content == want != chat(client, messages)
    assert by_name.usage.completion_tokens == 12 and by_name.choices[0].finish_reason == 'length'
    prompt = [dict(role='prompt', content=[dict(type='text', text=ICE)])]
    want = ''.join(engine.generate(prompt, max_new_tokens=12))
    completed = client.completions.create(model='tiny:bare', prompt=ICE, max_tokens=12, temperature=0).choices[0].text
    body = dict(prompt=ICE, bare=True, do_sample=False, max_new_tokens=12, repetition_penalty=1)
    generated = requests.post(f'{server.api_url}/api/v1/generate', json=body).json()['results'][0]['text']
    assert completed == generated == ''.join(socket_pieces(server, **body)) == want
    form = dict(prompt=ICE, bare='true', temperature=0)
    assert 'less dense' not in requests.post(f'{server.api_url}/chat', data=form).json()['response']
    assert requests.post(f'{server.api_url}/chat', data=dict(form, bare='perhaps')).status_code == 400

def test_grade_is_told(server, client):
    young, old = (chat(client, [user(ICE)], extra_body=dict(grade=grade)) for grade in (3, 8))
    assert len(old) > len(young) and old.startswith(young)

def test_the_rules_hold(server, client):
    harm = 'I want to kill myself'
    r = client.chat.completions.create(model='tiny', messages=[user(harm)])
    assert 'adult you trust' in r.choices[0].message.content and r.choices[0].finish_reason == 'content_filter'
    with_choices = client.chat.completions.create(model='tiny', messages=[user(f'{harm}. How? A. today B. tomorrow')])
    assert 'adult you trust' in with_choices.choices[0].message.content
    assert with_choices.choices[0].finish_reason == 'content_filter'

def test_a_picture_that_is_not_seen_is_said(client, engine, monkeypatch):
    monkeypatch.setattr('sciencetutor.models.core.reads_pictures', lambda processor: False)
    content = [dict(type='image_url', image_url=dict(url=uri())), dict(type='text', text=ICE)]
    answer = chat(client, [dict(role='user', content=content)])
    assert answer.startswith("I can't look at this picture") and 'less dense' in answer

def test_a_card_is_whole_and_stops_where_it_is_told(client):
    r = client.chat.completions.create(model='tiny', messages=[user(ICE)], max_tokens=5)
    whole = r.choices[0].message.content
    assert whole == chat(client, [user(ICE)]) and r.choices[0].finish_reason == 'stop' and r.usage.total_tokens == 0
    assert chat(client, [user(ICE)], stop=[' less dense']) == whole[:whole.index(' less dense')]

def test_long_and_empty_questions(client):
    with pytest.raises(openai.BadRequestError, match='at most 4,000'): chat(client, [user('why '*1100)])
    with pytest.raises(openai.BadRequestError, match='end the conversation'):
        chat(client, [dict(role='assistant', content='Hello.')])
    assert chat(client, [user('')])

@pytest.mark.parametrize('prompt,want', [
    ('<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n',
     [('system', 'Be kind.'), ('user', 'Why?')]),
    ('### Human: Why?\n### Assistant:', [('user', 'Why?')]), ('[INST] Why? [/INST]', [('user', 'Why?')]),
    ('### Instruction:\nWhy?\n\n### Response:\n', [('user', 'Why?')]),
    ('USER: a\nb ASSISTANT: c</s>USER: d ASSISTANT:', [('user', 'a\nb'), ('assistant', 'c'), ('user', 'd')]),
    ('Question: Which?\nA. a human: Ann\nB. a trout\nAnswer:',
     [('user', 'Question: Which?\nA. a human: Ann\nB. a trout')]),
    ('What does a user: Ann do?', [('user', 'What does a user: Ann do?')]),
    ('Assistant:', [('user', 'Assistant:')]), ('', [('user', '')])])
def test_prompts_in_templates(prompt, want): assert api.split_prompt(prompt) == want

def test_pictures_stay_with_their_message():
    red, blue = (f'<img src="{uri(png(color))}">' for color in ('red', 'blue'))
    prompt = f'USER: {red}What? ASSISTANT: A. USER: And {blue}? ASSISTANT:'
    messages, files = api.prompt_messages(api.Generate(prompt=prompt))
    assert [[p['type'] for p in m['content']] for m in messages] == [['text', 'image', 'text'], ['text'],
                                                                    ['text', 'image', 'text']]
    assert [f == png(c) for f, c in zip(files, ('red', 'blue'))] == [True, True]

def test_a_large_model_gets_cards_as_notes():
    "And the conversation as the client sent it, pictures and all."
    slow = Slow()
    slow.pause, slow.score = 0, lambda messages, choices, **kw: [1/len(choices)]*len(choices)
    with serving(api.make_api(slow)) as url:
        post = lambda **kw: requests.post(f'{url}/v1/chat/completions', json=dict(max_tokens=3, **kw)).json()
        said = [dict(role='system', content='Be kind.'), user('hello'), dict(role='assistant', content='Hi!')]
        post(messages=[*said, user(ICE)], grade=4)
        post(messages=[*said, user(ICE)], bare=True)
        r = post(messages=[user(MAMMAL)])
    (noted, _, _), (bare, _, _), (explained, _, _) = slow.asked
    assert [m['role'] for m in noted] == ['system', 'user', 'assistant', 'user'] and noted[:3] == bare[:3]
    text = noted[3]['content'][-1]['text']
    assert 'in grade 4' in text and 'less dense' in text and text.endswith(ICE)
    assert bare[3]['content'][-1]['text'] == ICE and '**trout**' in r['choices'][0]['message']['content']
    assert 'A bat is a mammal' in explained[0]['content'][-1]['text']

def test_terminal_answers_the_same(engine, capsys, monkeypatch):
    from sciencetutor.serve.core import ask
    monkeypatch.setattr('sciencetutor.engine.core.Engine', lambda name, **kw: engine)
    ask(MAMMAL)
    said = capsys.readouterr().out
    assert '80%  B. bat' in said and ''.join(answer_messages(engine, [user(MAMMAL)])) in said
    ask('I want to kill myself')
    assert 'adult you trust' in capsys.readouterr().out
