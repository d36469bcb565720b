"A busy day: clients of every kind at a server in a process of its own, and what that costs it."
import json, os, random, re, socket, subprocess, sys, threading, time
from collections import Counter
import httpx, psutil, pytest, requests
from test_api import bomb, uri
from test_api_fuzz import ANSWER, CHAT, form_request, json_request, picture, socket_request

ENV = {**os.environ, 'HF_HUB_OFFLINE': '1', 'OMP_NUM_THREADS': '1'}

@pytest.fixture(scope='module')
def served():
    "The address of `sciencetutor serve`, and its process."
    flags = ['--model', 'tiny', '--port', '0', '--one-port', '--rate', '0']
    p = subprocess.Popen([sys.executable, '-m', 'sciencetutor.cli', 'serve', *flags], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        url = re.search(r'http://127\.0\.0\.1:\d+', p.stdout.readline())[0]
        for body in CHAT, {**CHAT, 'stream': False}: requests.post(f'{url}/v1/chat/completions', json=body)
        yield url, psutil.Process(p.pid)
    finally:
        p.terminate()
        _, err = p.communicate(timeout=120)
    assert 'Traceback' not in err and not p.returncode, err[-2000:]

def until(what, seconds=30):
    end = time.time()+seconds
    while not what() and time.time() < end: time.sleep(.05)
    assert what()

def figure(url, name):
    return float(re.search(rf'^sciencetutor_{name} (\S+)', requests.get(f'{url}/metrics').text, re.M)[1])

def well(url):
    "Nobody waits, nothing is written, no error was ours."
    until(lambda: not figure(url, 'queue') and not figure(url, 'running'))
    assert 'sciencetutor_errors_total{' not in requests.get(f'{url}/metrics').text
    assert requests.post(f'{url}/v1/chat/completions', json=CHAT, timeout=60).status_code == 200

def page_request(url, rng):
    "What `gradio_client` does, by hand."
    r = requests.post(f'{url}/gradio_api/call/ask',
                      json=dict(data=[rng.choice(['Which is red? A. this B. that', 'Why?']), None, None]), timeout=60)
    text = requests.get(f"{url}/gradio_api/call/ask/{r.json()['event_id']}", timeout=120).text
    return 200 if 'event: complete' in text else 599

def leave(url, rng):
    "Ask for much, read a word, go."
    path, body = rng.choice([('/v1/chat/completions', {**CHAT, 'max_tokens': 1000}),
                             ('/v1/tutor/answer', {**ANSWER, 'max_new_tokens': 1000})])
    host, port = url.removeprefix('http://').split(':')
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port)), timeout=60) as s:
        s.sendall(f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n'.encode() + data)
        s.settimeout(rng.random()/2)
        try: s.recv(100)
        except TimeoutError: pass
    return 0

def chat(url, rng):
    body = {**CHAT, 'max_tokens': 30, 'seed': rng.randrange(99)}
    return requests.post(f'{url}/v1/chat/completions', json=body, timeout=120).status_code

def form_with_picture(url, rng):
    return requests.post(f'{url}/chat', data=dict(prompt='Why?'), files=dict(image=picture()), timeout=120).status_code

def answer(url, rng): return requests.post(f'{url}/v1/tutor/answer', json=ANSWER, timeout=120).status_code

KINDS = [(.3, 'chat', chat), (.1, 'form with a picture', form_with_picture), (.1, 'websocket', socket_request),
         (.15, 'left', leave), (.1, 'nonsense', json_request), (.1, 'broken form', form_request),
         (.05, 'page', page_request), (.1, 'answer', answer)]

def visitor(url, rng, end, seen, stuck):
    "One client of many."
    while time.time() < end:
        _, kind, ask = rng.choices(KINDS, [k[0] for k in KINDS])[0]
        try: seen.append((kind, ask(url, rng)))
        except requests.exceptions.Timeout: stuck.append(kind)
        except (requests.exceptions.ConnectionError, httpx.RemoteProtocolError, ConnectionError):
            seen.append((kind, 0))  # a header that is none

def mixed_traffic(url, process, seconds, clients=16):
    "What came of it; memory is compared with a fifth of the time, when everything has been used once."
    seen, stuck, start = [], [], time.time()
    threads = [threading.Thread(target=visitor, args=(url, random.Random(i), start+seconds, seen, stuck))
               for i in range(clients)]
    for t in threads: t.start()
    time.sleep(seconds/5)
    early = process.memory_info().rss
    for t in threads: t.join(seconds+150)
    stuck += [t.name for t in threads if t.is_alive()]
    well(url)
    late, codes = process.memory_info().rss, Counter(c for _, c in seen)
    return dict(clients=clients, seconds=round(time.time()-start), requests=len(seen),
                kinds=dict(Counter(k for k, _ in seen)), statuses={str(c): n for c, n in sorted(codes.items())},
                errors_5xx=sum(n for c, n in codes.items() if c >= 500), stuck=stuck, rss_early_mb=round(early/1e6),
                rss_late_mb=round(late/1e6), growth_percent=round(100*(late/early-1), 1))

def test_mixed_traffic_for_a_moment(served):
    report = mixed_traffic(*served, 4, clients=8)
    assert report['requests'] > 8 and not report['errors_5xx'] and not report['stuck'], report

def test_five_hundred_connections(served):
    "As many as there may be, of one address: some of them are hung up on, memory hardly grows, others come in."
    url, process = served
    host, port = url.removeprefix('http://').split(':')
    before, idle = process.memory_info().rss, []
    try:
        for _ in range(500): idle.append(socket.create_connection((host, int(port)), timeout=10))
        with httpx.Client(transport=httpx.HTTPTransport(local_address='127.0.0.2'), timeout=30) as other:
            until(lambda: other.get(f'{url}/healthz').status_code == 200)
        grown = process.memory_info().rss-before
        print(f'500 connections: {grown/1e6:.0f} MB more')
        assert grown < 60e6
    finally:
        for s in idle: s.close()
    until(lambda: requests.get(f'{url}/healthz').status_code == 200)

def test_silence_is_hung_up(served):
    "Connections that ask nothing, or stop in the middle of a header, end by themselves."
    host, port = served[0].removeprefix('http://').split(':')
    address = host, int(port)
    with socket.create_connection(address, timeout=60) as silent, socket.create_connection(address, timeout=60) as slow:
        slow.sendall(b'GET / HTTP/1.1\r\nHost: loc')
        assert silent.recv(1) == b'' and slow.recv(1) == b''

@pytest.mark.soak
def test_mixed_traffic_for_ten_minutes(served):
    "SOAK_MINUTES says how long; the report is printed, and kept in SOAK_REPORT if that names a file."
    report = mixed_traffic(*served, 60*float(os.environ.get('SOAK_MINUTES', 10)))
    print(json.dumps(report, indent=1))
    if path := os.environ.get('SOAK_REPORT'): open(path, 'w').write(json.dumps(report, indent=1) + '\n')
    assert not report['errors_5xx'] and not report['stuck'] and report['growth_percent'] < 5, report

def curl(url, *args):
    "Status and seconds, as curl sees them."
    done = subprocess.run(['curl', '-s', '-o', os.devnull, '-w', '%{http_code} %{time_total}', url, *args],
                          capture_output=True, text=True, timeout=300)
    return int(done.stdout.split()[0]), float(done.stdout.split()[1])

LONG = dict(model='tiny', messages=[dict(role='user', content='Why?')], max_tokens=10_000)

def dawdle(url):
    "Ask for a long stream, read nothing until somebody has asked twice: seconds that these waited, bytes to read."
    host, port = url.removeprefix('http://').split(':')
    data = json.dumps({**LONG, 'seed': 5, 'stream': True}).encode()
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect((host, int(port)))
        head = f'Host: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n'
        s.sendall(f'POST /v1/chat/completions HTTP/1.1\r\n{head}'.encode() + data)
        until(lambda: figure(url, 'running'))
        start = time.time()
        for _ in range(2):
            assert (requests.post(f'{url}/v1/chat/completions', json={**CHAT, 'stream': False}, timeout=60).status_code
                    == 200)
        waited, size = (time.time()-start)/2, 0
        until(lambda: not figure(url, 'running'), 60)
        s.settimeout(60)
        while piece := s.recv(1 << 16): size += len(piece)
    return waited, size

@pytest.mark.soak
def test_too_much_in_figures(served, tmp_path):
    "What is refused how soon, what is bounded to what, how much the process grows meanwhile; all of it is printed."
    url, process = served
    large = tmp_path/'large.png'
    large.write_bytes(bomb() + random.Random(0).randbytes(40_000_000))
    small, text, words = tmp_path/'small.png', tmp_path/'text.json', tmp_path/'words.json'
    small.write_bytes(bomb() + random.Random(0).randbytes(15_000_000))
    text.write_text(json.dumps(dict(prompt='why ' * 250_000)))
    words.write_text(json.dumps(dict(prompt=f'<img src="{uri(bomb())}">')))
    report, before = {}, process.memory_info().rss
    cases = [('PNG of 30,000 x 30,000, 40 MB', 413, '/chat', '-F', 'prompt=Why?', '-F', f'image=@{large}'),
             ('the same, 15 MB', 400, '/chat', '-F', f'image=@{small}'),
             ('the same in a prompt', 400, '/api/v1/generate', '-d', f'@{words}'),
             ('a prompt of 1 MB', 413, '/api/v1/generate', '-d', f'@{text}')]
    for name, want, path, *args in cases:
        status, seconds = curl(url+path, *args)
        report[name] = dict(status=status, ms=round(1e3*seconds))
        assert status == want and seconds < 5, report
    start = time.time()
    usage = requests.post(f'{url}/v1/chat/completions', json={**LONG, 'temperature': 0}, timeout=300).json()['usage']
    report['10,000 new tokens'] = dict(status=200, written=usage['completion_tokens'],
                                       seconds=round(time.time()-start, 1))
    waited, size = dawdle(url)
    report['a slow reader'] = dict(others_waited_ms=round(1e3*waited), bytes_kept_for_it=size)
    report['grown_mb'] = round((process.memory_info().rss-before)/1e6)
    print(json.dumps(report, indent=1))
    assert usage['completion_tokens'] == 1024 and size > 50_000 and waited < 10 and report['grown_mb'] < 100, report
    well(url)
