"Sixteen clients, one of them hostile by every means that is known: the others are answered as if it were not there."
import json, os, random, socket, statistics, threading, time
from contextlib import ExitStack, suppress
import pytest, requests
from requests.adapters import HTTPAdapter
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from test_api import bomb, uri
from test_api_fuzz import CHAT
from test_images import encoded, many_frames
from test_serve_soak import answer, chat, form_with_picture, page_request, served, well
from PIL import Image

EVIL = '127.0.0.2'  # where the hostile one sits

class From(HTTPAdapter):
    "Connections from the hostile one's address."
    def init_poolmanager(self, *args, **kw): super().init_poolmanager(*args, source_address=(EVIL, 0), **kw)

def session():
    s = requests.Session()
    s.mount('http://', From())
    return s

def post(url, path, **kw):
    with suppress(requests.exceptions.RequestException): session().post(url+path, timeout=20, **kw)

def sockets(url, head, n, seconds):
    "So many connections that say this much and no more."
    host, port = url.removeprefix('http://').split(':')
    with ExitStack() as open_ones, suppress(OSError):
        for _ in range(n):
            s = socket.create_connection((host, int(port)), timeout=5, source_address=(EVIL, 0))
            open_ones.enter_context(s).sendall(head)
        time.sleep(seconds)

def places(url, rng):
    "All places in the queue, for long answers."
    body = {**CHAT, 'stream': False, 'max_tokens': 1000}
    asked = dict(target=post, args=(url, '/v1/chat/completions'), kwargs=dict(json=body))
    threads = [threading.Thread(**asked) for _ in range(70)]
    for t in threads: t.start()
    for t in threads: t.join()

def websockets(url, rng):
    "All websockets, silent."
    with ExitStack() as open_ones, suppress(WebSocketException, OSError):
        for _ in range(64):
            open_ones.enter_context(connect(url.replace('http', 'ws')+'/api/v1/stream', source_address=(EVIL, 0)))
    time.sleep(1)

def picture_of(data): return dict(data=dict(prompt='?'), files=dict(image=data))

LARGE = encoded(Image.new('RGBA', (4000, 4000)))
HEAVY = [
    ('/v1/chat/completions', dict(data='{"messages":['+'[],'*5_000_000+'0]}')),
    ('/v1/chat/completions', dict(data='{"messages":['+'0,'*49_000+'0]}')),
    ('/v1/chat/completions', dict(json={**CHAT, 'messages': [dict(role='user', content='Why?'+' '*20_000+'A')]})),
    ('/v1/chat/completions', dict(json={**CHAT, 'messages': [dict(role='user', content='<ima'*5000+'ge>'*5000)]})),
    ('/v1/tutor/answer', dict(json=dict(question='Choices:\n'*2000 + ' '*2000))),
    ('/v1/tutor/answer', dict(json=dict(question='?', picture=uri(bomb())))),
    ('/chat', dict(data=b'&'*(16 << 20), headers={'content-type': 'application/x-www-form-urlencoded'})),
    ('/chat', picture_of(many_frames('GIF'))), ('/chat', picture_of(many_frames('TIFF'))), ('/chat', picture_of(LARGE)),
    ('/gradio_api/queue/join', dict(data=b'{"data":[' + b'0,'*60_000 + b'0]}')),
    ('/login', dict(data=dict(username='ada', password='x'*50_000)))]

def heavy(url, rng):
    "Something that is a lot of work."
    path, kw = rng.choice(HEAVY)
    post(url, path, **kw)

def bodies(url, rng):
    "Bodies that never come."
    sockets(url, b'POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n', 300, 1)

def silence(url, rng):
    "Connections on which nothing is asked."
    sockets(url, b'', 300, 1)

def streams(url, rng):
    "Pages that are open, without a browser."
    head = f'GET /gradio_api/heartbeat/{rng.randrange(10**9)} HTTP/1.1\r\nHost: localhost\r\n\r\n'
    sockets(url, head.encode(), 200, 1)

def other_names(url, rng):
    "A hundred requests from as many made-up addresses."
    for i in range(100):
        with suppress(requests.exceptions.RequestException):
            session().get(url+'/v1/models', headers={'x-forwarded-for': f'192.0.2.{i}'}, timeout=20)

ATTACKS = [places, websockets, heavy, heavy, heavy, bodies, silence, streams, other_names]

def attack(url, end, counts):
    rng, threads = random.Random(0), []
    def work():
        while time.time() < end:
            a = rng.choice(ATTACKS)
            a(url, rng)
            counts[a.__name__] = counts.get(a.__name__, 0)+1
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads: t.start()
    return threads

KINDS = dict(chat=chat, answer=answer, form=form_with_picture, page=page_request, health=lambda url, rng: requests.get(
    url+'/healthz', timeout=60).status_code)

def friendly(url, rng, end, seen):
    "One of the others: what it asked, what came of it, how long that took."
    while time.time() < end:
        kind = rng.choice(list(KINDS))
        begun = time.time()
        try: status = KINDS[kind](url, rng)
        except requests.exceptions.RequestException as e: status = type(e).__name__
        seen.append((kind, status, time.time()-begun))
        time.sleep(rng.random())

def crowd(url, seconds):
    "Fifteen at a time."
    seen, end = [], time.time()+seconds
    threads = [threading.Thread(target=friendly, args=(url, random.Random(i), end, seen)) for i in range(15)]
    for t in threads: t.start()
    for t in threads: t.join(seconds+120)
    assert not any(t.is_alive() for t in threads)
    return seen

def medians(seen): return {k: statistics.median([s for kind, _, s in seen if kind == k] or [0]) for k in KINDS}

def one_hostile(url, process, seconds):
    "What the others were told, and how long they waited, alone and beside the hostile one."
    alone, counts = crowd(url, seconds/3), {}
    attackers = attack(url, time.time()+seconds*2/3, counts)
    beside = crowd(url, seconds*2/3)
    for t in attackers: t.join(120)
    well(url)
    before, after = medians(alone), medians(beside)
    return dict(attacks=counts, requests=len(beside), refused=[s for _, s, _ in alone+beside if s != 200],
                slower={k: round(after[k]/before[k], 2) for k in KINDS if before[k] and after[k]},
                ms={k: round(1e3*v) for k, v in after.items()}, rss_mb=round(process.memory_info().rss/1e6))

def test_one_hostile_for_a_moment(served):
    report = one_hostile(*served, 15)
    print(json.dumps(report, indent=1))
    assert report['requests'] > 15 and not report['refused'], report

@pytest.mark.soak
def test_one_hostile_for_ten_minutes(served):
    "SOAK_MINUTES says how long; the report is printed, and kept in SOAK_REPORT_HOSTILE if that names a file."
    report = one_hostile(*served, 60*float(os.environ.get('SOAK_MINUTES', 10)))
    print(json.dumps(report, indent=1))
    if path := os.environ.get('SOAK_REPORT_HOSTILE'): open(path, 'w').write(json.dumps(report, indent=1) + '\n')
    assert not report['refused'] and report['rss_mb'] < 3000, report
