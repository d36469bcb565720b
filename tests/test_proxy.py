"""The tutor at /tutor/ of a larger site, behind a reverse proxy: in a browser, through its APIs, on a websocket.

As in gradio-app/gradio#2979, where the page shows and its events get 404."""
import asyncio, json
from contextlib import asynccontextmanager
import httpx, openai, pytest, requests, websockets
from fastcore.script import CliError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.sync.client import connect
from sciencetutor.engine.core import run_in_thread
from sciencetutor.serve.core import Reach, Server, open_port, run_serve
from sciencetutor.serve.proxy import BehindProxy, check_prefix
from test_api import png, serving
from test_page import SOLID, Script, attach, browser, finished, send

HOP = {'connection', 'content-length', 'transfer-encoding', 'upgrade', 'keep-alive'}

class Proxy:
    "A site with the tutor at /tutor/, as nginx passes it on; what is asked for elsewhere is noted."
    def __init__(self, url: str, strip: bool, headers: dict):
        self.url, self.strip, self.headers, self.elsewhere = url, strip, headers, []
        routes = [WebSocketRoute('/tutor/{rest:path}', self.socket),
                  Route('/{path:path}', self.pass_on, methods=METHODS)]
        self.app = Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app):
        async with httpx.AsyncClient(timeout=60, trust_env=False) as self.client: yield

    def target(self, path: str, query: str) -> str:
        path = path.removeprefix('/tutor') if self.strip else path
        return self.url + path + (f'?{query}' if query else '')

    async def pass_on(self, request):
        path = request.url.path
        if not path.startswith('/tutor/'):
            self.elsewhere.append(path)
            return PlainTextResponse('another part of the site', 404)
        headers = {k: v for k, v in request.headers.items() if k not in HOP} | self.headers
        sent = self.client.build_request(request.method, self.target(path, request.url.query), headers=headers,
                                         content=await request.body())
        r = await self.client.send(sent, stream=True)
        given = [(k, v) for k, v in r.headers.multi_items() if k not in HOP]
        answer = StreamingResponse(r.aiter_raw(), r.status_code, background=BackgroundTask(r.aclose))
        answer.raw_headers = [(k.encode(), v.encode()) for k, v in given]
        return answer

    async def socket(self, ws):
        url = self.target(ws.url.path, ws.url.query).replace('http', 'ws', 1)
        async with websockets.connect(url, additional_headers=self.headers, proxy=None) as there:
            await ws.accept()
            await there.send(await ws.receive_text())
            async for message in there:
                await ws.send_text(message)
                if json.loads(message)['event'] == 'stream_end': break
        await ws.close()

METHODS = ['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT']
WAYS = {  # how a proxy is set up, and the tutor behind it
    'path passed on whole': dict(server=Reach(root_path='/tutor'), strip=False, headers={}),
    'path taken off, prefix in a header': dict(server=Reach(proxies=('127.0.0.1',)), strip=True,
                                               headers={'x-forwarded-prefix': '/tutor'}),
    'path taken off, prefix told before': dict(server=Reach(root_path='tutor/'), strip=True, headers={})}

@pytest.fixture(scope='module', params=WAYS, ids=lambda name: name.replace(' ', '-'))
def proxy(request):
    "A proxy and its address, with the tutor behind it."
    way = WAYS[request.param]
    with Server(Script(), open_port('127.0.0.1', 0), rate=0, reach=way['server']) as s:
        p = Proxy(s.url.removesuffix('/tutor'), way['strip'], way['headers'])
        with serving(p.app) as url: yield p, f'{url}/tutor'

def test_page_answers(proxy, browser, tmp_path):
    "The whole page: its frame, a question, a picture that is uploaded and shown."
    p, url = proxy
    p.elsewhere.clear()
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f'{url}/lab')
    page.wait_for_selector('#chat .example')
    send(page, SOLID)
    page.get_by_text('Finis coronat.').wait_for()
    finished(page)
    (tmp_path/'red.png').write_bytes(png())
    attach(page, tmp_path/'red.png')
    send(page, 'What colour is this?')
    page.get_by_text('Finis coronat.').nth(1).wait_for()
    image = page.locator('#chat .user.message img').last
    image.wait_for()
    assert image.evaluate('async i => { await i.decode(); return i.naturalWidth }') == 40
    cookies = [c for c in context.cookies() if c['name'] == 'sciencetutor-visit']
    assert [c['path'] for c in cookies] == ['/tutor/'] and not [e for e in p.elsewhere if e != '/favicon.ico']
    context.close()

def test_front_end_answers(proxy, browser):
    "Our own front end below a path: its modules, a question and its answer."
    p, url = proxy
    p.elsewhere.clear()
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f'{url}/')
    page.locator('textarea').first.fill('Tell me a story of a rock')
    page.locator('textarea').first.press('Enter')
    page.get_by_text('Finis coronat.').wait_for()
    assert not [e for e in p.elsewhere if e != '/favicon.ico']
    page.close()

def test_apis_answer(proxy):
    p, url = proxy
    client = openai.OpenAI(base_url=f'{url}/v1', api_key='none', max_retries=0, timeout=60)
    asked = dict(model='script', messages=[dict(role='user', content='Tell me a story')])
    whole = client.chat.completions.create(**asked).choices[0].message.content
    pieces = [c.choices[0].delta.content or '' for c in client.chat.completions.create(**asked, stream=True)]
    assert 'Finis coronat.' in whole and ''.join(pieces) == whole
    for path in '/healthz', '/readyz', '/status': assert requests.get(url+path).status_code == 200
    spec = requests.get(f'{url}/openapi.json').json()
    assert spec['servers'][0]['url'] == '/tutor' and '/healthz' in spec['paths']
    assert 'openapi.json' in requests.get(f'{url}/apidocs').text
    assert requests.get(f'{url}/apidocs/swagger-ui.css').status_code == 200
    assert requests.get(f'{url}/nothing').status_code == 404

def test_websocket_answers(proxy):
    _, url = proxy
    with connect(url.replace('http', 'ws')+'/api/v1/stream', ping_interval=None) as ws:
        ws.send(json.dumps(dict(prompt='Tell me a story')))
        said = ''
        while (event := json.loads(ws.recv(timeout=60)))['event'] != 'stream_end': said += event['text']
    assert 'Finis coronat.' in said

def test_address_that_is_told():
    "The ready line is below the prefix, too, and works without a proxy: a slash is added where one is missing."
    with Server(Script(), open_port('127.0.0.1', 0), reach=Reach(root_path='/tutor/')) as s:
        assert s.url.endswith('/tutor') and s.stream_url.endswith('/tutor')
        r = requests.get(s.url)
        assert r.url == s.url+'/' and 'ScienceTutor' in r.text
        assert requests.get(s.url+'/readyz').json()['status'] == 'ready'

@pytest.mark.parametrize('path', ['/a b', '/..', '/a//b', '/x?y', '/"><script>', 'http://evil.example', '/ü'])
def test_a_prefix_is_a_path(path):
    with pytest.raises(CliError, match='--root-path'): run_serve('tiny', root_path=path)

def test_who_may_say_where_it_is():
    "A stranger's header moves no link; a proxy is named by its address."
    async def show(scope, receive, send): scopes.append(scope)
    def prefix(said, client='127.0.0.1', trusted='127.0.0.1'):
        scopes.clear()
        headers = [(b'x-forwarded-prefix', said.encode()), (b'x-forwarded-for', b'198.51.100.9')]
        scope = dict(type='http', path='/', raw_path=b'/', headers=headers, client=(client, 9), scheme='http')
        run_in_thread(asyncio.run, BehindProxy(show, '/own', trusted)(scope, None, None))  # Playwright has a loop here
        return scopes[0]['prefix'], scopes[0]['client'][0]
    scopes = []
    assert prefix('/tutor') == ('/tutor', '198.51.100.9') and prefix('/tutor', '192.0.2.1') == ('/own', '192.0.2.1')
    for bad in '//evil.example', '/a/../b', '/a"b', 'a', '/'+'a'*300: assert prefix(bad)[0] == '/own', bad
    assert prefix('/tutor', '192.0.2.1', '192.0.2.1') == ('/tutor', '198.51.100.9')
    assert prefix('/tutor', '192.0.2.1', '192.0.2.0/24') == ('/tutor', '198.51.100.9')
    assert prefix('/tutor', trusted='') == ('/own', '127.0.0.1')  # not even one on this computer, if it is not named
    assert check_prefix('/') == ''
