"The server, its command and its mistakes; the model is `tiny`."
import asyncio, base64, io, json, os, re, signal, socket, subprocess, sys, threading, time
import httpx, pytest, requests, websockets
from fastcore.script import CliError
from gradio_client import Client
from PIL import Image
from websockets.sync.client import connect
from sciencetutor.serve.core import Server, ask, close_idle, is_loopback, open_port, run_serve, trusted_hosts

ENV = {**os.environ, 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1'}

def cli(*args, **kw):
    return subprocess.run([sys.executable, '-m', 'sciencetutor.cli', *args], capture_output=True, text=True,
                          timeout=120, env=ENV, **kw)

def one_line(result, *words):
    assert result.returncode == 2 and not result.stdout, (result.stdout, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1 and all(w in result.stderr for w in words), result.stderr

@pytest.fixture(scope='module')
def server():
    from sciencetutor.engine.core import Engine
    with Server(Engine('tiny'), open_port('127.0.0.1', 0)) as s: yield s

@pytest.fixture(scope='module')
def client(server): return Client(server.url, verbose=False)

def data_uri(im=None, kind='PNG'):
    f = io.BytesIO()
    (im or Image.new('RGB', (40, 30), 'red')).save(f, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(f.getvalue()).decode()

def test_port_in_use():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        taken = str(s.getsockname()[1])
        one_line(cli('serve', '--model', 'tiny', '--port', taken), taken, '--port')
        with pytest.raises(CliError, match=f'{taken}.*--api-port'): run_serve('tiny', port=0, api_port=int(taken))
        with pytest.raises(CliError, match=f'{taken}.*--stream-port'):
            run_serve('tiny', port=0, api_port=0, stream_port=int(taken))

def test_unknown_model():
    one_line(cli('serve', '--model', 'no-such-model', '--port', '0', '--one-port'), 'no-such-model')

@pytest.mark.parametrize('host,port,flag',
                         [('192.0.2.1', 0, '--host'), ('no.such.host.invalid', 0, '--host'),
                          ('127.0.0.1', 70000, '--port'), ('127.0.0.1', -1, '--port')])
def test_bad_address(host, port, flag):
    with pytest.raises(CliError, match=flag): open_port(host, port)

@pytest.mark.parametrize('host', ['127.0.0.1', '127.8.8.8', '::1', 'localhost'])
def test_loopback(host): assert is_loopback(host)

def test_warns_before_letting_others_in(capsys):
    kw = dict(port=0, api_port=0, stream_port=0, allowed_hosts=['tutor.example'])
    with pytest.raises(CliError): run_serve('no-such-model', host='0.0.0.0', **kw)
    assert 'Warning' in capsys.readouterr().err
    for more in dict(), dict(host='0.0.0.0', api_key=['k']):
        with pytest.raises(CliError): run_serve('no-such-model', **kw, **more)
        assert 'Warning' not in capsys.readouterr().err

def test_the_page_is_up_before_the_model():
    "Cards answer at once, /readyz says what the model does, and a question that needs it waits."
    from concurrent.futures import ThreadPoolExecutor
    from sciencetutor.engine.core import Engine
    from sciencetutor.engine.lazy import LazyEngine
    go = threading.Event()
    engine = LazyEngine(lambda: go.wait(60) and Engine('tiny'), 'tiny')
    with Server(engine, open_port('127.0.0.1', 0)) as s, ThreadPoolExecutor(1) as pool:
        def state():
            r = httpx.get(s.url+'/readyz')
            return r.status_code, r.json()['status']
        ask = lambda **question: httpx.post(s.url+'/v1/tutor/answer', json=question, timeout=60).json()
        assert state() == (503, 'asleep')
        engine.start()
        assert 'scatters blue light' in ask(question='Why is the sky blue?')['explanation']
        assert state() == (503, 'waking') and httpx.get(s.url+'/healthz').status_code == 200
        choices = pool.submit(ask, question='Which is a mammal?', choices=['trout', 'bat'])
        time.sleep(.3)
        assert not choices.done()
        go.set()
        assert choices.result()['choice'] in ('trout', 'bat') and state() == (200, 'ready')

def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path):
    (tmp_path/'config.json').write_text('{"model_type": "no-such-type"}')
    r = cli('serve', '--model', str(tmp_path), '--port', '0', '--one-port', '--store', str(tmp_path/'s'))
    assert r.returncode == 2 and ' is at http' in r.stdout
    assert re.match('sciencetutor serve: model .* no processor', r.stderr.splitlines()[-1])

def test_without_safety_rules_only_here():
    with pytest.raises(CliError, match='--unguarded.*--host'):
        run_serve('no-such-model', host='0.0.0.0', unguarded=True)

def test_endpoint_that_is_not_there():
    with pytest.raises(CliError, match='nothing answers'):
        run_serve('any', port=0, one_port=True, endpoint='http://127.0.0.1:9')

def test_serve_starts_answers_and_ends_on_sigterm():
    flags = ['--model', 'tiny', '--port', '0', '--api-port', '0', '--stream-port', '0']
    p = subprocess.Popen([sys.executable, '-m', 'sciencetutor.cli', 'serve', *flags], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        line = p.stdout.readline()
        said = re.search(r'(http://[\d.:]+), its APIs at (http://[\d.:]+)/apidocs and (ws://[\d.:]+)', line)
        url, api_url, stream_url = said.groups()
        assert 'ScienceTutor' in httpx.get(url).text and httpx.get(api_url+'/healthz').status_code == 200
        assert len({url, api_url, stream_url}) == 3
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=30)
    finally: p.kill()
    assert p.returncode == 0 and 'stopped' in out and not err.strip(), err

def test_headers_forbid_other_hosts(server):
    for path in '/', '/config', '/theme.css':
        assert "default-src '" in httpx.get(server.url+path).headers['content-security-policy']

@pytest.mark.parametrize('host',
                         ['evil.example', 'evil.example:7860', 'localhost.evil.example', '0.0.0.0', '192.168.1.2',
                          '[::2]:80', '[', ''])
def test_other_names_are_refused(server, host):
    "A page elsewhere whose name has been pointed at this computer gets nothing, here or on a websocket."
    for path in '/', '/config', '/healthz', '/status':
        assert requests.get(server.url+path, headers=dict(host=host)).status_code in (421, 400)
    assert requests.post(server.url+'/api/v1/generate', json=dict(prompt='?'),
                         headers=dict(host=host)).status_code in (421, 400)
    if host and host != '[':
        with pytest.raises(websockets.exceptions.InvalidStatus):
            connect(server.stream_url+'/api/v1/stream', additional_headers=dict(host=host))

@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST:7860', '127.0.0.1:1', '[::1]:7860'])
def test_own_names_are_not(server, host):
    assert requests.get(server.url+'/healthz', headers=dict(host=host)).status_code == 200

def test_names_of_a_proxy():
    own = ['127.0.0.1', '[::1]', 'localhost']
    assert trusted_hosts(['127.0.0.1'], ('https://school.example:8443',)) == [*own, 'school.example']
    assert trusted_hosts(['127.0.0.1'], ('*',)) == ['*'] and trusted_hosts(['127.0.0.1', '::1']) == own

def test_address_of_its_own(): assert '127.1.2.3' in trusted_hosts(['127.1.2.3'])

def test_page_is_bounded(server):
    upload = lambda n: requests.post(f'{server.url}/gradio_api/upload', files=dict(files=('a.png', bytes(n))))
    assert upload(3_000_000).status_code == 200
    pieces = (bytes(1_000_000) for _ in range(40))  # of a size that is not told
    join = lambda data: requests.post(f'{server.url}/gradio_api/queue/join', data=data)
    large, event = '16,777,216 bytes', '1,048,576 bytes'
    asked = (lambda: upload(40_000_000), large), (lambda: join(bytes(40_000_000)), event), (lambda: join(pieces), event)
    for send, most in asked:
        try:
            r = send()
            assert r.status_code == 413 and most in r.json()['error']['message']
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
            pass  # it was told and hung up on while it was still sending
    host, port = server.url.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b'POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n')
        assert s.recv(20).startswith(b'HTTP/1.1 413')
    assert not server.api.state.gateway.budget.used

def test_page_is_counted(server):
    with Server(server.engine, open_port('127.0.0.1', 0), rate=3) as s:
        ask = lambda: requests.post(f'{s.url}/gradio_api/call/ask', json=dict(data=['Why?', None, None])).status_code
        assert ask() == 200
        s.api.state.gateway.limiter.buckets['127.0.0.1'] = 0., time.monotonic()  # all of them spent, just now
        assert ask() == 429
        answers = [0]
        while answers[-1] != 429 and len(answers) < 300:
            answers.append((r := requests.post(f'{s.url}/gradio_api/queue/join', json={})).status_code)
        assert answers[-1] == 429 and len(answers) >= 30 and int(r.headers['retry-after']) >= 1
        assert requests.get(s.url).status_code == 200

def test_page_fetches_nothing(server, monkeypatch):
    "A picture that is named by an address in what the browser sends."
    from gradio import processing_utils
    fetched = []
    async def fetch(*args): fetched.append(args)
    monkeypatch.setattr(processing_utils, 'async_ssrf_protected_get', fetch)
    config = requests.get(f'{server.url}/config').json()
    box = next(c['id'] for c in config['components'] if c['props'].get('elem_id') == 'box')
    send = next(d for d in config['dependencies'] if [box, 'submit'] in [list(t) for t in d['targets']])
    picture = dict(path='http://93.184.216.34/x.png', meta={'_type': 'gradio.FileData'})
    body = dict(data=[dict(text='What?', files=[picture]), None, None, 'explain'], fn_index=send['id'],
                session_hash='abcdefg')
    r = requests.post(f'{server.url}/gradio_api/queue/join', json=body)
    assert r.status_code == 403 and 'addresses are not opened' in r.text and not fetched
    download = processing_utils.async_ssrf_protected_download('http://93.184.216.34/x.png', 'x')
    with pytest.raises(Exception, match='not fetched'): asyncio.run(download)

class Connection:
    "What uvicorn has of a connection, as far as `close_idle` looks at it."
    client = '192.0.2.1', 5
    def __init__(self, **kw): self.closed, self.transport = 0, self; self.__dict__.update(kw)
    def close(self): self.closed += 1

def test_silent_connections_are_closed():
    from weakref import WeakKeyDictionary
    done = lambda: type('Cycle', (), dict(response_complete=True))()
    half = type('Cycle', (), dict(response_complete=False))()
    silent, socket_ = Connection(cycle=None), Connection()
    busy, regular = Connection(cycle=half), Connection(cycle=done())
    seen, before = WeakKeyDictionary(), []
    for now in range(0, 60, 5):
        before.append(regular.cycle)  # kept, so that the next one has another id
        regular.cycle = done()  # another request every five seconds
        close_idle({silent, socket_, busy, regular}, seen, now)
        assert bool(silent.closed) == (now > 20)
    assert not (socket_.closed or busy.closed or regular.closed)

def test_page_names_no_font_service(server):
    page = httpx.get(server.url).text + httpx.get(server.url+'/theme.css').text
    assert 'googleapis' not in page and 'gstatic' not in page and 'cdnjs' not in page

def test_ask_streams(client):
    steps = list(client.submit("Which is a solid? A. milk B. a rock", api_name='/ask'))
    assert len(steps) > 2 and steps[-1]['choices'] == ['milk', 'a rock'] and steps[-1]['choice'] in steps[-1]['choices']
    assert abs(sum(steps[-1]['probabilities'])-1) < 1e-3 and not steps[-1]['note']

def test_ask_with_choices_and_picture(client):
    got = client.predict("What colour is it?", ["red", "blue", "green"], data_uri(), api_name='/ask')
    assert got['choices'] == ['red', 'blue', 'green'] and not got['note']

@pytest.mark.parametrize('picture',
                         ['/etc/passwd', 'http://127.0.0.1:1/x.png', 'file:///etc/passwd', 'data:image/png;base64,!!',
                          'data:image/png;base64,aGVsbG8=', 'data:text/html;base64,aGVsbG8='])
def test_picture_must_be_a_picture(client, picture):
    got = client.predict("What is it?", None, picture, api_name='/ask')
    assert 'picture' in got['note'] and not got['text']

def test_long_question_is_refused_kindly(client):
    assert 'shorter' in client.predict("why "*3000, api_name='/ask')['note']

def test_many_clients_at_once(server):
    got = []
    def child(i):
        got.append(Client(server.url, verbose=False).predict(f"Is {i} a number? A. yes B. no", api_name='/ask'))
    threads = [threading.Thread(target=child, args=(i,)) for i in range(8)]
    for t in threads: t.start()
    for t in threads: t.join(120)
    assert len(got) == 8 and all(g['choice'] and not g['note'] for g in got)

def test_page_events_are_not_an_api(client):
    from sciencetutor.app.endpoints import AT_ONCE, STREAMED
    named = set(client.view_api(return_format='dict')['named_endpoints'])
    assert named == {'/ask', *(f'/{name}' for name in (*STREAMED, *AT_ONCE))}

def test_ask_in_the_terminal(tmp_path):
    Image.new('RGB', (40, 30), 'red').save(tmp_path/'red.png')
    r = cli('ask', 'What colour is it?', '--image', str(tmp_path/'red.png'), '--choices', 'red', 'blue', '--model',
            'tiny')
    assert r.returncode == 0, r.stderr
    assert re.search(r'\d+%  A\. red', r.stdout) and re.search(r'\d+%  B\. blue', r.stdout)
    assert not r.stderr.strip()

def test_ask_mistakes(tmp_path):
    (tmp_path/'words.png').write_text('not a picture')
    one_line(cli('ask', 'What is it?', '--image', str(tmp_path/'words.png'), '--model', 'tiny'), 'words.png')
    with pytest.raises(CliError, match='none.png'): ask('What?', image=str(tmp_path/'none.png'), model='tiny')
    with pytest.raises(CliError, match='empty'): ask(' ', model='tiny')
    with pytest.raises(CliError, match='--choices'): ask('What?', choices=['one'], model='tiny')
    with pytest.raises(CliError, match='no-such'): ask('What?', model='no-such')

def test_visits_are_forgotten(monkeypatch):
    "No more of them are remembered than can be connected."
    from sciencetutor.serve import limits
    from sciencetutor.engine.core import Engine
    from sciencetutor.serve.core import make_app
    monkeypatch.setattr(limits, 'MAX_CONNECTIONS', 5)
    holder = make_app(Engine('tiny')).state.gradio.state_holder
    for i in range(7): holder[f'visit-{i}']
    assert len(holder.session_data) == 5 and 'visit-1' not in holder and 'visit-2' in holder
