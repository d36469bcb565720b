"Attacks on the page, against the real server: others' files, closed routes, other sites, too many streams."
import io, os, re, socket, tempfile, time
from pathlib import Path
import pytest, requests
from PIL import Image
from sciencetutor.serve import Server, open_port
from sciencetutor.app.store import Store
from test_page import Script

PNG = io.BytesIO()
Image.new('RGB', (40, 30), 'red').save(PNG, 'PNG')
PNG = PNG.getvalue()
SECRET = b'a secret of the house that nobody may read'
TOO = dict(timeout=20)

@pytest.fixture(scope='module')
def house(tmp_path_factory):
    "A folder with what must stay inside: a database, a text, a picture."
    folder = tmp_path_factory.mktemp('house')
    (folder/'secret.txt').write_bytes(SECRET)
    Image.new('RGB', (31, 17), (1, 2, 3)).save(folder/'secret.png')
    (folder/'tmp').mkdir()
    with pytest.MonkeyPatch.context() as m:  # all that the servers here write is under one folder
        m.setattr(tempfile, 'tempdir', str(folder/'tmp'))
        m.setenv('GRADIO_TEMP_DIR', str(folder/'tmp'/'uploads'))
        yield folder

@pytest.fixture(scope='module')
def server(house):
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=Store(str(house/'kept'))), rate=0) as s:
        yield s

@pytest.fixture(scope='module')
def school(house):
    "A server on which ada and bob must log in."
    store = Store(str(house/'school'))
    for name in 'ada', 'bob': store.add_user(name, 'a long password')
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(store=store, auth=True), rate=0) as s: yield s

def visit(url, login=None):
    "A browser that has opened the page, and perhaps logged in."
    v = requests.Session()
    v.url, v.api = url, f'{url}/gradio_api'
    assert v.get(url, **TOO).status_code == 200
    if login:
        assert v.post(f'{url}/login', data=dict(username=login, password='a long password'), **TOO).status_code == 200
    return v

def config(v): return v.get(f'{v.url}/config', **TOO).json()

def box_submit(v):
    "The event of the box's Enter, by its number."
    c = config(v)
    box = next(o['id'] for o in c['components'] if o['props'].get('elem_id') == 'box')
    return next(d['id'] for d in c['dependencies'] if [box, 'submit'] in [list(t) for t in d['targets']])

def upload(v, data=PNG, name='a.png', n=1, **kw):
    return v.post(f'{v.api}/upload', files=[('files', (name, data, 'image/png'))]*n, **TOO, **kw)

def send(v, fn, data, session='sessionone', **kw):
    "An event of the page, to its end: (status of joining, everything that was said)."
    r = v.post(f'{v.api}/queue/join', json=dict(data=data, fn_index=fn, session_hash=session, **kw), **TOO)
    said = r.text
    if r.status_code == 200:
        with v.get(f'{v.api}/queue/data?session_hash={session}', stream=True, **TOO) as stream:
            for line in stream.iter_lines():
                said += line.decode()+'\n'
                if b'"process_completed"' in line or b'"close_stream"' in line or b'"unexpected_error"' in line: break
    return r.status_code, said

def ask(v, *paths, text='What is this?', **kw):
    "Send the box with pictures that are named by a path."
    return send(v, box_submit(v), [dict(text=text, files=[file_data(p) for p in paths]), None, None, 'explain'], **kw)

def file_data(path, **kw): return dict(path=path, meta={'_type': 'gradio.FileData'}, **kw)

def shown(v, said):
    "What the visitor gets who asks for every file that an answer names."
    return [r for p in dict.fromkeys(re.findall(r'"path":\s*"([^"]+)"', said))
            if (r := v.get(f'{v.api}/file={p}', **TOO)).status_code == 200]

def on_disk(secret):
    "Whether Gradio's folder of uploads holds a copy of a secret."
    root = Path(tempfile.gettempdir())
    return [f for f in root.rglob('*') if f.is_file() and not f.is_symlink() and f.stat().st_size < 1 << 20
            and secret in f.read_bytes()]

def files():
    "All that the servers keep, but SQLite's helpers."
    return {f for f in Path(tempfile.gettempdir()).rglob('*') if f.is_file() and not f.name.endswith(('-wal', '-shm'))}

# Reading

PATHS = ['/etc/passwd', '/proc/self/environ', '/proc/self/cmdline', '/proc/self/fd/0', '/proc/self/fd/1', '/dev/null',
         '/dev/zero', '/', '.', '..', '../../etc/passwd', 'setup.py', 'file:///etc/passwd', '~/.profile', '',
         'http://127.0.0.1:9/x.png']

@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('meta', [True, False])
def test_no_path_is_opened(server, path, meta):
    v = visit(server.url)
    f = file_data(path) if meta else dict(path=path)
    status, said = send(v, box_submit(v), [dict(text='What is this?', files=[f]), None, None, 'explain'])
    assert status in (403, 422) and 'upload' in said, said
    assert not v.get(f'{v.api}/file={path}', **TOO).ok

def test_files_of_the_house_stay_inside(server, house):
    v = visit(server.url)
    for path in (house/'secret.png', house/'secret.txt', house/'kept/tutor.db', house/'kept'/'..'/'secret.png',
                 f'/proc/self/root{house}/secret.png'):
        status, said = ask(v, str(path))
        assert status == 403 and not shown(v, said), path
        assert not v.get(f'{v.api}/file={path}', **TOO).ok
    secret = (house/'secret.png').read_bytes()
    assert not on_disk(secret) and not on_disk(SECRET)

def test_links_in_the_upload_folder(server, house):
    "Should something ever put a link there, it is not followed."
    v = visit(server.url)
    mine = Path(upload(v).json()[0])
    for name, target in ('link.png', house/'secret.png'), ('zero.png', '/dev/zero'):
        (mine.parent/name).symlink_to(target)
        status, said = ask(v, str(mine.parent/name))
        assert status == 403 and not v.get(f'{v.api}/file={mine.parent/name}', **TOO).ok
    os.mkfifo(mine.parent/'pipe.png')
    assert ask(v, str(mine.parent/'pipe.png'))[0] == 403 and not v.get(f'{v.api}/file={mine.parent}/pipe.png', **TOO).ok
    assert ask(v, f'{mine.parent}/../{mine.parent.name}/{mine.name}')[0] == 403

def test_an_upload_is_its_visitors(server):
    ada, eve = visit(server.url), visit(server.url)
    path = upload(ada).json()[0]
    assert ada.get(f'{ada.api}/file={path}', **TOO).content == PNG
    nobody = requests.Session()
    for other in eve, nobody: assert other.get(f'{ada.api}/file={path}', **TOO).status_code == 403
    assert ask(eve, path)[0] == 403
    status, said = ask(ada, path)
    assert status == 200 and 'Finis' in said
    seen = list(dict.fromkeys(re.findall(r'"path":\s*"([^"]+)"', said)))
    assert seen
    assert all(ada.get(f'{ada.api}/file={p}', **TOO).ok and not eve.get(f'{ada.api}/file={p}', **TOO).ok for p in seen)
    assert not ada.get(f'{ada.api}/file={path}', **TOO).ok  # used: only the decoded copy is left

def test_a_photo_loses_its_place_on_arrival(server):
    "Before it is even asked about, and in what is shown; another visitor gets neither."
    from test_store_deleted import photo
    ada, eve = visit(server.url), visit(server.url)
    path = upload(ada, photo('JPEG'), name='my phone.jpg').json()[0]
    kept = ada.get(f'{ada.api}/file={path}', **TOO).content
    assert Image.open(io.BytesIO(kept)).size == (40, 60) and not on_disk(b'My Phone 9') and not on_disk(b'at home')
    said = ask(ada, path)[1]
    assert shown(ada, said) and not shown(eve, said) and not on_disk(b'My Phone 9')

def test_examples_are_everybodys(server):
    v = visit(server.url)
    icons = [e['icon']['path'] for c in config(v)['components'] if c['props'].get('elem_id') == 'chat'
             for e in c['props']['examples'] if e.get('icon')]
    assert icons and all(v.get(f'{v.api}/file={p}', **TOO).ok for p in icons)

def test_examples_outlive_gradios_cleaning(house):
    from gradio.route_utils import delete_files_created_by_app
    from sciencetutor.serve.core import make_app
    app = make_app(Script())
    blocks, before = app.state.gradio.get_blocks(), {f for f in files() if f.parent.name == 'public'}
    delete_files_created_by_app(blocks, None)
    assert len(before) >= 4 and before == {f for f in files() if f.parent.name == 'public'}

def test_gradios_own_check_is_on(house):
    "A version of Gradio that renames the switch, or looks elsewhere, fails here."
    import asyncio, gradio.processing_utils as gp
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError
    from sciencetutor.serve.core import make_app
    blocks = make_app(Script()).state.gradio.get_blocks()
    async def move():
        LocalContext.blocks.set(blocks)
        box = next(b for b in blocks.blocks.values() if getattr(b, 'elem_id', '') == 'box')
        return await gp.async_move_files_to_cache(file_data(str(house/'secret.png')), box, check_in_upload_folder=True)
    assert blocks.has_launched is True
    with pytest.raises(InvalidPathError): asyncio.run(move())

def test_every_endpoint_and_component(server, house):
    "Paths in every input of every event: as a file, in a box, in a list, in a dict, as plain text."
    v, secret = visit(server.url), (house/'secret.png').read_bytes()
    deps = config(v)['dependencies']
    paths = ['/etc/passwd', str(house/'secret.png'), '../secret.png', '/proc/self/environ', '/dev/zero']
    shapes = [lambda p: file_data(p), lambda p: [file_data(p)], lambda p: dict(text='', files=[file_data(p)]),
              lambda p: dict(files=[dict(path=p)]), lambda p: [[dict(role='user', content=dict(file=dict(path=p)))]],
              lambda p: dict(value=file_data(p, url=p)), lambda p: dict(__type__='update', value=dict(path=p))]
    assert len(deps) > 30
    for d in deps:
        for i in range(len(d['inputs'])):
            data = [None]*len(d['inputs'])
            for path in paths:
                for shape in shapes:
                    data[i] = shape(path)
                    r = v.post(f'{v.api}/queue/join',
                               json=dict(data=data, fn_index=d['id'], session_hash='walker', event_data=data[i]), **TOO)
                    assert r.status_code == 403, (d['id'], i, data[i])
                    r = v.post(f'{v.api}/run/predict', json=dict(data=data, fn_index=d['id'], session_hash='walker'),
                               **TOO)
                    assert r.status_code == 403, (d['id'], i, data[i])
            data[i] = str(house/'secret.png')
            r = v.post(f'{v.api}/run/predict', json=dict(data=data, fn_index=d['id'], session_hash='walker'), **TOO)
            assert r.status_code in (200, 404, 500) and not shown(v, r.text)
    for name in 'ask', 'predict':
        for path in paths:
            for how in 'call', 'run', 'api', 'call/v2':
                body, want = dict(data=['What?', None, file_data(path)]), 403
                if how == 'call/v2': body, want = dict(question='What?', picture=file_data(path)), 404
                assert v.post(f'{v.api}/{how}/{name}', json=body, **TOO).status_code == want
    assert not on_disk(secret)

def test_every_component_has_no_server_function(server, house):
    v = visit(server.url)
    for c in config(v)['components']:
        for name in 'ls', 'read_file', 'get_value', 'preprocess':
            r = v.post(f'{v.api}/component_server',
                       json=dict(data=[str(house)], component_id=c['id'], session_hash='sessionone', fn_name=name),
                       **TOO)
            assert r.status_code == 404 and 'no such' in r.text

CLOSED_ROUTES = [
    'GET /gradio_api/file/{}', 'GET /gradio_api/proxy={}', 'GET /gradio_api/stream/a/b/1/playlist-file',
    'GET /gradio_api/custom_component/a/client/b/c', 'GET /gradio_api/deep_link?session_hash=a',
    'GET /gradio_api/token', 'GET /gradio_api/dev/reload', 'GET /gradio_api/runs',
    'GET /gradio_api/run-history/buckets', 'GET /gradio_api/vibe-code', 'POST /gradio_api/vibe-code',
    'POST /gradio_api/vibe-edit', 'POST /gradio_api/process_recording', 'POST /gradio_api/component_server/',
    'POST /gradio_api/stream/a', 'POST /gradio_api/stream/a/close', 'GET /monitoring', 'GET /monitoring/summary',
    'GET /monitoring/{}', 'GET /pwa_icon', 'GET /static/../../routes.py', 'GET /assets/..%2f..%2f..%2froutes.py',
    'GET /gradio_api/upload_progress?upload_id=a', 'GET /docs', 'PUT /gradio_api/upload', 'DELETE /',
    'OPTIONS /gradio_api/queue/join', 'TRACE /', 'GET /gradio_api/queue/join', 'GET //gradio_api/heartbeat/a',
    'GET /gradio_api/heartbeat/a/b', 'POST /gradio_api/queue/join/', 'POST /gradio_api/call/v2/ask']

@pytest.mark.parametrize('line', CLOSED_ROUTES)
def test_only_what_the_page_needs_is_open(server, house, line):
    method, path = line.format(house/'secret.png').split(' ')
    r = raw(server.url,
            f'{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
    assert r.startswith((b'HTTP/1.1 404', b'HTTP/1.1 405')) and SECRET not in r, r[:300]

def raw(url, text, wait=5, until=None):
    "What a server says to these very bytes."
    host, port = url.removeprefix('http://').split(':')
    with socket.create_connection((host, int(port)), timeout=wait) as s:
        s.sendall(text.encode())
        said = b''
        try:
            while (piece := s.recv(65536)):
                said += piece
                if until and until in said: break
        except TimeoutError: pass
    return said

def test_every_route_of_gradio_is_known(server):
    "A route that a newer Gradio adds is closed until somebody has looked at it."
    from sciencetutor.serve.access import route_kind
    from sciencetutor.serve.core import make_app
    gradio = make_app(Script()).state.gradio
    known = {
        ('GET', '/'), ('GET', '/assets/x'), ('GET', '/config'), ('GET', '/favicon.ico'), ('GET', '/gradio_api/app_id'),
        ('GET', '/gradio_api/call/x/x'), ('GET', '/gradio_api/file=x'), ('GET', '/gradio_api/heartbeat/x'),
        ('GET', '/gradio_api/info'), ('GET', '/gradio_api/login_check'), ('GET', '/gradio_api/openapi.json'),
        ('GET', '/gradio_api/queue/data'), ('GET', '/gradio_api/queue/status'), ('GET', '/gradio_api/startup-events'),
        ('GET', '/gradio_api/theme.css'), ('GET', '/gradio_api/user'), ('GET', '/logout'), ('GET', '/manifest.json'),
        ('GET', '/robots.txt'), ('GET', '/static/x'), ('GET', '/svelte/x'), ('GET', '/theme.css'),
        ('POST', '/gradio_api/api/x'), ('POST', '/gradio_api/call/x'), ('POST', '/gradio_api/cancel'),
        ('POST', '/gradio_api/queue/join'), ('POST', '/gradio_api/reset'), ('POST', '/gradio_api/run/x'),
        ('POST', '/gradio_api/upload'), ('POST', '/login')}
    found = {(m, re.sub(r'\{[^}]*\}', 'x', r.path)) for r in routes_of(gradio) for m in (r.methods or ())
             if m != 'HEAD'}
    assert {(m, p) for m, p in found if route_kind(m, p)} == {k for k in known if k in found}
    assert len(known & found) > 25

def routes_of(app):
    for r in app.routes:
        if hasattr(r, 'methods'): yield r
        elif hasattr(r, 'original_router'): yield from routes_of(r.original_router)
        elif getattr(r, 'routes', None): yield from routes_of(r)

# Deleting

@pytest.mark.parametrize('name', ['-', '.', '..', 'store', 'x', 'examples', '..%2f..', '%2e%2e', 'a'*3000, '*', 'öä'])
def test_a_heartbeat_deletes_nothing(server, name):
    v = visit(server.url)
    path = upload(v).json()[0]
    before = files()
    raw(server.url, f'GET /gradio_api/heartbeat/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n', until=b'ALIVE', wait=2)
    time.sleep(.5)
    assert before <= files()
    assert v.get(f'{v.api}/file={path}', **TOO).ok
    status, said = ask(v, path)  # the page works, and remembers
    assert status == 200 and 'Finis' in said and 'broken' not in said

def test_the_store_of_strangers_is_kept(house):
    "Without a login on a public address, chats are in a folder of the server's own."
    with Server(Script(), open_port('127.0.0.1', 0), page_options=dict(shared=True), rate=0) as s:
        v = visit(s.url)
        assert ask(v)[0] == 200
        before = files()
        assert [f for f in before if f.name == 'tutor.db']
        for name in 'store', '-', 'tutor':
            raw(s.url, f'GET /gradio_api/heartbeat/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n', until=b'ALIVE', wait=2)
        time.sleep(.5)
        assert before <= files()
        status, said = ask(v, text='And now?')
        assert status == 200 and 'Finis' in said

def test_a_session_is_its_visitors(server):
    "Who knows the name of another's session cannot end, hear or empty it."
    ada, eve = visit(server.url), visit(server.url)
    path = upload(ada).json()[0]
    seen = re.findall(r'"path":\s*"([^"]+)"', ask(ada, path, session='adassession')[1])
    eve_hears = eve.get(f'{eve.api}/queue/data?session_hash=adassession', stream=True, **TOO)
    assert 'process' not in next(eve_hears.iter_content(1000)).decode()
    with eve.get(f'{eve.api}/heartbeat/adassession', stream=True, **TOO) as beat: next(beat.iter_content(5))
    time.sleep(.5)
    assert seen and all(ada.get(f'{ada.api}/file={p}', **TOO).ok for p in seen)
    with ada.get(f'{ada.api}/heartbeat/adassession', stream=True, **TOO) as beat: next(beat.iter_content(5))
    for _ in range(50):
        if not any(os.path.exists(p) for p in seen): break
        time.sleep(.1)
    assert not any(os.path.exists(p) for p in seen)  # her own does

# Other sites

FOREIGN = [{'origin': 'https://evil.example'}, {'origin': 'null'}, {'sec-fetch-site': 'cross-site'},
           {'sec-fetch-site': 'same-site'}, {'origin': 'http://127.0.0.1:1'}]

@pytest.mark.parametrize('head', FOREIGN)
def test_another_site_changes_nothing(server, head):
    v = visit(server.url)
    before = on_disk(b'from elsewhere')
    r = upload(v, b'from elsewhere', headers=head)
    assert r.status_code == 403 and on_disk(b'from elsewhere') == before
    for path in 'queue/join', 'cancel', 'reset', 'run/predict', 'call/ask':
        assert v.post(f'{v.api}/{path}', json=dict(data=[]), headers=head, **TOO).status_code == 403
    for path in 'heartbeat/abc', 'queue/data?session_hash=abc', 'info', 'file=/x', 'queue/status':
        assert v.get(f'{v.api}/{path}', headers=head, **TOO).status_code == 403
    assert v.get(f'{v.url}/config', headers=head, **TOO).status_code == 403
    assert v.post(f'{v.url}/login', data=dict(username='a', password='b'), headers=head, **TOO).status_code == 403
    assert v.get(f'{v.url}/logout', headers=head, **TOO).status_code == 403
    assert upload(v, headers={'origin': server.url, 'sec-fetch-site': 'same-origin'}).status_code == 200

def test_a_link_from_another_site_opens_the_page(server):
    link = {'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate'}
    assert requests.get(server.url, headers=link, **TOO).status_code == 200

def test_a_refused_upload_is_not_read(server):
    "The answer comes before the body has been sent."
    said = raw(server.url,
               'POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n'
               'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n', until=b'}')
    assert said.startswith(b'HTTP/1.1 403')

def test_an_allowed_origin_may(house):
    "A proxy's own name, as for the APIs; a star opens the APIs only."
    for cors, code in (('https://school.example',), 200), (('*',), 403):
        with Server(Script(), open_port('127.0.0.1', 0), cors=cors, rate=0) as s:
            assert upload(visit(s.url), headers={'origin': 'https://school.example'}).status_code == code

def test_an_image_of_another_site_with_a_browser(server):
    "An <img> and a form in headless Chromium, on a page of another origin."
    from test_page import browser_path
    sync = pytest.importorskip('playwright.sync_api', reason='the package playwright is missing')
    if not (path := browser_path()): pytest.skip('no chromium on this machine')
    import http.server, threading
    port, answers, asked, most = server.url.rsplit(':', 1)[1], [], [], 0
    api = f'http://127.0.0.1:{port}/gradio_api'
    evil = f'''<img src="{api}/heartbeat/-">
        <form id=f method=post enctype=multipart/form-data action="{api}/upload" target=t>
        <input name=files value=from-elsewhere></form><iframe name=t></iframe>
        <script>f.submit()
        fetch("{api}/queue/join", {{method:"POST", mode:"no-cors", credentials:"include", body:"{{}}"}})</script>'''
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('content-type', 'text/html')
            self.end_headers()
            self.wfile.write(evil.encode())
        def log_message(self, *a): pass
    other = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Evil)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with sync.sync_playwright() as p:
        b = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        page = b.new_page()
        page.on('response', lambda r: answers.append((r.url.split('/')[-1], r.status)) if port in r.url else None)
        page.on('request', lambda r: asked.append(r.url.split('/')[-1]) if port in r.url else None)
        page.goto(f'http://localhost:{other.server_address[1]}/')
        for _ in range(15):
            page.wait_for_timeout(200)
            most = max(most, server.streams.open)
        b.close()
    other.shutdown()
    assert set(asked) >= {'-', 'upload', 'join'}, asked
    assert {n for n, _ in answers} >= {'upload', 'join'} and all(c == 403 for _, c in answers), answers
    assert not most  # the browser does not even tell its page what became of the image

def test_cookies(school):
    login = dict(username='ada', password='a long password')
    answers = requests.get(school.url, **TOO), requests.post(f'{school.url}/login', data=login, **TOO)
    for c in [r.headers['set-cookie'] for r in answers]:
        assert 'HttpOnly' in c and 'samesite=none' not in c.lower() and 'samesite=lax' in c.lower()

# The login

def test_without_a_login_nothing(school):
    v = visit(school.url)
    assert upload(v).status_code == 401
    for path in 'queue/join', 'cancel', 'reset', 'run/predict', 'api/predict', 'call/ask', 'upload':
        assert v.post(f'{v.api}/{path}', json=dict(data=[], session_hash='abc', fn_index=0, event_id='a'),
                      **TOO).status_code == 401, path
    for path in ('heartbeat/abc', 'queue/data?session_hash=abc', 'file=/etc/passwd', 'info', 'openapi.json',
                 'queue/status', 'startup-events'):
        assert v.get(f'{v.api}/{path}', **TOO).status_code == 401, path
    assert v.get(f'{v.url}/config', **TOO).status_code == 401
    said = raw(school.url,
               'POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n'
               'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n', until=b'}')
    assert said.startswith(b'HTTP/1.1 401')  # before the body

def test_two_children_in_one_browser(school):
    "What one has uploaded is not the other's who logs in after."
    v = visit(school.url, 'ada')
    path = upload(v).json()[0]
    assert v.get(f'{v.api}/file={path}', **TOO).ok
    assert v.get(f'{v.url}/logout', **TOO).status_code in (200, 302)
    assert v.get(f'{v.api}/file={path}', **TOO).status_code == 401
    assert v.post(f'{v.url}/login', data=dict(username='bob', password='a long password'), **TOO).status_code == 200
    assert v.get(f'{v.api}/file={path}', **TOO).status_code == 403 and ask(v, path)[0] == 403

# How much

def test_many_heartbeats(house):
    "505 of one address: most are turned away, and every port still answers."
    api, stream = open_port('127.0.0.1', 0), open_port('127.0.0.1', 0)
    with Server(Script(), open_port('127.0.0.1', 0), api_socks=(api, stream), rate=0) as s:
        host, port = s.url.removeprefix('http://').split(':')
        open_ = []
        try:
            for i in range(505):
                open_.append(c := socket.create_connection((host, int(port)), timeout=10))
                c.sendall(f'GET /gradio_api/heartbeat/beat{i} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
                if i % 50 == 49: time.sleep(.2)
            time.sleep(1)
            answers = [c.recv(15)[9:12] for c in open_]
            assert answers.count(b'200') and answers.count(b'429') > 300 and not answers.count(b'503')
            for url in s.url, f'{s.api_url}/healthz', f"{s.stream_url.replace('ws', 'http')}/healthz":
                assert requests.get(url, **TOO).status_code == 200, url
        finally:
            for c in open_: c.close()
        for _ in range(200):  # a loaded machine takes its time
            if not s.streams.open: break
            time.sleep(.1)
        assert not s.streams.open

def test_idle_streams_are_closed(house, monkeypatch):
    from sciencetutor.serve import access
    monkeypatch.setattr(access, 'IDLE_TIMEOUT', 1.)
    with Server(Script(), open_port('127.0.0.1', 0), rate=0) as s:
        v, begun = visit(s.url), time.time()
        with v.get(f'{v.api}/heartbeat/abcdef', stream=True, **TOO) as r:
            assert b''.join(r.iter_content(100)).startswith(b'data: ALIVE')
        assert .5 < time.time()-begun < 10

def test_uploads_have_a_quota(house, monkeypatch):
    from sciencetutor.app import uploads
    monkeypatch.setattr(uploads, 'MAX_FILES', 5)
    monkeypatch.setattr(uploads, 'MAX_FILES_IN_ALL', 8)
    with Server(Script(), open_port('127.0.0.1', 0), rate=0) as s:
        ada, eve = visit(s.url), visit(s.url)
        assert upload(ada, n=20).status_code == 400
        assert [upload(ada).status_code for _ in range(6)] == [200]*5 + [429]
        assert [upload(eve).status_code for _ in range(4)] == [200]*3 + [429]
        with ada.get(f'{ada.api}/heartbeat/abcdef', stream=True, **TOO) as beat: next(beat.iter_content(5))
        for _ in range(100):  # a loaded machine takes its time
            if (status := upload(eve).status_code) == 200: break  # who leaves gives room
            time.sleep(.1)
        assert status == 200
    monkeypatch.setattr(uploads, 'MAX_BYTES', 5_000_000)
    with Server(Script(), open_port('127.0.0.1', 0), rate=0) as s:
        v, noise = visit(s.url), Image.frombytes('RGB', (800, 833), os.urandom(800*833*3))
        noise.save(png := io.BytesIO(), 'PNG')
        assert [upload(v, png.getvalue()).status_code for _ in range(2)] == [200, 200]
        try: assert upload(v, png.getvalue()).status_code == 429
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
            pass  # hung up on while it was still sending
        assert len([f for f in files() if f.stat().st_size == len(png.getvalue()) > 1_900_000]) == 2

def test_an_upload_is_not_too_large(server): assert upload(visit(server.url), bytes(11 << 20)).status_code == 413

@pytest.mark.parametrize('body',
                         [b'', b'{', b'[]', b'{"data":[NaN]}', b'{"data":'+b'['*50_000, b'\xff',
                          b'{"data":[], "session_hash":"a/b"}', b'{"data":[], "session_hash":5}',
                          b'{"data":[], "session_hash":["a"]}', b'{"data":[], "fn_index":0, "session_hash":null}'])
def test_broken_events(server, body):
    v = visit(server.url)
    for path in 'queue/join', 'cancel':
        assert 400 <= v.post(f'{v.api}/{path}', data=body, headers={'content-type': 'application/json'},
                             **TOO).status_code < 500, path

@pytest.mark.parametrize('name',
                         ['../../a.png', '/etc/a.png', 'a\0.png', 'a.png/..', 'x'*5000+'.png', '.png', 'ä.PNG',
                          'a.png;rm', '..'])
def test_names_of_uploads(server, name):
    v = visit(server.url)
    r = upload(v, name=name)
    if r.ok:
        path = Path(r.json()[0])
        assert path.is_relative_to(os.environ['GRADIO_TEMP_DIR'])
        assert re.fullmatch(r'[\w-]+(\.[a-zA-Z0-9]{1,8})?', path.name)
        assert v.get(f'{v.api}/file={path}', **TOO).content == PNG
