"The APIs through real clients, and what they refuse; the model is `tiny`."
import base64, io, json, os, re, signal, socket, struct, subprocess, sys, threading, time, zlib
from contextlib import contextmanager
from pathlib import Path
import httpx, openai, pytest, requests, uvicorn, websockets
from PIL import Image
from websockets.sync.client import connect
from sciencetutor.engine.protocol import AnyEngine
from sciencetutor.serve import api
from sciencetutor.serve.api import make_api
from sciencetutor.engine.core import Engine
from sciencetutor.engine.remote import RemoteEngine
from sciencetutor.serve.core import Server, open_port

EXAMPLES = Path(__file__).resolve().parent.parent/'examples'
ENV = {**os.environ, 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1'}

@pytest.fixture(scope='module')
def engine(): return Engine('tiny')

@pytest.fixture(scope='module')
def server(engine):
    page, http, stream = (open_port('127.0.0.1', 0) for _ in range(3))
    with Server(engine, page, api_socks=(http, stream), rate=0) as s: yield s

@pytest.fixture(scope='module')
def url(server): return server.api_url

@pytest.fixture(scope='module')
def client(url): return openai.OpenAI(base_url=f'{url}/v1', api_key='none', max_retries=0, timeout=60)

@contextmanager
def serving(app, **kw):
    "An app on a port, without the page."
    sock = open_port('127.0.0.1', 0)
    s = uvicorn.Server(uvicorn.Config(app, log_level='critical', **kw))
    t = threading.Thread(target=s.run, args=([sock],), daemon=True)
    t.start()
    until(lambda: s.started)
    try: yield f'http://127.0.0.1:{sock.getsockname()[1]}'
    finally:
        s.should_exit = s.force_exit = True
        t.join(10)

class Slow(AnyEngine):
    "An engine that says a word now and then, as often as it is asked to."
    name, waiting, pause = 'slow', 0, .02
    def __init__(self): self.stops, self.running, self.asked = {}, 0, []
    def generate(self, messages, images=(), request=None, max_new_tokens=200, usage=None, **kw):
        self.asked.append((messages, list(images), dict(kw, max_new_tokens=max_new_tokens)))
        stop = self.stops[request] = threading.Event()
        self.running += 1
        try:
            for i in range(max_new_tokens):
                if stop.wait(self.pause): return
                yield f'{i} '
        finally: self.running -= 1
    def score(self, messages, choices, images=(), request=None):
        stop = self.stops[request] = threading.Event()
        self.running += 1
        try: return [] if stop.wait(30) else [1/len(choices)]*len(choices)
        finally: self.running -= 1
    def cancel(self, request=None):
        for r in list(self.stops) if request is None else [request]:
            if r in self.stops: self.stops[r].set()

def until(what, seconds=20):
    end = time.time()+seconds
    while not what() and time.time() < end: time.sleep(.01)
    assert what()

def png(color='red', size=(40, 30)):
    f = io.BytesIO()
    Image.new('RGB', size, color).save(f, 'PNG')
    return f.getvalue()

def uri(data=None): return 'data:image/png;base64,' + base64.b64encode(png() if data is None else data).decode()

def bomb():
    "A small file of 30,000 x 30,000 pixels: the header of a PNG, and nothing behind it that would matter."
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind+data))
    chunks = [chunk(b'IHDR', struct.pack('>IIBBBBB', 30_000, 30_000, 8, 2, 0, 0, 0)),
              chunk(b'IDAT', zlib.compress(bytes(10_000))), chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)

def error(r): return r.json()['error']['message']

# text-generation-webui

def test_curl(url):
    command = ['curl', '-s', f'{url}/api/v1/generate', '-d', f'@{EXAMPLES}/req.json']
    def run(*more):
        return json.loads(subprocess.run([*command, *more], capture_output=True, text=True, timeout=60).stdout)
    first = run()
    assert list(first) == ['results'] and first['results'][0]['text']
    assert first == run('-H', 'Content-Type: application/json')

def test_generate_is_a_continuation(url, engine):
    body = dict(prompt='Once upon', bare=True, max_new_tokens='12', temperature='0.7', seed='5', top_k=20.0,
                nobody_knows=1, stopping_strings=None)
    r = requests.post(f'{url}/api/v1/generate', json=body)
    want = ''.join(engine.generate([dict(role='prompt', content=[dict(type='text', text='Once upon')])],
                                   max_new_tokens=12, temperature=.7, seed=5, top_k=20))
    assert r.json() == dict(results=[dict(text=want)]) and 'x-ignored-parameters' not in r.headers

def test_generate_with_a_picture(url, engine):
    r = requests.post(f'{url}/api/v1/generate',
                      json=dict(prompt=f'Look: <img src="{uri()}"> what is it?', bare=True, max_new_tokens=20,
                                do_sample=False))
    parts = [dict(type='text', text='Look: '), dict(type='image'), dict(type='text', text=' what is it?')]
    want = ''.join(engine.generate([dict(role='prompt', content=parts)], [Image.new('RGB', (40, 30), 'red')],
                                   max_new_tokens=20))
    assert r.json()['results'][0]['text'] == want
    assert engine.count([dict(role='prompt', content=parts)], [Image.new('RGB', (9, 9))]) > 30

def test_ignored_parameters_are_named(url):
    r = requests.post(f'{url}/api/v1/generate',
                      json=dict(prompt='Why', max_new_tokens=1, tfs=.9, mirostat_mode=2, typical_p=1, num_beams=1))
    assert r.headers['x-ignored-parameters'] == 'mirostat_mode, tfs'

def test_long_history_is_cut_from_the_left(url, engine):
    body = dict(prompt='x'*9000 + 'Why is', bare=True, max_new_tokens=8, temperature=0)
    r = requests.post(f'{url}/api/v1/generate', json=body)
    want = ''.join(engine.generate([dict(role='prompt', content=[dict(type='text', text='x'*(2040-6) + 'Why is')])],
                                   max_new_tokens=8))
    assert r.json()['results'][0]['text'] == want

def test_webui_model_and_tokens(url):
    assert requests.get(f'{url}/api/v1/model').json() == dict(result='tiny')
    assert requests.post(f'{url}/api/v1/model', json=dict(action='info')).json()['result']['model_name'] == 'tiny'
    assert requests.post(f'{url}/api/v1/model', json=dict(action='load', model_name='/etc')).status_code == 403
    assert (requests.post(f'{url}/api/v1/token-count', json=dict(prompt='12345')).json()
            == dict(results=[dict(tokens=5)]))

def test_websocket_example(server):
    command = [sys.executable, EXAMPLES/'websocket_streaming.py', '--max-new-tokens', '30']
    command += ['--url', f'{server.stream_url}/api/v1/stream']
    r = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and 'scatter' in r.stdout, r.stderr

def converse(ws, **request):
    ws.send(json.dumps(request))
    events = []
    while not events or events[-1]['event'] != 'stream_end': events.append(json.loads(ws.recv(timeout=60)))
    return events

def test_websocket_stays_open(server, url):
    body = dict(prompt='Why is', bare=True, max_new_tokens=40, seed=4, temperature=1)
    with connect(f'{server.stream_url}/api/v1/stream', ping_interval=None) as ws:
        one, two = converse(ws, **body), converse(ws, **body)
        bad, three = converse(ws, temperature=1), converse(ws, **body)
    assert one == two == three and [e['message_num'] for e in one] == list(range(len(one))) and len(one) > 3
    assert all(set(e) == {'event', 'message_num', 'text'} for e in one[:-1])
    assert set(one[-1]) == {'event', 'message_num'}
    assert (''.join(e['text'] for e in one[:-1])
            == requests.post(f'{url}/api/v1/generate', json=body).json()['results'][0]['text'])
    assert [e['event'] for e in bad] == ['stream_end'] and 'prompt' in bad[0]['error']

def test_websocket_picture_and_bytes(server):
    with connect(f'{server.stream_url}/api/v1/stream', ping_interval=None) as ws:
        assert len(converse(ws, prompt=f'<img src="{uri()}">What?', max_new_tokens=20)) > 1
        by_address = json.dumps(dict(prompt='<img src="http://127.0.0.1:1/x.png">'))
        for bad in 'no json', '[1]', '\x00', by_address, b'\xff\xfe':
            ws.send(bad)
            assert json.loads(ws.recv(timeout=20))['event'] == 'stream_end'

def test_stop_stream(server, engine, url):
    with connect(f'{server.stream_url}/api/v1/stream', ping_interval=None) as ws:
        ws.send(json.dumps(dict(prompt='Why', bare=True, max_new_tokens=1000, temperature=1, seed=1)))
        ws.recv(timeout=20)
        assert requests.post(f'{url}/api/v1/stop-stream').json() == dict(results='success')
        n = 0
        while json.loads(ws.recv(timeout=20))['event'] != 'stream_end': n += 1
    assert n < 500
    until(lambda: not engine.running)

# the Flask service

def test_chat(url, monkeypatch):
    monkeypatch.setattr(api, 'MAX_NEW_TOKENS', 16)
    chat = lambda *fields, **files: requests.post(f'{url}/chat', data=list(fields), files=files or None)
    for r in (chat(('prompt', 'Why?')),
              chat(('prompt', 'Why?'), ('temperature', '0.3'), ('history[]', 'What?'), ('history[]', 'That.')),
              chat(('prompt', ''), image=('a.png', png())),
              chat(image=png()),
              chat(('prompt', 'And?'), ('history[]', '<image>\nWhat?'), ('history[]', 'A.'), image=png()),
              chat(('prompt', 'Why?'), ('temperature', ''))):
        assert r.status_code == 200 and list(r.json()) == ['response'] and isinstance(r.json()['response'], str), r.text
    for r in (chat(('prompt', ' ')), chat(('prompt', 'Why?'), ('temperature', 'warm')),
              chat(('prompt', 'Why?'), image=b'words')):
        assert r.status_code == 400 and error(r)
    status = requests.get(f'{url}/status').json()
    assert status['api_version'] == '1.0' and status['torch_version']

def test_chat_knows_where_the_picture_belongs():
    slow = Slow()
    slow.pause = 0
    with serving(make_api(slow)) as url:
        requests.post(f'{url}/chat',
                      data=[('prompt', 'And why?'), ('history[]', '<image>\nWhat is it?'), ('history[]', 'A magnet.')],
                      files=dict(image=png()))
        requests.post(f'{url}/chat',
                      data=[('prompt', 'And this?'), ('history[]', 'Hello'), ('history[]', 'Hi <image>')],
                      files=[('image', png()), ('image', png('blue'))])
        requests.post(f'{url}/chat', files=dict(image=png()))
    def shape(m): return m['role'], [p['type'] for p in m['content']], m['content'][-1]['text']
    shapes = [[shape(m) for m in messages] for messages, _, _ in slow.asked]
    assert shapes == [[('user', ['image', 'text'], 'What is it?'), ('assistant', ['text'], 'A magnet.'),
                       ('user', ['text'], 'And why?')],
                      [('user', ['text'], 'Hello'), ('assistant', ['text'], 'Hi'),
                       ('user', ['image', 'image', 'text'], 'And this?')],
                      [('user', ['image', 'text'], api.PICTURE_ONLY)]]
    assert [len(i) for _, i, _ in slow.asked] == [1, 2, 1] and slow.asked[0][2]['temperature'] == 1.

# OpenAI

def test_openai_streams_with_a_picture(client):
    content = [dict(type='image_url', image_url=dict(url=uri())), dict(type='text', text='What?')]
    messages = [dict(role='system', content='Be kind.'), dict(role='user', content=content)]
    kw = dict(model='tiny:bare', messages=messages, max_tokens=20, seed=3)
    whole = client.chat.completions.create(**kw)
    chunks = list(client.chat.completions.create(**kw, stream=True, stream_options=dict(include_usage=True)))
    assert ''.join(c.choices[0].delta.content or '' for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == 'assistant'
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == 'length'
    assert chunks[-1].usage == whole.usage and whole.usage.completion_tokens == 20 and whole.usage.prompt_tokens > 20
    other = client.chat.completions.create(**{**kw, 'seed': 4})
    assert other.choices[0].message.content != whole.choices[0].message.content

def test_openai_stop(client):
    kw = dict(model='tiny:bare', messages=[dict(role='user', content='Why?')], max_tokens=60, seed=3)
    text = client.chat.completions.create(**kw).choices[0].message.content
    stopped = client.chat.completions.create(**kw, stop=text[20:23]).choices[0]
    assert stopped.message.content == text[:text.index(text[20:23])] and stopped.finish_reason == 'stop'

def test_openai_models(client):
    assert [m.id for m in client.models.list()] == ['tiny', 'tiny:bare']
    assert client.models.retrieve('tiny').owned_by == 'sciencetutor'
    with pytest.raises(openai.NotFoundError): client.models.retrieve('gpt-4')

def image_part(address): return dict(type='image_url', image_url=dict(url=address))

@pytest.mark.parametrize('content', [
    [image_part('http://127.0.0.1:1/x.png')], [image_part('file:///etc/passwd')], [image_part(uri(b'words'))],
    'why '*1100, [dict(type='audio')], 7])
def test_openai_refuses(client, content):
    for stream in False, True:
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model='tiny', messages=[dict(role='user', content=content)], stream=stream)

# the tutor's own

def test_answer(url):
    r = requests.post(f'{url}/v1/tutor/answer',
                      json=dict(question='Which is red?', choices=['this', 'that'], picture=uri(),
                                max_new_tokens=10)).json()
    assert set(r) == {'choice', 'choices', 'probabilities', 'confidence', 'explanation', 'picture'}
    assert r['choice'] in r['choices'] == ['this', 'that']
    assert sum(r['probabilities']) == pytest.approx(1, abs=1e-3) and r['confidence'] == max(r['probabilities'])
    r = requests.post(f'{url}/v1/tutor/answer', json=dict(question='Which? A. milk B. a rock', max_new_tokens=5)).json()
    assert r['choices'] == ['milk', 'a rock']
    r = requests.post(f'{url}/v1/tutor/answer', json=dict(question='Why?', max_new_tokens=5)).json()
    assert r['choice'] is None and r['confidence'] == 0 and r['choices'] == []
    r = requests.post(f'{url}/v1/tutor/answer', json=dict(question='I want to kill myself')).json()
    assert 'adult you trust' in r['explanation'] and r['confidence'] == 0
    for bad in (dict(question=' '), dict(), dict(question='Which?', choices=['one']),
                dict(question='Which?', choices=['a']*11), dict(question='Which?', picture='/etc/passwd')):
        assert requests.post(f'{url}/v1/tutor/answer', json=bad).status_code == 400

# for operators

def test_health_metrics_and_documentation(url, server):
    assert requests.get(f'{url}/healthz').status_code == requests.get(f'{url}/readyz').status_code == 200
    figures = requests.get(f'{url}/metrics').text
    for name in 'queue', 'running', 'ttft_seconds_bucket', 'tokens_total', 'tokens_per_second_bucket', 'requests_total':
        assert f'sciencetutor_{name}' in figures
    page = requests.get(f'{url}/apidocs').text
    assert not re.search(r'(src|href)="https?://', page)
    for file in re.findall(r'(?:src|href)="([^"]+)"', page): assert requests.get(f'{url}/{file}').status_code == 200
    paths = requests.get(f'{url}/openapi.json').json()['paths']
    assert {'/api/v1/generate', '/api/v1/token-count', '/api/v1/stop-stream', '/api/v1/model', '/chat', '/status',
            '/v1/chat/completions', '/v1/models', '/v1/tutor/answer', '/healthz', '/readyz', '/metrics'} <= set(paths)
    assert requests.get(f'{url}/nothing').status_code == 404 and requests.put(f'{url}/chat').status_code == 405

def test_ports_and_one_port(server, engine):
    assert requests.get(f'{server.url}/status').status_code == 404
    assert 'gradio' not in requests.get(f'{server.api_url}/').text
    with Server(engine, open_port('127.0.0.1', 0)) as s:
        assert requests.get(f'{s.url}/status').status_code == 200 and 'ScienceTutor' in requests.get(s.url).text
        with connect(f'{s.stream_url}/api/v1/stream', ping_interval=None) as ws:
            assert converse(ws, prompt='Why', max_new_tokens=3)

# limits

def test_large_is_refused_quickly(url):
    start = time.time()
    assert requests.post(f'{url}/chat', data=dict(prompt='?'), files=dict(image=bomb())).status_code == 400
    assert requests.post(f'{url}/api/v1/generate', json=dict(prompt=f'<img src="{uri(bomb())}">')).status_code == 400
    assert requests.post(f'{url}/api/v1/generate', json=dict(prompt='x'*1_000_000)).status_code == 413
    assert requests.post(f'{url}/chat', data=dict(prompt='?'),
                         files=dict(image=bomb() + bytes(15_000_000))).status_code == 400
    assert (requests.post(f'{url}/api/v1/generate', data=b'{"prompt":"?", "x":[' + b'[],'*300_000 + b'1]}').status_code
            == 413)
    for data in bomb() + bytes(40_000_000), (bytes(1_000_000) for _ in range(40)):
        try: assert requests.post(f'{url}/api/v1/generate', data=data).status_code == 413
        except requests.exceptions.RequestException: pass  # it was told and hung up on while it was still sending
    host, port = url.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b'POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n')
        assert s.recv(20).startswith(b'HTTP/1.1 413')
    assert time.time()-start < 30 and requests.get(f'{url}/healthz').status_code == 200

def test_new_tokens_are_capped():
    slow = Slow()
    slow.pause = 0
    with serving(make_api(slow)) as url:
        r = requests.post(f'{url}/api/v1/generate', json=dict(prompt='Why', max_new_tokens=10_000))
        assert len(r.json()['results'][0]['text'].split()) == 1024
        body = dict(messages=[dict(role='user', content='Why')], max_tokens=10_000)
        assert requests.post(f'{url}/v1/chat/completions', json=body).status_code == 200
    assert all(kw['max_new_tokens'] == 1024 for *_, kw in slow.asked)

def test_keys():
    with serving(make_api(Slow(), keys=('apple', 'pear'))) as url:
        get = lambda **h: requests.get(f'{url}/v1/models', headers=h).status_code
        assert get() == get(Authorization='Bearer plum') == get(Authorization='apple') == 401
        assert get(Authorization='Bearer apple') == get(**{'X-API-Key': 'pear'}) == 200
        assert requests.get(f'{url}/healthz').status_code == 200
        assert requests.post(f'{url}/chat', data=dict(prompt='?')).status_code == 401
        with pytest.raises(websockets.exceptions.InvalidStatus): connect(url.replace('http', 'ws')+'/api/v1/stream')
        with connect(url.replace('http', 'ws')+'/api/v1/stream', additional_headers={'X-API-Key': 'pear'}) as ws:
            assert len(converse(ws, prompt='?', max_new_tokens=2)) == 3

def test_rate_and_queue():
    with serving(make_api(Slow(), rate=3)) as url:
        codes = [requests.get(f'{url}/v1/models') for _ in range(4)]
        assert [r.status_code for r in codes] == [200]*3+[429] and int(codes[-1].headers['retry-after']) >= 1
    slow = Slow()
    with serving(make_api(slow, queue=1)) as url:
        body = dict(prompt='?', max_new_tokens=50)
        t = threading.Thread(target=lambda: requests.post(f'{url}/api/v1/generate', json=body))
        t.start()
        until(lambda: slow.running)
        r = requests.post(f'{url}/v1/chat/completions',
                          json=dict(messages=[dict(role='user', content='?')], stream=True))
        assert r.status_code == 429 and int(r.headers['retry-after']) >= 1
        t.join()
        assert requests.post(f'{url}/api/v1/generate', json=dict(prompt='?', max_new_tokens=1)).status_code == 200

def first_words(url, path, length, *headers):
    "The status of a request whose body never comes."
    host, port = url.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port)), timeout=10) as s:
        lines = [f'POST {path} HTTP/1.1', 'Host: localhost', f'Content-Length: {length}', *headers, '', '']
        s.sendall('\r\n'.join(lines).encode())
        return int(s.recv(20).split()[1])

PATHS = '/api/v1/generate', '/api/v1/token-count', '/chat', '/v1/chat/completions', '/v1/tutor/answer'

@pytest.mark.parametrize('path', PATHS)
def test_nothing_is_read_from_who_may_not_come_in(path):
    with serving(make_api(Slow(), keys=('apple',))) as url: assert first_words(url, path, 9_000_000) == 401
    app = make_api(Slow(), queue=1)
    app.state.gateway.admission.used = 1
    with serving(app) as url: assert first_words(url, path, 9_000_000) == 429

def picture_requests(url):
    "A request with a picture to every route that takes one."
    image = dict(type='image_url', image_url=dict(url=uri()))
    yield requests.post(f'{url}/api/v1/generate', json=dict(prompt=f'<img src="{uri()}">', max_new_tokens=1))
    yield requests.post(f'{url}/chat', data=dict(prompt='?'), files=dict(image=png()))
    yield requests.post(f'{url}/v1/chat/completions',
                        json=dict(messages=[dict(role='user', content=[image])], stream=True, max_tokens=1))
    yield requests.post(f'{url}/v1/tutor/answer', json=dict(question='?', picture=uri(), max_new_tokens=1))

def test_pictures_are_decoded_inside_the_door(monkeypatch):
    app, inside = make_api(slow := Slow(), queue=5), []
    slow.pause, read, gateway = 0, api.read_pictures, app.state.gateway
    monkeypatch.setattr(api, 'read_pictures', lambda files: (inside.append(gateway.admission.used), read(files))[1])
    monkeypatch.setattr(gateway.admission, 'check', lambda client: None)  # full only once the body has been read
    with serving(app) as url:
        assert [r.status_code for r in picture_requests(url)] == [200]*4 and inside == [1]*4
        monkeypatch.undo()
        monkeypatch.setattr(api, 'read_pictures', lambda files: inside.append('full'))
        class Full(api.AdmissionControl):
            def admit(self, client): return api.AdmissionControl(0).admit(client)
        monkeypatch.setattr(gateway, 'admission', Full())
        assert [r.status_code for r in picture_requests(url)] == [429]*4 and 'full' not in inside

def test_two_pictures_are_decoded_at_a_time(monkeypatch):
    from sciencetutor.data import images
    now, most, lock = [0], [], threading.Lock()
    def slowly(data, max_side):
        with lock: now[0] += 1
        most.append(now[0])
        time.sleep(.05)
        with lock: now[0] -= 1
        return Image.new('RGB', (8, 8))
    monkeypatch.setattr(images, 'decode', slowly)
    slow = Slow()
    slow.pause = 0
    with serving(make_api(slow)) as url:
        threads = [threading.Thread(target=lambda: list(picture_requests(url))) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join(60)
    assert len(most) == 16 and max(most) == 2

def test_bytes_in_memory_are_bounded():
    slow = Slow()
    app = make_api(slow)
    budget = app.state.gateway.budget
    budget.size = 5000
    with serving(app) as url:
        body = dict(prompt='?'*2000, max_new_tokens=1000)
        t = threading.Thread(target=lambda: requests.post(f'{url}/api/v1/generate', json=body))
        t.start()
        until(lambda: slow.running)
        r = requests.post(f'{url}/api/v1/generate', json=dict(prompt='?'*2000))
        assert r.status_code == 429 and int(r.headers['retry-after']) >= 1
        assert requests.post(f'{url}/api/v1/generate', json=dict(prompt='?', max_new_tokens=1)).status_code == 200
        requests.post(f'{url}/api/v1/stop-stream')
        t.join(20)
        until(lambda: not budget.used)

def test_websocket_memory_is_bounded(server):
    gateway = server.api.state.gateway
    address = f'{server.stream_url}/api/v1/stream'
    with connect(address, ping_interval=None) as ws, pytest.raises(websockets.exceptions.ConnectionClosed) as e:
        converse(ws, prompt='x'*9_000_000)
    assert e.value.rcvd.code == 1009
    body = json.dumps(dict(prompt='Why', bare=True, max_new_tokens=1000, temperature=1, seed=1))
    with connect(address, ping_interval=None) as ws, pytest.raises(websockets.exceptions.ConnectionClosed) as e:
        for _ in range(3): ws.send(body)
        while True: ws.recv(timeout=20)
    assert e.value.rcvd.code == 1008
    before, gateway.budget.size = gateway.budget.size, gateway.budget.used+1000
    try:
        with connect(address, ping_interval=None) as ws, pytest.raises(websockets.exceptions.ConnectionClosed) as e:
            converse(ws, prompt='x'*2000)
    finally: gateway.budget.size = before
    assert e.value.rcvd.code == 1013 and 'hands full' in e.value.rcvd.reason
    before, gateway.sockets.size = gateway.sockets.size, 1
    try:
        until(lambda: not gateway.sockets.used)
        with connect(address, ping_interval=None) as ws:
            with pytest.raises(websockets.exceptions.InvalidStatus): connect(address)
            assert len(converse(ws, prompt='Why', max_new_tokens=30)) > 1
    finally: gateway.sockets.size = before
    until(lambda: not gateway.budget.used and not gateway.sockets.used)

def test_deadline():
    slow = Slow()
    with serving(make_api(slow, deadline=.5)) as url:
        start = time.time()
        assert requests.post(f'{url}/api/v1/generate', json=dict(prompt='?', max_new_tokens=1000)).status_code == 503
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.post(f'{url}/v1/chat/completions',
                          json=dict(messages=[dict(role='user', content='?')], max_tokens=1000, stream=True))
        with connect(url.replace('http', 'ws')+'/api/v1/stream') as ws:
            with pytest.raises(websockets.exceptions.ConnectionClosed): converse(ws, prompt='?', max_new_tokens=1000)
        assert time.time()-start < 10
        until(lambda: not slow.running)

def test_silent_websocket_is_closed():
    with (serving(make_api(Slow(), deadline=.5)) as url,
          connect(url.replace('http', 'ws')+'/api/v1/stream', ping_interval=None) as ws):
        with pytest.raises(websockets.exceptions.ConnectionClosed) as e: ws.recv(timeout=20)
    assert e.value.rcvd.code == 1001

def test_body_that_never_ends(monkeypatch):
    "At the API and at the page: told, and hung up on."
    from sciencetutor.serve.limits import RequestLimits
    from sciencetutor.serve.core import make_app
    monkeypatch.setattr(RequestLimits.__init__, '__defaults__', (*RequestLimits.__init__.__defaults__[:-1], .5))
    page = RequestLimits(make_app(Slow()), deadline=None)
    for app, path in (make_api(Slow()), '/api/v1/generate'), (page, '/gradio_api/queue/join'):
        with serving(app) as url, socket.create_connection(('127.0.0.1', int(url.rsplit(':', 1)[1])), timeout=20) as s:
            head = 'Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n'
            s.sendall(f'POST {path} HTTP/1.1\r\n{head}{{"data":'.encode())
            said = b''
            while piece := s.recv(1000): said += piece
            assert said.startswith(b'HTTP/1.1 408') and b'did not arrive' in said, (path, said)

def test_cors_is_off_unless_asked():
    head, body = {'origin': 'https://school.example'}, dict(prompt='?', max_new_tokens=1)
    def ask(url, **h): return requests.post(f'{url}/api/v1/generate', json=body, headers=h).status_code
    with serving(make_api(Slow())) as url:
        assert ask(url, **head) == 403 and ask(url, origin='null') == 403 and ask(url, origin=url) == ask(url) == 200
        with pytest.raises(websockets.exceptions.InvalidStatus):
            connect(url.replace('http', 'ws')+'/api/v1/stream', origin='https://school.example')
    with serving(make_api(Slow(), cors=('https://school.example',))) as url: assert ask(url, **head) == 200
    with serving(make_api(Slow())) as url:
        assert 'access-control-allow-origin' not in requests.get(f'{url}/status', headers=head).headers
    with serving(make_api(Slow(), cors=('https://school.example',))) as url:
        assert (requests.get(f'{url}/status', headers=head).headers['access-control-allow-origin']
                == 'https://school.example')
        other = requests.get(f'{url}/status', headers={'origin': 'https://other.example'})
        assert 'access-control-allow-origin' not in other.headers

@pytest.mark.parametrize('path,body', [
    ('/api/v1/generate', dict(prompt='Why', max_new_tokens=1024, temperature=1, seed=1)),
    ('/v1/tutor/answer', dict(question='Why?', max_new_tokens=1024)),
    ('/v1/tutor/answer', dict(question='Which?', choices=['this', 'that'])),
    ('/v1/chat/completions', dict(messages=[dict(role='user', content='Why')], max_tokens=1024, stream=True, seed=1)),
    ('/v1/chat/completions', dict(messages=[dict(role='user', content='Why')], max_tokens=1024))])
def test_who_leaves_is_not_waited_for(path, body):
    slow = Slow()
    with serving(make_api(slow)) as url:
        data, (host, port) = json.dumps(body).encode(), url.removeprefix('http://').split(':')
        s = socket.create_connection((host, int(port)))
        s.sendall(f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n'.encode() + data)
        until(lambda: slow.running)
        s.close()
        until(lambda: not slow.running, 2)

def test_websocket_who_leaves():
    slow = Slow()
    with serving(make_api(slow)) as url:
        with connect(url.replace('http', 'ws')+'/api/v1/stream') as ws:
            ws.send(json.dumps(dict(prompt='?', max_new_tokens=1000)))
            ws.recv(timeout=20)
        until(lambda: not slow.running, 2)

def test_slow_reader_keeps_nobody_waiting(server, engine, url):
    host, port = url.removeprefix('http://').split(':')
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect((host, int(port)))
    data = json.dumps(dict(messages=[dict(role='user', content='Why')], bare=True, max_tokens=400, stream=True,
                           seed=1)).encode()
    s.sendall(b'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n' % len(data) + data)
    assert (requests.post(f'{url}/api/v1/generate', json=dict(prompt='Why', max_new_tokens=5), timeout=30).status_code
            == 200)
    until(lambda: not engine.running, 60)  # written to its end though nobody has read it
    s.close()

def test_many_connections():
    app = make_api(Slow())
    with serving(app, limit_concurrency=50) as url:
        host, port = url.removeprefix('http://').split(':')
        idle = [socket.create_connection((host, int(port))) for _ in range(120)]
        assert requests.get(f'{url}/healthz').status_code == 503
        for s in idle: s.close()
        until(lambda: requests.get(f'{url}/healthz').status_code == 200)

def test_no_answer_is_mixed_up(url, engine):
    "32 at once: nobody is lost, everybody gets what they would have got alone."
    want, got = {}, {}
    body = lambda i: dict(prompt=f'{i}. Why is ', bare=True, max_new_tokens=10+i % 7, seed=i, temperature=1)
    for i in range(32):
        want[i] = ''.join(engine.generate([dict(role='prompt', content=[dict(type='text', text=f'{i}. Why is ')])],
                                          max_new_tokens=10+i % 7, seed=i, temperature=1.))
    def child(i):
        got[i] = requests.post(f'{url}/api/v1/generate', json=body(i), timeout=60).json()['results'][0]['text']
    threads = [threading.Thread(target=child, args=(i,)) for i in range(32)]
    for t in threads: t.start()
    for t in threads: t.join(90)
    assert got == want

def test_errors_are_reported_without_text(capfd):
    class Broken(Slow):
        def generate(self, messages, *args, **kw): raise RuntimeError('I read ' + messages[0]['content'][0]['text'])
    with serving(make_api(Broken())) as url:
        r = requests.post(f'{url}/api/v1/generate', json=dict(prompt='my secret'))
        assert r.status_code == 500 and 'secret' not in r.text
        assert 'sciencetutor_errors_total{kind="RuntimeError"} 1.0' in requests.get(f'{url}/metrics').text
    err = capfd.readouterr().err
    assert 'RuntimeError at' in err and 'secret' not in err

def test_sigterm_lets_answers_finish():
    "What has begun is written to its end, the process ends with 0, and nothing that anybody wrote is in the log."
    command = [sys.executable, '-m', 'sciencetutor.cli', 'serve', '--model', 'tiny', '--port', '0', '--one-port']
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        url = re.search(r'http://127\.0\.0\.1:\d+', p.stdout.readline())[0]
        for prompt in 'marmalade', 'marmalade <img src="data:image/png;base64,marmalade">', ['marmalade']:
            requests.post(f'{url}/api/v1/generate', json=dict(prompt=prompt, max_new_tokens=3))
        requests.get(f'{url}/marmalade?marmalade=1')
        c = openai.OpenAI(base_url=f'{url}/v1', api_key='x', max_retries=0)
        stream = iter(c.chat.completions.create(model='tiny:bare', messages=[dict(role='user', content='marmalade')],
                                                max_tokens=400, temperature=0, stream=True,
                                                stream_options=dict(include_usage=True)))
        next(stream)
        p.send_signal(signal.SIGTERM)
        chunks = list(stream)
        out, err = p.communicate(timeout=60)
    finally: p.kill()
    assert chunks[-1].usage.completion_tokens == 400 and p.returncode == 0 and 'stopped' in out
    assert 'marmalade' not in out+err and not err

# in front of another server

def test_remote_says_what_the_server_says(url, engine):
    r, kw = RemoteEngine(url, 'tiny:bare'), dict(max_new_tokens=20, temperature=1., seed=3, repetition_penalty=1.)
    messages = [dict(role='user', content=[dict(type='image'), dict(type='text', text='What?')])]
    images, usage = [Image.new('RGB', (40, 30), 'red')], {}
    assert ''.join(r.generate(messages, images, usage=usage, **kw)) == ''.join(engine.generate(messages, images, **kw))
    assert usage['completion_tokens'] == 20 and usage['finish_reason'] == 'length' and not r._running
    assert len(r.score(messages, ['a', 'b', 'c'], images)) == 3
    with pytest.raises(Exception, match='400'):
        list(r.generate([dict(role='user', content=[dict(type='text', text='why '*3000)])]))

def test_remote_cancel():
    slow = Slow()
    with serving(make_api(slow)) as url:
        r, got = RemoteEngine(url, 'slow'), []
        for piece in r.generate([dict(role='user', content='?')], request='ada', max_new_tokens=1000):
            got.append(piece)
            if len(got) == 3: r.cancel('ada')
        assert len(got) < 20
        until(lambda: not slow.running, 5)

def test_remote_score_is_cancelled():
    "Nobody is kept waiting by an endpoint that still thinks about the choices."
    slow = Slow()
    slow.pause = 5
    with serving(make_api(slow)) as url:
        r, got = RemoteEngine(url, 'slow'), []
        def score(): got.append(r.score([dict(role='user', content='?')], ['a', 'b'], request='ada'))
        t = threading.Thread(target=score)
        t.start()
        until(lambda: slow.running)
        r.cancel('ada')
        t.join(3)
        assert got == [[]] and not r._running
        slow.cancel()

def test_a_server_in_front_of_a_server(url):
    with serving(make_api(RemoteEngine(url, 'tiny:bare'))) as front:
        body = dict(messages=[dict(role='user', content='Why?')], bare=True, max_tokens=15, seed=2, temperature=1)
        text = lambda u: requests.post(f'{u}/v1/chat/completions', json=body).json()['choices'][0]['message']['content']
        assert text(front) == text(url)
