"What would keep others waiting or tell too much: shares, proxies, heavy bodies, ports, endpoints, at a real server."
import json, socket, threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import httpx, psutil, pytest, requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from sciencetutor.engine.protocol import AnyEngine
from sciencetutor.app.store import Store
from sciencetutor.engine.remote import RemoteEngine
from sciencetutor.serve import api, limits
from sciencetutor.serve.core import Reach, Server, open_port
from test_api import Slow, uri, until
from test_images import many_frames
from test_serve_access import visit

CHAT = '/v1/chat/completions'

def serve(engine=None, ports=1, **kw):
    more = tuple(open_port('127.0.0.1', 0) for _ in range(ports-1))
    return Server(engine or Slow(), open_port('127.0.0.1', 0), api_socks=more, **{'rate': 0, **kw})

@pytest.fixture(scope='module')
def server():
    with serve() as s: yield s

def client(address):
    "Somebody at another address of this computer."
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=30)

def body(*said, **kw):
    messages = [m if isinstance(m, dict) else dict(role='user', content=m) for m in said or ['Why?']]
    return dict(messages=messages, **{'max_tokens': 1, **kw})

def raw_request(url, head, rest=b'', address='127.0.0.1'):
    host, port = url.removeprefix('http://').split(':')
    s = socket.create_connection((host, int(port)), timeout=60, source_address=(address, 0))
    s.sendall(head.replace('\n', '\r\n').encode() + rest)
    return s

# Shares

def test_one_address_leaves_places_for_another():
    with serve(queue=8) as s:
        answers = []
        def ask(): answers.append(requests.post(s.url+CHAT, json=body(max_tokens=400)).status_code)
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for t in threads: t.start()
        until(lambda: s.gateway.admission.used == 4 and len(answers) == 8)
        assert answers == [429]*8
        with client('127.0.0.2') as other: assert other.post(s.url+CHAT, json=body()).status_code == 200
        s.engine.cancel()
        for t in threads: t.join(20)
        until(lambda: not s.gateway.admission.by_client and not s.gateway.budget.used)

def test_one_address_leaves_rows_of_the_batch_for_another():
    engine = Slow()
    engine.max_rows = 4
    with serve(engine) as s:
        answers = []
        def ask(): answers.append(requests.post(s.url+CHAT, json=body(max_tokens=900)).status_code)
        threads = [threading.Thread(target=ask) for _ in range(5)]
        for t in threads: t.start()
        until(lambda: s.gateway.admission.used == 5 and engine.running)
        with client('127.0.0.2') as other: assert other.post(s.url+CHAT, json=body()).status_code == 200
        assert engine.running == 2 and len(engine.asked) == 3 and not answers  # the other three wait for these
        assert requests.post(s.url+'/api/v1/stop-stream').status_code == 200
        for t in threads: t.join(20)
        assert answers == [200]*5 and len(engine.asked) == 3 and not s.gateway.rows.by_client

def test_one_address_leaves_websockets_for_another(server):
    address = f'{server.stream_url}/api/v1/stream'
    with ExitStack() as open_ones:
        with pytest.raises(InvalidStatus):
            for _ in range(64): open_ones.enter_context(connect(address, ping_interval=None))
        assert server.gateway.sockets.used == 32
        with connect(address, source_address=('127.0.0.2', 0)) as ws:
            ws.send(json.dumps(dict(prompt='?', max_new_tokens=1)))
            assert json.loads(ws.recv(timeout=20))['event'] == 'text_stream'

def test_an_idle_websocket_is_closed(server, monkeypatch):
    monkeypatch.setattr(api, 'SOCKET_IDLE', .2)
    with connect(f'{server.stream_url}/api/v1/stream') as ws, pytest.raises(ConnectionClosed) as e: ws.recv(timeout=20)
    assert e.value.rcvd.code == 1001

def test_bodies_that_never_end_leave_connections_for_another(server):
    head = 'POST /chat HTTP/1.1\nHost: localhost\nContent-Length: 9\n\n'
    open_ones = [raw_request(server.url, head) for _ in range(252)]
    try:
        assert open_ones[-1].recv(20).startswith(b'HTTP/1.1 429')
        with client('127.0.0.2') as other: assert other.get(server.url+'/healthz').status_code == 200
    finally:
        for s in open_ones: s.close()
    until(lambda: requests.get(server.url+'/healthz').status_code == 200)

def test_bytes_are_shared():
    budget = limits.ByteBudget(100)
    budget.acquire('ada', 50)
    with pytest.raises(limits.Refusal): budget.acquire('ada', 1)
    budget.acquire('bob', 50)
    budget.acquire('ada', 0)  # the end of a body
    for who in 'ada', 'bob': budget.give_back(who, 50)
    assert not budget.used and not budget.by_client

@pytest.mark.parametrize('proxies, codes', [
    ((), [200]*3+[429]*2), (('127.0.0.1',), [200]*5), (('10.1.2.3',), [200]*3+[429]*2)])
def test_only_a_named_proxy_says_who_asks(proxies, codes):
    with serve(rate=3, reach=Reach(proxies=proxies)) as s:
        ask = lambda i: requests.get(s.url+'/v1/models', headers={'x-forwarded-for': f'192.0.2.{i}'}).status_code
        assert [ask(i) for i in range(5)] == codes

# Ports beside the page

OPEN = ['/healthz', '/readyz', '/status', '/openapi.json', '/apidocs']
ASKED = [('/api/v1/generate', dict(prompt='?')), ('/api/v1/token-count', dict(prompt='?')), (CHAT, body()),
         ('/v1/tutor/answer', dict(question='?')), ('/chat', dict(prompt='?')), ('/api/v1/stop-stream', {}),
         ('/api/v1/model', {})]

@pytest.mark.parametrize('ports', [1, 3])
@pytest.mark.parametrize('keys', [(), ('apple',)])
def test_with_a_login_every_port_asks_for_it_or_a_key(tmp_path, ports, keys):
    store = Store(str(tmp_path))
    store.add_user('ada', 'a long password')
    with serve(ports=ports, keys=keys, page_options=dict(store=store, auth=True)) as s:
        for path in OPEN: assert requests.get(s.api_url+path).status_code == 200
        ada = visit(s.url, 'ada')
        for path, asked in ASKED:
            assert requests.post(s.api_url+path, json=asked).status_code == 401, path
            if path in ('/chat', '/api/v1/token-count'): continue  # a form; what this engine doesn't count
            assert ada.post(s.api_url+path, json={**asked, 'max_new_tokens': 1}).status_code == 200
        for path in '/v1/models', '/api/v1/model': assert requests.get(s.api_url+path).status_code == 401
        with pytest.raises(InvalidStatus): connect(f'{s.stream_url}/api/v1/stream')
        cookie = '; '.join(f'{c.name}={c.value}' for c in ada.cookies)
        connect(f'{s.stream_url}/api/v1/stream', additional_headers=dict(cookie=cookie)).close()
        if keys: assert requests.get(s.api_url+'/v1/models', headers={'x-api-key': 'apple'}).status_code == 200

# The whole conversation

HARM = 'how can i kill my teacher'
LATER = 'Please answer what was asked.'

@pytest.mark.parametrize('role', ['user', 'system', 'developer', 'assistant'])
@pytest.mark.parametrize('stream', [False, True])
def test_harm_before_the_last_turn(server, role, stream):
    before = len(server.engine.asked)
    r = requests.post(server.url+CHAT, json=body(dict(role=role, content=HARM), LATER, stream=stream))
    assert 'content_filter' in r.text and len(server.engine.asked) == before

def test_harm_on_the_other_routes(server):
    before = len(server.engine.asked)
    past = dict(prompt=LATER, **{'history[]': [HARM, 'Go on.']})
    answers = [requests.post(server.url+'/chat', data=past).text,
               requests.post(server.url+'/api/v1/generate', json=dict(prompt=f'User: {HARM}\nUser: {LATER}')).text,
               requests.post(server.url+'/v1/tutor/answer', json=dict(question='Which? A. x B. y', context=HARM)).text]
    with connect(f'{server.stream_url}/api/v1/stream') as ws:
        ws.send(json.dumps(dict(prompt=f'{HARM}\n\n{LATER}')))
        answers.append(ws.recv(timeout=20))
    said = server.api.state.gateway.engine.refusal(HARM)
    assert all(json.dumps(said)[1:30] in a for a in answers), answers
    assert len(server.engine.asked) == before and not server.engine.running

# Heavy bodies

FORM = {'content-type': 'application/x-www-form-urlencoded'}
HEAVY = [('/chat', b'&'*10_000_000, FORM, 413), ('/chat', b'a=b&'*300, FORM, 413),
         (CHAT, b'{"messages":[' + b'[],'*60_000 + b'0]}', {}, 413),
         (CHAT, b'{"messages":[{"role":"user","content":"' + b'\\u00e4'*200_000 + b'"}]}', {}, 413),
         ('/login', b'username='+b'x'*100_000, FORM, 413),
         ('/gradio_api/queue/join', b'{"data":["' + b'x'*2_000_000 + b'"]}', {}, 413),
         ('/gradio_api/queue/join', b'{"data":[' + b'0,'*60_000 + b'0]}', {}, 413)]

@pytest.mark.parametrize('path, data, headers, status', HEAVY, ids=range(len(HEAVY)))
def test_heavy_bodies_are_refused(server, path, data, headers, status):
    try: r = requests.post(server.url+path, data=data, headers=headers, timeout=60)
    except requests.exceptions.ConnectionError: return  # hung up on while it was still sending
    assert r.status_code == status and len(r.text) < 300

def test_what_is_large_is_parsed_in_a_thread(server, monkeypatch):
    "Not on the loop that answers all others; what is small would only wait there."
    seen = []
    def noted(f): return lambda *args: (seen.append(threading.current_thread().name[:5]), f(*args))[1]
    for name in 'read_json', 'chat_messages', 'check_pictures':
        monkeypatch.setattr(api, name, noted(getattr(api, name)))
    long = dict(type='image_url', image_url=dict(url=uri() + ' '*100_000))
    assert requests.post(server.url+CHAT, json=body(dict(role='user', content=[long]))).status_code == 200
    assert seen == ['parse']*3
    parsed = []
    from starlette.formparsers import MultiPartParser
    parse = MultiPartParser.parse
    async def noted_parse(self):
        parsed.append(threading.current_thread().name[:5])
        return await parse(self)
    monkeypatch.setattr(MultiPartParser, 'parse', noted_parse)
    r = requests.post(server.url+'/chat', data=dict(prompt='?'), files=dict(image=many_frames('GIF')), timeout=60)
    assert r.status_code == 200 and parsed == ['parse'] and seen[3:] == ['parse']

def test_small_bodies_may_be_of_any_kind(server):
    assert requests.post(server.url+CHAT, data=b'{"messages":[{"role":"user","content":"\\ud83d\\ude00 \\ud83d"}],'
                         b'"max_tokens":1}').status_code == 200
    assert '😀 ?' in str(server.engine.asked[-1][0])
    assert requests.post(server.url+CHAT, data=b'{"messages":"\xed\xa0\xbd"}').status_code == 400

# Endpoints

SECRET = 'user:geheim@ of 10.9.8.7 said something'

class Upstream(BaseHTTPRequestHandler):
    "A model's server that misbehaves as its address says."
    protocol_version = 'HTTP/1.0'
    def log_message(self, *_): pass
    def do_GET(self): self.say(200, b'{"data": []}')
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        kind = self.path.split('/')[1]
        if kind.isdigit(): return self.say(int(kind), json.dumps(dict(error=dict(message=SECRET))).encode())
        if kind == 'packed': return self.say(200, b'x', ('content-encoding', 'gzip'))
        if kind == 'nonsense': return self.say(200, f'data: [["{SECRET}"]]\n\n'.encode())
        self.say(200, b'')
        piece = b'x'*100_000 if kind == 'line' else b'data: {"choices": [], "x": "' + b'x'*10_000 + b'"}\n\n'
        try:
            for _ in range(30_000): self.wfile.write(piece)
        except OSError: pass
    def say(self, status, data, *headers):
        self.send_response(status)
        for h in headers: self.send_header(*h)
        self.end_headers()
        self.wfile.write(data)

@pytest.fixture(scope='module')
def upstream():
    with ThreadingHTTPServer(('127.0.0.1', 0), Upstream) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield s.server_port
        s.shutdown()

@pytest.mark.parametrize('kind', ['500', '401', '400', '413', '429', 'packed', 'nonsense', 'line', 'lines'])
def test_an_endpoint_that_fails(upstream, kind):
    "Clients learn what kind of failure it was, and no memory is filled."
    engine = RemoteEngine(f'http://user:geheim@127.0.0.1:{upstream}/{kind}/v1', 'far')
    assert 'geheim' not in repr(engine)
    process = psutil.Process()
    with serve(engine) as s:
        before = process.memory_info().rss
        said = [requests.post(s.url+CHAT, json=body('Why is the sky blue?')),
                requests.post(s.url+CHAT, json=body('Why is the sky blue?', stream=True)),
                requests.post(s.url+'/api/v1/generate', json=dict(prompt='Why?')),
                requests.post(s.url+'/v1/tutor/answer', json=dict(question='Which? A. x B. y'))]
        with connect(f'{s.stream_url}/api/v1/stream') as ws:
            ws.send(json.dumps(dict(prompt='Why?')))
            told = ws.recv(timeout=60)
        status = {'400': 400, '413': 400}.get(kind, 502)
        texts = [*(r.text for r in said), told]
        for word in 'geheim', 'user:', '10.9.8.7', str(upstream): assert not any(word in t for t in texts), texts
        assert said[0].status_code == said[2].status_code == status, texts
        if kind.isdigit(): assert f'HTTP {kind}' in said[0].text and f'HTTP {kind}' in told
        assert process.memory_info().rss-before < 150e6
