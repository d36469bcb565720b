"""A scanner's view of all three ports, with and without login and key.

What it finds is mended, or SECURITY.md says why not.
`make scan` runs this file with its long half: requests that schemathesis makes of each port's OpenAPI."""
import http.client, io, json, re, socket
from urllib.parse import urlsplit
import pytest, requests, schemathesis
from hypothesis import HealthCheck, given, settings
from sciencetutor.app.store import Store
from sciencetutor.serve.core import SECURITY_HEADERS, Reach, Server, open_port
from test_page import Script

KEY, PASSWORD = 'a-key-of-this-test', 'a long password'
OPEN = {'/healthz', '/readyz', '/metrics', '/status', '/apidocs', '/apidocs/swagger-ui.css', '/openapi.json'}
EVIL = 'https://evil.example'
LEAKS = re.compile(r'Traceback|File "|site-packages|/(work|home|root|usr|tmp|etc|opt|proc)/|sciencetutor/\w+\.py'
                   r'|0x[0-9a-f]{8}')

class Buggy(Script):
    "Fails at what it is told to fail at."
    def count(self, messages, images=()): return len(str(messages))
    def generate(self, messages, images=(), **kw):
        if 'explode' in str(messages): raise RuntimeError(f'/home/ada/{messages}')
        return super().generate(messages, images, **kw)

class Target:
    "A server and what a scanner knows of it."
    def __init__(self, server: Server, guarded: bool):
        self.server, self.guarded = server, guarded
        self.page, self.api = server.url, server.api_url
        self.stream = server.stream_url.replace('ws', 'http', 1)
        self.ports = self.page, self.api, self.stream
        self.key = {'authorization': f'Bearer {KEY}'} if guarded else {}
    def visitor(self) -> requests.Session:
        "A browser that has opened the page, and logged in where one must."
        v = requests.Session()
        v.get(self.page, timeout=20)
        if self.guarded:
            login = v.post(f'{self.page}/login', data=dict(username='ada', password=PASSWORD), timeout=20)
            assert login.status_code == 200
        return v

@pytest.fixture(scope='module', params=['open', 'guarded'])
def target(request, tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp('scan')/'store'))
    store.add_user('ada', PASSWORD)
    guarded = request.param == 'guarded'
    socks = [open_port('127.0.0.1', 0) for _ in range(3)]
    page = dict(store=store, auth=guarded)
    with Server(Buggy(), socks[0], api_socks=tuple(socks[1:]), page_options=page, rate=0,
                reach=Reach(proxies=('127.0.0.1',)), keys=(KEY,) if guarded else ()) as s: yield Target(s, guarded)

def raw(url: str, method: str, path: str, headers: dict | None = None, body: bytes = b'') -> tuple[int, dict, str]:
    "One request just as it is written: a library would tidy the path."
    where = urlsplit(url)
    c = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    try:
        c.putrequest(method, path, skip_host='Host' in (headers or {}), skip_accept_encoding=True)
        for k, v in (headers or {}).items(): c.putheader(k, v)
        if body: c.putheader('Content-Length', str(len(body)))
        c.endheaders(body or None)
        r = c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read(200_000).decode('utf-8', 'replace')
    finally: c.close()

def routes(target) -> list[tuple[str, str]]:
    "(method, path) of all that the APIs document."
    paths = requests.get(f'{target.api}/openapi.json', timeout=20).json()['paths']
    return [(m.upper(), p.replace('{name}', 'script')) for p, ms in paths.items() for m in ms]

def test_every_answer_has_its_headers(target):
    "Those that refuse, too."
    for url in target.ports:
        for method, path, headers in [
                ('GET', '/', {}), ('GET', '/nothing', {}), ('POST', '/chat', {}), ('PUT', '/chat', {}),
                ('GET', '/', {'Host': 'evil.example'}), ('POST', '/gradio_api/queue/join', {'Origin': EVIL}),
                ('POST', '/api/v1/generate', {'Content-Length': '99999999'}), ('GET', '/healthz', {}),
                ('GET', '/apidocs', {})]:
            _, got, _ = raw(url, method, path, headers)
            wanted = SECURITY_HEADERS
            if got['content-security-policy'].startswith("default-src 'none'; "):  # stricter: our own front end
                wanted = {k: v for k, v in wanted.items() if k != 'content-security-policy'}
                assert (method, path) == ('GET', '/') and 'unsafe' not in got['content-security-policy']
            assert {k: got.get(k) for k in wanted} == wanted, (url, method, path)
            assert 'server' not in got and 'x-powered-by' not in got, (path, got)

METHODS = 'TRACE', 'TRACK', 'CONNECT', 'PUT', 'DELETE', 'PATCH', 'PROPFIND', 'DEBUG', 'OPTIONS'

def test_methods(target):
    "What no route is made for is refused, and TRACE sends nothing back."
    for url in target.ports:
        for path in '/', '/chat', '/v1/chat/completions', '/healthz', '/gradio_api/upload', '/config':
            for method in METHODS:
                status, _, text = raw(url, method, path, {'X-Secret': 'marmalade'})
                assert 400 <= status < 500 and 'marmalade' not in text, (url, method, path, status)

FILES = 'etc/passwd', 'proc/self/environ'
STEPS = ('../'*8, '..%2f'*8, '%2e%2e/'*8, '%2e%2e%2f'*8, '..%252f'*8, '..\\'*8, '..%5c'*8, '....//'*8, '..;/'*8,
         '%c0%ae%c0%ae/'*8, '/', '//', '%2f', 'file:///', '')
PLACES = ('/', '/static/', '/assets/', '/svelte/', '/apidocs/', '/v1/models/', '/gradio_api/file=', '/file=', '/file/',
          '/gradio_api/file/', '/theme.css/', '/gradio_api/stream/', '/gradio_api/proxy=',
          '/custom_component/x/client/')

def test_paths_lead_nowhere(target):
    visitor = target.visitor()
    cookie = {'Cookie': '; '.join(f'{c.name}={c.value}' for c in visitor.cookies)}
    for url in target.ports:
        for place in PLACES:
            for step in STEPS:
                for file in FILES:
                    path = place+step+file
                    status, _, text = raw(url, 'GET', path, cookie | target.key)
                    assert 400 <= status < 500 and 'root:' not in text and 'PATH=' not in text, (url, path, status)

EXPOSED = (
    '/.env', '/.git/config', '/.git/HEAD', '/.svn/entries', '/.DS_Store', '/config.json', '/settings.ini',
    '/tutor.db', '/store', '/docs', '/redoc', '/swagger.json', '/debug', '/debug/pprof/', '/console',
    '/server-status', '/actuator', '/actuator/env', '/admin', '/wp-login.php', '/phpinfo.php', '/graphql',
    '/api/v1/model/load', '/gradio_api/token', '/gradio_api/app_id/x', '/monitoring', '/gradio_api/monitoring',
    '/gradio_api/monitoring/summary', '/dev/reload', '/gradio_api/dev/reload', '/gradio_api/runs',
    '/gradio_api/deep_link', '/gradio_api/component_server', '/gradio_api/mcp/',
    '/gradio_api/proxy=http://127.0.0.1:1/', '/proxy=http://127.0.0.1:1/',
    '/gradio_api/stream/x/y/playlist.m3u8', '/gradio_api/upload_progress', '/gradio_api/vibe-starter-queries/',
    '/gradio_api/api/predict', '/queue/join', '/startup-events', '/cgi-bin/test.cgi', '/backup.zip', '/id_rsa',
    '/crossdomain.xml')

def test_nothing_is_lying_about(target):
    for url in target.ports:
        for path in EXPOSED:
            status, _, _ = raw(url, 'GET', path, target.key)
            assert 400 <= status < 500, (url, path, status)

def test_doors_are_shut(target):
    "With key and login, who has neither gets the routes that SECURITY.md names, and nothing else."
    if not target.guarded: pytest.skip('this server lets everybody in')
    for url in target.ports[1:]:
        for method, path in routes(target):
            status, _, text = raw(url, method, path)
            assert (status == 401) == (path not in OPEN), (method, path, status)
            for key in {'Authorization': 'Bearer wrong'}, {'X-API-Key': ''}, {'Authorization': KEY}:
                assert path in OPEN or raw(url, method, path, key)[0] == 401
    for path in ('info', 'openapi.json', 'queue/status', 'heartbeat/x', 'queue/data?session_hash=x', 'file=/tmp/x'):
        assert raw(target.page, 'GET', f'/gradio_api/{path}')[0] == 401, path
    for path in 'upload', 'queue/join', 'run/ask', 'call/ask':
        assert raw(target.page, 'POST', f'/gradio_api/{path}')[0] == 401, path
    assert raw(target.page, 'GET', '/config')[0] == 401
    assert 'type="password"' in raw(target.page, 'GET', '/')[2]

def test_an_event_that_is_none(target):
    "Gradio begins an answer to it, and breaks off; schemathesis found that."
    for path in '/gradio_api/call/ask/0', '/gradio_api/call/none/0':
        assert raw(target.page, 'GET', path)[0] == (401 if target.guarded else 404)

def flags(set_cookie: list[str]) -> dict[str, set]:
    "Cookie name -> its attributes, in small letters."
    cookies = [c.split(';') for c in set_cookie]
    return {name.split('=')[0]: {a.strip().lower() for a in attributes} for name, *attributes in cookies}

def test_cookies(target):
    "Kept from scripts and other sites, and sent over https only where the page came by https."
    for scheme, secure in ('http', False), ('https', True):
        r = requests.get(target.page, headers={'X-Forwarded-Proto': scheme}, timeout=20)
        given = flags(r.raw.headers.getlist('set-cookie'))
        assert set(given) == {'sciencetutor-visit'} and r.headers['cache-control'] == 'no-store'
        assert {'httponly', 'samesite=lax'} <= given['sciencetutor-visit']
        assert ('secure' in given['sciencetutor-visit']) == secure
    if not target.guarded: return
    r = requests.post(f'{target.page}/login', data=dict(username='ada', password=PASSWORD), timeout=20)
    given = flags(r.raw.headers.getlist('set-cookie'))
    assert given and all({'httponly', 'samesite=lax'} <= f for f in given.values())

def test_errors_tell_nothing(target):
    "No trace, path or address of an object, whatever is wrong; a bug of ours included."
    said = dict(messages=[dict(role='user', content='explode')])
    bodies = [json.dumps(b).encode() for b in (said, {**said, 'stream': True}, dict(prompt='explode'), {}, [], 'x')]
    for url in target.ports:
        for method, path in [*routes(target), ('POST', '/gradio_api/queue/join'), ('POST', '/gradio_api/run/ask'),
                             ('POST', '/login'), ('GET', '/gradio_api/file=/etc/passwd'), ('GET', '/nothing')]:
            for body in [*bodies, b'\xff\xfe{', b'{"prompt": '+b'['*9000] if method == 'POST' else [b'']:
                for kind in 'application/json', 'multipart/form-data; boundary=x':
                    status, _, text = raw(url, method, path, {'Content-Type': kind} | target.key, body)
                    if status >= 400: assert not LEAKS.search(text), (method, path, text[:300])
                    assert status < 500 or b'explode' in body, (method, path, body[:40], status)

def test_other_sites(target):
    "No page of another origin may read an answer or cause one."
    for url in target.ports:
        for origin in EVIL, 'null', url.replace('127.0.0.1', '127.0.0.1.evil.example'), f'{url}.evil.example':
            for method, path in [('GET', '/'), ('GET', '/config'), ('GET', '/status'), ('GET', '/v1/models'),
                                 ('POST', '/chat'), ('POST', '/gradio_api/queue/join'), ('POST', '/login'),
                                 ('OPTIONS', '/v1/chat/completions')]:
                status, got, _ = raw(url, method, path, {'Origin': origin} | target.key)
                assert not [h for h in got if h.startswith('access-control-')], (url, method, path)
                if method == 'POST': assert status in (403, 404, 405), (url, path, status)

def test_names(target):
    "Asked by another name nothing is served, and no header puts one into a page or an address."
    for url in target.ports:
        port = urlsplit(url).port
        for host in 'evil.example', f'evil.example:{port}', f'127.0.0.1@evil.example:{port}', '169.254.169.254', '':
            assert raw(url, 'GET', '/healthz', {'Host': host})[0] == 400, host
        for path in '/', '/config', '/logout', '/apidocs', '/openapi.json', '/gradio_api/info':
            for name in 'X-Forwarded-Host', 'X-Gradio-Server', 'X-Original-Host', 'X-Host', 'X-Forwarded-Server':
                _, got, text = raw(url, 'GET', path, {name: 'evil.example'})
                assert 'evil.example' not in text+str(got), (url, path, name)
        for path in '//evil.example/', '/\\evil.example', '/%2f%2fevil.example', '/logout?next=//evil.example':
            _, got, _ = raw(url, 'GET', path)
            assert 'evil.example' not in got.get('location', ''), (url, path)

def test_lines_in_headers(target):
    "A line break in a path or a query becomes no header."
    for url in target.ports:
        for path in '/%0d%0aX-Evil:1', '/?a=%0d%0aX-Evil:1', '/logout?%0d%0aX-Evil:1', '/v1/models/%0d%0aX-Evil:1':
            _, got, _ = raw(url, 'GET', path, target.key)
            assert 'x-evil' not in got
    for url in target.ports:
        with socket.create_connection(('127.0.0.1', urlsplit(url).port), timeout=20) as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n'
                      b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
            s.sendall(b'GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n')
            assert b'"ok"' not in s.recv(100_000)

OURS = ('not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance',
        'response_schema_conformance', 'unsupported_method', 'use_after_free')  # doors are tried above
GRADIOS = ('not_a_server_error', 'response_headers_conformance', 'use_after_free')  # it documents routes that we close

def explore(schema, headers: dict, examples: int, names: tuple = OURS):
    "Requests that a schema allows, and some that it does not, to each of its routes."
    checks = [c for c in schemathesis.checks.CHECKS.get_all() if c.__name__ in names]
    assert len(checks) == len(names)
    for result in schema.get_all_operations():
        @given(case=result.ok().as_strategy())
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def run(case): case.call_and_validate(checks=checks, headers=headers, timeout=60)
        run()

@pytest.mark.scan
@pytest.mark.parametrize('port', ['api', 'stream'])
def test_schemathesis_on_the_apis(target, port):
    url = getattr(target, port)
    explore(schemathesis.openapi.from_url(f'{url}/openapi.json'), target.key, 100)

@pytest.mark.scan
def test_schemathesis_on_the_page(target):
    "Gradio documents what our front end asks and, where nobody must log in, what the page offers to programs."
    visitor = target.visitor()
    cookie = {'Cookie': '; '.join(f'{c.name}={c.value}' for c in visitor.cookies)}
    spec = requests.get(f'{target.page}/gradio_api/openapi.json', headers=cookie, timeout=20).json()
    schema = schemathesis.openapi.from_dict(spec)
    schema.config.update(base_url=target.page)
    assert any('/call/ask/' in path for path in spec['paths']) != target.guarded
    explore(schema, cookie, 30, GRADIOS)
