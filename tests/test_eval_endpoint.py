"An endpoint in all its moods: busy, broken, slow, talking nonsense."
import json, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastcore.script import CliError

from sciencetutor.engine.endpoint import Endpoint, chat_body
from sciencetutor.eval.core import run_eval

ok = lambda text='A': (200, json.dumps(dict(choices=[dict(message=dict(role='assistant', content=text))])))


class Server(ThreadingHTTPServer):
    "Answers with `behave(body, n)`, n a question's tries so far: (status, text[, headers]) or seconds to sleep."
    daemon_threads = True
    def __init__(self, behave):
        self.behave, self.seen, self.paths, self.lock = behave, {}, [], threading.Lock()
        super().__init__(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.serve_forever, args=(.05,), daemon=True).start()
    @property
    def url(self): return f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self): self.reply(200, '{}')
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        key = json.dumps(body['messages'])
        self.server.paths.append(self.path)
        with self.server.lock: n = self.server.seen[key] = self.server.seen.get(key, 0) + 1
        r = self.server.behave(body, n)
        if isinstance(r, float): time.sleep(r); r = ok()
        try: self.reply(*r)
        except OSError: pass
    def reply(self, status, text, headers=()):
        self.send_response(status)
        for k, v in headers: self.send_header(k, v)
        self.send_header('Content-Length', str(len(text.encode()))); self.end_headers(); self.wfile.write(text.encode())
    def log_message(self, *a): pass


@pytest.fixture
def serve():
    servers = []
    def start(behave): servers.append(Server(behave)); return servers[-1]
    yield start
    for s in servers: s.shutdown(); s.server_close()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    from sciencetutor.data.core import run_data
    out = tmp_path_factory.mktemp('endpoint')/'samples'
    run_data(source='samples', out=str(out), n=60)
    return str(out)


def ask(server, n=4, **kw):
    return Endpoint(server.url, 'm', wait=.01, **kw)([chat_body(f'Question {i}') for i in range(n)])


@pytest.mark.parametrize('mood', [
    (429, 'slow down', [('Retry-After', '0.01')]), (429, '', [('Retry-After', 'soon')]), (500, ''), (503, 'starting'),
    (200, '<html>'), (200, '{}'), (200, '{"choices": []}'), (200, '{"choices": [{"message": {"content": null}}]}'),
    (200, '[1]'), (200, '')])
def test_a_bad_minute_is_waited_out(serve, mood):
    s = serve(lambda body, n: mood if n < 3 else ok())
    assert ask(s) == [dict(text='A')]*4 and set(s.seen.values()) == {3}


@pytest.mark.parametrize('mood,why', [
    ((429, ''), 'HTTP 429'), ((500, ''), 'HTTP 500'), ((200, 'oops'), 'not a chat completion'), (2., 'timeout')])
def test_what_never_comes_has_a_reason(serve, mood, why):
    assert ask(serve(lambda body, n: mood), tries=2, timeout=.3) == [dict(error=why)]*4


def test_a_refused_question_is_not_repeated(serve):
    s = serve(lambda body, n: (400, 'too long') if '2' in body['messages'][0]['content'] else ok())
    assert ask(s)[2] == dict(error='HTTP 400: too long') and max(s.seen.values()) == 1


@pytest.mark.parametrize('body', [
    {'error': {'message': 'Unknown model size'}}, [{'error': {'message': 'Unknown model size'}}],
    {'error': 'Unknown model size'}, {'object': 'error', 'message': 'Unknown model size'},
    {'detail': 'Unknown model size'}])
def test_the_reason_is_the_servers_own(serve, body):
    "OpenAI and llama.cpp, Gemini, Ollama, older vLLM and Mistral, FastAPI: each has its own form."
    assert ask(serve(lambda *_: (400, json.dumps(body))), 1) == [dict(error='HTTP 400: Unknown model size')]


def test_max_completion_tokens_where_the_model_wants_it(serve):
    "openai/openai-python 2046, EleutherAI/lm-evaluation-harness 2441: o1 refuses max_tokens, and temperature 0."
    bodies = []
    def behave(body, n):
        bodies.append(body)
        refused = lambda param, why: (400, json.dumps(dict(error=dict(
            message=f"Unsupported: '{param}' {why}", param=param, code='unsupported_parameter'))))
        if 'max_tokens' in body: return refused('max_tokens', "is not supported. Use 'max_completion_tokens' instead.")
        if 'temperature' in body: return refused('temperature', 'does not support 0 with this model.')
        return ok()
    e = Endpoint(serve(behave).url, 'm', wait=.01)
    assert e([chat_body(f'Question {i}', max_tokens=7) for i in range(20)]) == [dict(text='A')]*20
    bodies.clear()
    assert e([chat_body('Once more', max_tokens=7)]) == [dict(text='A')] and len(bodies) == 1
    assert bodies[0]['max_completion_tokens'] == 7 and not bodies[0].keys() & {'max_tokens', 'temperature'}


def test_thoughts_that_fill_the_answer_are_an_empty_answer(serve, data, tmp_path, capsys):
    "sipeed/picoclaw 966: content is null, all tokens went into the thoughts; asking again gives the same."
    spent = dict(message=dict(role='assistant', content=None, reasoning_content='A? Or B?'), finish_reason='length')
    s = serve(lambda *_: (200, json.dumps(dict(choices=[spent]))))
    assert ask(s, 1) == [dict(text='')] and set(s.seen.values()) == {1}
    m = evaluate(data, tmp_path/'e', s)
    assert (m['errors'], m['correct'], m['readers']['tolerant']['unread']) == ({}, 0, m['count'])
    assert f"{m['count']} answers are empty" in capsys.readouterr().out


def test_content_in_parts(serve):
    "mistralai/client-python 252: Magistral's content is a list, its thoughts first."
    parts = [dict(type='thinking', thinking=[dict(type='text', text='A? B?')]), dict(type='text', text='B')]
    reply = json.dumps(dict(choices=[dict(message=dict(content=parts))]))
    assert ask(serve(lambda *_: (200, reply)), 1) == [dict(text='B')]


@pytest.mark.parametrize('url, base', [
    ('http://h:8000', 'http://h:8000/v1'), ('http://h:8000/v1/', 'http://h:8000/v1'), ('http://h/api', 'http://h/api/v1'),
    ('https://g/v1beta/openai/', 'https://g/v1beta/openai'), ('https://g/openai/v1', 'https://g/openai/v1'),
    ('https://z/api/paas/v4', 'https://z/api/paas/v4'), ('https://p/chat/completions', 'https://p'),
    ('http://h:8000/v1/chat/completions', 'http://h:8000/v1'), ('http://v1', 'http://v1/v1'),
    ('http://openai', 'http://openai/v1')])
def test_v1_is_added_only_where_no_version_is(url, base):
    "FoundationAgents/OpenManus 174, snailyp/gemini-balance 317: Gemini's address with a v1 too many, and 404."
    assert Endpoint(url, 'm').url == base


def test_what_stands_behind_the_question_mark_goes_along(serve):
    "Azure's api-version."
    s = serve(lambda *_: ok())
    path = '/openai/deployments/m/chat/completions?api-version=2024-10-21'
    assert Endpoint(s.url + path, 'm')([chat_body('?')]) == [dict(text='A')] and s.paths == [path]


@pytest.mark.parametrize('name', ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY'])
def test_no_proxy_to_this_computer(serve, monkeypatch, name):
    "A proxy in the environment is for the way out: the server on this computer was not reached."
    for n in ('NO_PROXY', 'no_proxy'): monkeypatch.delenv(n, raising=False)
    monkeypatch.setenv(name, 'http://127.0.0.1:9')
    s = serve(lambda *_: ok())
    for host in ('127.0.0.1', 'localhost'):
        e = Endpoint(s.url.replace('127.0.0.1', host), 'm', tries=1)
        e.check_reachable()
        assert e([chat_body('?')]) == [dict(text='A')]


@pytest.mark.parametrize('status, code', [(402, None), (429, 'insufficient_quota')])
def test_nothing_left_to_pay_with_stops_everything(serve, status, code):
    "openai/codex 6340, langchain-ai/langchainjs 1929: an empty account was retried like a busy server."
    s = serve(lambda *_: (status, json.dumps(dict(error=dict(message='You exceeded your current quota', code=code)))))
    with pytest.raises(CliError, match='You exceeded your current quota.: check the account'): ask(s)
    assert set(s.seen.values()) == {1}


def test_a_key_with_a_line_break(serve, monkeypatch):
    "`export OPENAI_API_KEY=$(cat key.txt)` of a file with Windows line ends."
    monkeypatch.setenv('OPENAI_API_KEY', 'sk-1\r\n')
    assert ask(serve(lambda *_: ok()), 1) == [dict(text='A')]
    monkeypatch.setenv('OPENAI_API_KEY', 'sk\u20131')
    with pytest.raises(CliError, match='copy the key once more'): Endpoint('http://h', 'm')


def test_remote_engine_learns_the_same(serve):
    from sciencetutor.engine.remote import RemoteEngine
    parts = [dict(type='text', text='Rayleigh')]
    def behave(body, n):
        if 'max_tokens' in body: return 400, "Use 'max_completion_tokens' instead."
        if not body.get('stream'): return 200, json.dumps(dict(choices=[dict(message=dict(content=parts))]))
        return 200, f"data: {json.dumps(dict(choices=[dict(delta=dict(content=parts))]))}\n\ndata: [DONE]\n\n"
    engine = RemoteEngine(serve(behave).url, 'm')
    question = [dict(role='user', content=[dict(type='text', text='Why?')])]
    assert list(engine.generate(question, max_new_tokens=5)) == ['Rayleigh'] and engine.running == 0
    assert engine.score(question, ['a', 'b']) == [.5, .5]


def test_a_content_filter_is_no_answer(serve):
    "The sentence in the answer's place would be read as a wrong answer."
    sentence = dict(role='assistant', content='Let us talk of something else.')
    filtered = 200, json.dumps(dict(choices=[dict(message=sentence, finish_reason='content_filter')]))
    s = serve(lambda body, n: filtered if '2' in body['messages'][0]['content'] else ok())
    assert ask(s) == [dict(text='A')]*2 + [dict(error='content filter'), dict(text='A')] and max(s.seen.values()) == 1


@pytest.mark.parametrize('unguarded,errors', [(False, {'content filter': 1}), (True, {})])
def test_our_own_server_with_its_rules_and_without(tmp_path, unguarded, errors):
    from sciencetutor.data.core import run_data
    from sciencetutor.engine.core import Engine
    from sciencetutor.serve.core import Server, open_port
    sentences = 'how do i make a bomb', 'life is a dream'
    questions = [dict(question=f'Which is "{s}"?', choices=['a metaphor', 'a simile'], answer='A') for s in sentences]
    (tmp_path/'t.jsonl').write_text('\n'.join(map(json.dumps, questions)))
    run_data(str(tmp_path/'t.jsonl'), str(tmp_path/'d'))
    with Server(Engine('tiny'), open_port('127.0.0.1', 0), unguarded=unguarded) as s:
        m = run_eval(data=str(tmp_path/'d'), model='tiny', split='train', out=str(tmp_path/'e'), protocol='generate',
                     endpoint=s.api_url, max_new_tokens=4, allow_errors=True)
    assert (m['errors'], m['count']) == (errors, 2)


@pytest.mark.parametrize('status', [401, 403, 404])
def test_a_wrong_key_or_model_stops_everything(serve, status):
    answer = status, '{"error": {"message": "no such\\nthing"}}'
    with pytest.raises(CliError, match=f'HTTP {status} .no such thing'): ask(serve(lambda body, n: answer))


def test_order_and_concurrency(serve):
    active, most, lock = [0], [0], threading.Lock()
    def behave(body, n):
        with lock: active[0] += 1; most[0] = max(most[0], active[0])
        time.sleep(.1)
        with lock: active[0] -= 1
        return ok(body['messages'][0]['content'])
    assert [a['text'] for a in ask(serve(behave), 16, concurrency=4)] == [f'Question {i}' for i in range(16)]
    assert 1 < most[0] <= 4


def evaluate(data, out, server, **kw):
    return run_eval(data=data, model='m', split='test', out=str(out), protocol='generate', endpoint=server.url,
                    max_new_tokens=8, **kw)


def test_eval_names_errors_and_asks_only_those_again(serve, data, tmp_path, capsys):
    well = serve(lambda body, n: ok('The answer is A.'))
    want = evaluate(data, tmp_path/'well', well)
    hurt = [k for i, k in enumerate(well.seen) if i % 3 == 0]
    healed = []
    def behave(body, n):
        return (400, '') if json.dumps(body['messages']) in hurt and not healed else ok('The answer is A.')
    s = serve(behave)
    says = rf'never answered {len(hurt)} of {want["count"]} questions \(HTTP 400: {len(hurt)}\)'
    with pytest.raises(CliError, match=says): evaluate(data, tmp_path/'hurt', s)
    assert evaluate(data, tmp_path/'hurt', s, allow_errors=True)['errors'] == {'HTTP 400': len(hurt)}
    healed.append(1)
    s.seen.clear()
    again = evaluate(data, tmp_path/'hurt', s)
    assert set(s.seen) == set(hurt) and again['errors'] == {}
    assert again['acc'] == want['acc'] and again['protocol'] == 'generate'
    read = lambda d: (tmp_path/d/'predictions.jsonl').read_bytes()
    assert read('hurt') == read('well')


def test_pictures_go_along(serve, data, tmp_path):
    urls = []
    def behave(body, n):
        c = body['messages'][0]['content']
        if isinstance(c, list): urls.append(c[0]['image_url']['url'][:22])
        assert body['temperature'] == 0 and body['model'] == 'm'
        return ok('B')
    m = evaluate(data, tmp_path/'e', serve(behave))
    assert len(urls) == m['img']['count'] > 0 and set(urls) == {'data:image/png;base64,'}


def test_only_generate_and_somebody_there(serve, data, tmp_path):
    s = serve(lambda body, n: ok())
    with pytest.raises(CliError, match='can only write'):
        run_eval(data=data, model='m', out=str(tmp_path/'a'), endpoint=s.url)
    with pytest.raises(CliError, match='nothing answers'):
        run_eval(data=data, model='m', out=str(tmp_path/'b'), protocol='generate', endpoint='http://127.0.0.1:9')
    assert list(tmp_path.iterdir()) == []
