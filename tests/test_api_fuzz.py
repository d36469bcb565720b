"Requests that nobody should send: no 5xx, no hang, and the server is well afterwards."
import base64, io, json, random, time
import pytest, requests, schemathesis
from concurrent.futures import ThreadPoolExecutor
from hypothesis import HealthCheck, given, settings
from PIL import Image
from websockets.sync.client import connect
from sciencetutor.serve import api
from sciencetutor.engine.core import Engine
from sciencetutor.serve.core import Server, open_port

@pytest.fixture(scope='module')
def server():
    "A server whose answers are short, that much can be asked."
    before, api.MAX_NEW_TOKENS = api.MAX_NEW_TOKENS, 6
    with Server(Engine('tiny'), open_port('127.0.0.1', 0), rate=0) as s: yield s
    api.MAX_NEW_TOKENS = before

@pytest.fixture(scope='module')
def schema(server): return schemathesis.openapi.from_url(f'{server.url}/openapi.json')

def picture():
    f = io.BytesIO()
    Image.new('RGB', (40, 30), 'red').save(f, 'PNG')
    return f.getvalue()

URI = 'data:image/png;base64,' + base64.b64encode(picture()).decode()
GENERATE = dict(prompt=f'Why <img src="{URI}"> is', max_new_tokens=4, do_sample=True, temperature=.7, top_p=.9,
                top_k=40, repetition_penalty=1.1, seed=3, stopping_strings=['x'], truncation_length=2048)
CONTENT = [dict(type='image_url', image_url=dict(url=URI)), dict(type='text', text='Why?')]
CHAT = dict(model='tiny', messages=[dict(role='system', content='Be kind.'), dict(role='user', content=CONTENT)],
            max_tokens=4, temperature=1., top_p=.9, stop=['x'], seed=3, stream=True,
            stream_options=dict(include_usage=True), n=1)
ANSWER = dict(question='Which is red?', choices=['this', 'that'], picture=URI, context='Look.', max_new_tokens=4)
ODD = [None, True, 0, -1, 1e308, -1e308, 2**63, 2**70, 10**400, '', ' ', 'x', '1', '-3', '1e9', 'nan', '\x00', '\ud800',
       '<image>', '<|im_end|>', '☀'*99, [], [[]], {}, dict(a=1), [None], 'http://127.0.0.1:1/x.png',
       'data:image/png;base64,', URI[:90], 'data:image/svg+xml;base64,AAAA', '/etc/passwd', '<img src="">', 'A. B. C.',
       ['x']*99]

def mutated(value, rng):
    "The same with one thing wrong in it, somewhere."
    if isinstance(value, dict) and value and rng.random() < .9:
        key = rng.choice(list(value))
        if rng.random() < .15: return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < .7:
        i = rng.randrange(len(value))
        return value[:i] + [mutated(value[i], rng)] + value[i+1:]
    return rng.choice(ODD)

def broken(raw, rng):
    "Bytes with some of them wrong, or missing."
    raw = bytearray(raw)
    for _ in range(rng.choice([0, 0, 1, 3, 20])): raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw[:rng.randrange(len(raw))] if rng.random() < .2 else raw)

def json_request(url, rng):
    path, body = rng.choice([('/api/v1/generate', GENERATE), ('/api/v1/token-count', GENERATE),
                             ('/api/v1/model', dict(action='info')), ('/v1/chat/completions', CHAT),
                             ('/v1/tutor/answer', ANSWER)])
    raw = broken(json.dumps(mutated(body, rng)).encode(), rng)
    kind = rng.choice(['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'x'])
    return requests.post(url+path, data=raw, headers={'content-type': kind}, timeout=60).status_code

def form_request(url, rng):
    fields = [(rng.choice(['prompt', 'prompt', 'temperature', 'history[]', 'image', 'x', '']),
               str(rng.choice(ODD)).encode('utf-8', 'replace').decode()) for _ in range(rng.randrange(6))]
    files = [(rng.choice(['image', 'image', 'prompt', 'x']),
              (rng.choice(['a.png', '', '../a', 'a\x00']), broken(picture(), rng))) for _ in range(rng.randrange(3))]
    r = requests.Request('POST', f'{url}/chat', data=fields, files=files or None).prepare()
    r.body = broken(r.body if isinstance(r.body, bytes) else (r.body or 'x').encode(), rng)
    r.headers['content-length'] = str(len(r.body))
    if rng.random() < .3:
        r.headers['content-type'] = rng.choice(['multipart/form-data', 'multipart/form-data; boundary=',
                                                'multipart/form-data; boundary=x; charset=none', 'text/plain',
                                                'application/json'])
    with requests.Session() as s: return s.send(r, timeout=60).status_code

def socket_request(url, rng):
    with connect(url.replace('http', 'ws')+'/api/v1/stream', ping_interval=None) as ws:
        for _ in range(3):
            raw = broken(json.dumps(mutated(GENERATE, rng)).encode(), rng)
            ws.send(raw if rng.random() < .2 else raw.decode('utf-8', 'replace'))
            while json.loads(ws.recv(timeout=60))['event'] != 'stream_end': pass
    return 200

def fuzz(url, count, seed=0):
    "Statuses of so many mutated requests, eight at a time."
    def one(i):
        rng = random.Random(seed*10**6+i)
        try: return rng.choice([json_request, form_request, socket_request])(url, rng)
        except requests.exceptions.ConnectionError: return 0  # a header that is none
    with ThreadPoolExecutor(8) as pool: return list(pool.map(one, range(count)))

def well(server, url):
    r = requests.get(f'{url}/metrics').text
    assert 'sciencetutor_errors_total{' not in r, [l for l in r.splitlines() if 'errors_total' in l]
    end = time.time()+20
    while server.busy() and time.time() < end: time.sleep(.05)
    assert not server.busy() and not server.gateway.running
    assert requests.post(f'{url}/api/v1/generate', json=GENERATE).status_code == 200

def test_mutated_requests(server):
    codes = fuzz(server.url, 250)
    counts = {c: codes.count(c) for c in set(codes)}
    assert max(codes) < 500 and counts[200] > 20 and counts[400] > 20 and codes.count(0) < 25, counts
    well(server, server.url)

@pytest.mark.soak
def test_mutated_requests_in_full(server):
    codes = fuzz(server.url, 2000, seed=1)
    assert max(codes) < 500, {c: codes.count(c) for c in set(codes)}
    well(server, server.url)

def explore(schema, examples):
    "Requests that the schema allows, and some that it does not, to every route."
    for result in schema.get_all_operations():
        @given(case=result.ok().as_strategy())
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def run(case): case.call_and_validate(checks=[schemathesis.checks.not_a_server_error], timeout=60)
        run()

def test_schema(schema): explore(schema, 10)

@pytest.mark.soak
def test_schema_in_full(schema): explore(schema, 300)
