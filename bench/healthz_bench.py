"""How long everybody waits while the server is sent what is heavy.

    python bench/healthz_bench.py              each load for ten seconds, into bench/results/healthz.json
    python bench/healthz_bench.py --seconds 2  to see that it runs

`sciencetutor serve --auth` is started as anybody would start it, with `tiny`, in a process of its own. Under each load
two clients (another process) send one heavy request after the other from 127.0.0.2, and `/healthz` is asked twenty
times a second from 127.0.0.1: a loop that is kept busy by anything lets it wait. The goal is a 99th percentile below
100 ms. Clients and server share the machine, so the figures on one of few cores are those of a server that has less
than all of it; the row without a load is what to compare with.
"""
from __future__ import annotations
import argparse, base64, io, json, multiprocessing, os, platform, re, statistics, subprocess, sys, tempfile, time
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'))
KEY = 'bench'


def large_png() -> bytes:
    "Sixteen megapixels, transparent, in few bytes."
    from PIL import Image
    Image.new('RGBA', (4000, 4000)).save(out := io.BytesIO(), 'PNG')
    return out.getvalue()


def chat(text: str, **kw) -> dict:
    "What `requests.post` is given for a question."
    return dict(path='/v1/chat/completions', json=dict(messages=[dict(role='user', content=text)], max_tokens=1, **kw))


def loads() -> dict:
    "What is sent, one after the other, by the name of the load."
    from test_images import many_frames
    noise = base64.b64encode(os.urandom(11 << 20)).decode()
    picture = [dict(type='image_url', image_url=dict(url=f'data:image/png;base64,{noise}'))]
    form = {'content-type': 'application/x-www-form-urlencoded'}
    def upload(data): return dict(path='/chat', data=dict(prompt='?'), files=dict(image=data))
    return {
        'nothing': [],
        'large JSON': [chat(picture), dict(path='/v1/chat/completions', data='{"messages":['+'0,'*49_000+'0]}'),
                       dict(path='/v1/chat/completions', data='{"messages":['+'[],'*5_000_000+'0]}')],
        'forms': [dict(path='/chat', data=b'&'*(16 << 20), headers=form), upload(b'\r\n'*(7 << 20)),
                  dict(path='/chat', files=[('x', ('', b'a'))]*5000)],
        '100,000 frames': [upload(many_frames('GIF')), upload(many_frames('TIFF'))],
        '300 logins a minute': [dict(path='/login', page=True, wait=.4, data=dict(username='ada', password='not it'))],
        'large pictures': [upload(large_png())],
        '20,000 spaces': [chat(f'Why?{" "*20_000}A'), chat('<ima'*5000+'ge>'*5000),
                          dict(path='/v1/tutor/answer', json=dict(question='Choices:\n'*2000+' '*2000))]}


def send(urls: tuple, requests_: list, seconds: float, counts):
    "Two clients that send one thing after the other, in a process of their own."
    import requests
    from requests.adapters import HTTPAdapter
    class From(HTTPAdapter):
        def init_poolmanager(self, *args, **kw): super().init_poolmanager(*args, source_address=('127.0.0.2', 0), **kw)
    def work(k):
        session, end, i = requests.Session(), time.time()+seconds, k
        session.mount('http://', From())
        while time.time() < end:
            r = dict(requests_[i % len(requests_)])
            page, wait = r.pop('page', False), r.pop('wait', 0)
            try: status = session.post(urls[0 if page else 1]+r.pop('path'), timeout=60,
                                       headers={'x-api-key': KEY, **r.pop('headers', {})}, **r).status_code
            except requests.exceptions.RequestException: status = 0  # hung up on
            counts.append(status)
            i += 1
            time.sleep(wait)
    threads = [Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads: t.start()
    for t in threads: t.join()


def waits(url: str, seconds: float) -> list[float]:
    "What `/healthz` took, twenty times a second, in milliseconds; a late answer delays none of the others."
    import httpx
    took, threads = [], []
    with httpx.Client(timeout=60, headers={'connection': 'close'}) as client:
        def ask():
            start = time.perf_counter()
            with suppress(httpx.TransportError): client.get(f'{url}/healthz').raise_for_status()
            took.append(1e3*(time.perf_counter()-start))
        ask()
        took.clear()
        for _ in range(round(20*seconds)):
            threads.append(Thread(target=ask))
            threads[-1].start()
            time.sleep(.05)
        for t in threads: t.join()
    return sorted(took)


@contextmanager
def served():
    "The addresses of page and API of a server in a process of its own."
    with tempfile.TemporaryDirectory() as store:
        from sciencetutor.app.store import Store
        Store(store).add_user('ada', 'a long password')
        flags = ['--model', 'tiny', '--port', '0', '--api-port', '0', '--stream-port', '0', '--rate', '0', '--auth',
                 '--store', store, '--api-key', KEY]
        command = [sys.executable, '-m', 'sciencetutor.cli', 'serve', *flags]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try: yield tuple(re.findall(r'http://127\.0\.0\.1:\d+', p.stdout.readline()))
        finally:
            p.terminate()
            p.wait(60)


def main(seconds: float, out: Path):
    rows = {}
    with served() as urls, multiprocessing.Manager() as manager:
        for sent in loads().values(): send(urls, sent or [chat('Why?')], 1, [])  # everything has been used once
        for name, sent in loads().items():
            counts = manager.list()
            p = multiprocessing.Process(target=send, args=(urls, sent, seconds, counts))
            if sent: p.start()
            took = waits(urls[1], seconds)
            if sent: p.join()
            statuses = {str(s): list(counts).count(s) for s in sorted(set(counts))}
            rows[name] = dict(p50_ms=round(statistics.median(took), 1), p99_ms=round(took[int(.99*len(took))], 1),
                              max_ms=round(took[-1], 1), asked=len(took), heavy_requests=statuses)
            print(f"{name:20} p50 {rows[name]['p50_ms']:7} ms   p99 {rows[name]['p99_ms']:7} ms   "
                  f"max {rows[name]['max_ms']:7} ms   {statuses}", flush=True)
    from host import machine
    found = dict(machine=machine(), load_average=os.getloadavg()[0], python=platform.python_version(),
                 seconds_each=seconds, loads=rows)
    out.write_text(json.dumps(found, indent=1)+'\n')


if __name__ == '__main__':
    multiprocessing.set_start_method('spawn')
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seconds', type=float, default=10.)
    parser.add_argument('--out', type=Path, default=ROOT/'bench'/'results'/'healthz.json')
    main(**vars(parser.parse_args()))
