"""What the APIs make of the model's speed, and whether everybody gets a share.

    python bench/serve_bench.py                          everything, into bench/results/serve.json
    python bench/serve_bench.py --model tiny --tokens 8  at toy size, to see that it runs

All in one run, on the CPU, after a warm-up; the same short questions, greedy, the same number of tokens for everybody
(no answer ends early). The clients are a process of their own, on the same machine, and do little: they look for the
first word and for the count at the end. Compared are

- `generate` of transformers in float32, alone and as a static batch of eight, and that batch with the weights we serve;
- our server with those weights, asked by one, by eight and by 32 clients at once, and by one after the other, each
  measured to the last token at the client; the first token idle, and while eight others are being answered;
- `transformers serve` with the same questions, where it can be started and takes the model.

Guesses of the next words are off for all these, and measured by themselves on explanations of samples. Then
`sciencetutor serve` is started as anybody would start it, in a process of its own: the seconds to the first token of a
question of 100 tokens, the tokens per second after it, its resident memory (after these, after eight at once, and at
most), and the tokens per second of the same explanations, guesses and all. `--dtype float32` serves and measures other
weights.
"""
from __future__ import annotations
import argparse, gc, http.client, json, os, platform, socket, statistics, subprocess, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from host import machine

ROOT = Path(__file__).resolve().parent.parent
WORDS = 'sky grass snow rust ice fire rain iron milk salt sand moon sun wind wood glass'.split()


def question(i: int) -> str:
    "The i-th of many questions that are alike in length."
    return f'Question: Why does the {WORDS[i % 16]} look like that on day {i}? Explain it to a child.'


def messages(i: int) -> list:
    "It as a conversation."
    return [dict(role='user', content=[dict(type='text', text=question(i))])]


def static(model, processor, n: int, tokens: int) -> float:
    "Tokens per second of transformers' own `generate` with n prompts in one batch."
    import torch
    from sciencetutor.models.core import render_prompt
    processor.tokenizer.padding_side = 'left'
    inputs = processor(text=[render_prompt(processor, messages(i)) for i in range(n)], padding=True,
                       return_tensors='pt').to(model.device)
    start = time.perf_counter()
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    seconds = time.perf_counter()-start
    processor.tokenizer.padding_side = 'right'
    return n*(ids.shape[1]-inputs['input_ids'].shape[1])/seconds


def whys(n: int = 30) -> list:
    "Conversations whose next turn is an explanation: of words-only samples, rightly answered."
    from sciencetutor.app.turns import Turn
    from sciencetutor.samples.core import make_problems
    asked = [p for p in make_problems(2*n, 'val').values() if not p['image']][:n]
    turns = []
    for p in asked:
        right = [float(i == p['answer']) for i in range(len(p['choices']))]
        turns.append(Turn(p['question'], p['choices'], context=p['hint'], probs=right).messages())
    return turns


def guessing(engine) -> dict:
    "Tokens per second of explanations, written by one who is alone, with guesses and without."
    from sciencetutor.app.turns import EXPLANATION
    draft, spent = engine.batcher.draft, {True: [0, 0.], False: [0, 0.]}
    def why(messages, guesses):
        usage, words, first = {}, '', 0.
        engine.batcher.draft = draft if guesses else lambda r: []
        for delta in engine.generate(messages, max_new_tokens=EXPLANATION, repetition_penalty=1., usage=usage):
            first = first or time.perf_counter()
            words += delta
        if words:
            tokens, seconds = spent[guesses]
            spent[guesses] = [tokens+usage['completion_tokens']-1, seconds+time.perf_counter()-first]
        return words
    asked = whys()
    same = [why(m, True) == why(m, False) for m in asked]
    engine.batcher.draft = draft
    fast, slow = (n/(s or 1) for n, s in (spent[True], spent[False]))
    return dict(n=len(asked), same=sum(same), tokens_per_s=fast, without_tokens_per_s=slow, ratio=fast/(slow or 1))


def client(url: str, model: str, i: int, tokens: int, begun=lambda: None) -> dict:
    "One streamed answer: seconds to the first and to the last token, and how many; `begun` is called at the first."
    where, first, n = urlsplit(url), None, 0
    body = dict(model=model, messages=[dict(role='user', content=question(i))], max_tokens=tokens, temperature=0,
                bare=True, stream=True, stream_options=dict(include_usage=True))
    c, start = http.client.HTTPConnection(where.hostname, where.port, timeout=3600), time.perf_counter()
    c.request('POST', where.path + '/chat/completions', json.dumps(body), {'content-type': 'application/json'})
    answer = c.getresponse()
    if answer.status != 200: raise RuntimeError(f'{answer.status}: {answer.read(300)}')
    for line in answer:
        if not line.startswith(b'data: {') or first is not None and b'"completion_tokens"' not in line: continue
        event = json.loads(line[6:])
        if first is None and any(c['delta'].get('content') for c in event.get('choices', ())):
            first = time.perf_counter()-start
            begun()
        n = (event.get('usage') or {}).get('completion_tokens', n)
    c.close()
    if first is None: begun()  # `tiny` may say nothing that is text
    return dict(first=first, last=time.perf_counter()-start, tokens=n)


def crowd(url: str, model: str, n: int, tokens: int, start: int = 0, begun=lambda: None) -> dict:
    "N clients at once."
    answers, begin = [None]*n, time.perf_counter()
    def one(i): answers[i] = client(url, model, start+i, tokens, begun)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads: t.start()
    for t in threads: t.join()
    seconds, there = time.perf_counter()-begin, [a for a in answers if a]
    last = [a['last'] for a in there]
    return dict(lost=n-len(there), tokens_per_s=sum(a['tokens'] for a in there)/seconds,
                median_s=statistics.median(last), slowest_over_median=max(last)/statistics.median(last),
                ttft_s=statistics.median(a['first'] or a['last'] for a in there))


def among(url: str, model: str, n: int, tokens: int) -> dict:
    "Seconds to the first token, with nobody else there and while n others are being answered."
    idle = client(url, model, 98, 2)
    all_write = threading.Semaphore(0)
    busy = threading.Thread(target=crowd, args=(url, model, n, tokens, 100, all_write.release))
    busy.start()
    for _ in range(n): all_write.acquire(timeout=60)  # everybody has read the prompt
    late = client(url, model, 99, 2)
    busy.join()
    return dict(idle=idle['first'] or idle['last'], among=late['first'] or late['last'])


def in_turn(url: str, model: str, n: int, tokens: int) -> dict:
    "N clients, one after the other."
    client(url, model, 0, 2)
    start = time.perf_counter()
    return dict(tokens_per_s=sum(client(url, model, i, tokens)['tokens'] for i in range(n))/(time.perf_counter()-start))


def child(what, *args) -> dict:
    "`crowd`, `among` or `in_turn` in a process of its own."
    done = subprocess.run([sys.executable, __file__, '--client', what, *map(str, args)],
                          env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    if done.returncode: raise RuntimeError(done.stderr[-500:])
    return json.loads(done.stdout.splitlines()[-1])


def long_question(processor, tokens: int = 100) -> str:
    "A question of so many tokens, as the model reads it."
    text = question(0)
    while len(processor.tokenizer(text)['input_ids']) < tokens: text += ' Say ' + WORDS[len(text) % 16] + '.'
    return text


def rss(pid: int, what: str = 'VmRSS') -> float:
    "Resident memory of a process in MB: now, or at most so far (`VmHWM`)."
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return int(next(l for l in lines if l.startswith(what)).split()[1])*1024/1e6


def product(model: str, text: str, tokens: int, dtype: str) -> dict:
    "What `sciencetutor serve` does for one child, and what it needs."
    command = [sys.executable, '-m', 'sciencetutor.cli', 'serve', '--model', model, '--port', '0', '--one-port',
               '--rate', '0', *(['--load-in-4bit'] if dtype == '4bit' else ['--dtype', dtype])]
    start = time.perf_counter()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))
    try:
        url = 'http' + p.stdout.readline().split(' at http')[1].split()[0]
        started = time.perf_counter()-start
        import requests
        from sciencetutor.app.turns import EXPLANATION
        def ask(messages, tokens):
            first, start, usage = None, time.perf_counter(), {}
            body = dict(messages=messages, bare=True, max_tokens=tokens, temperature=0, stream=True,
                        stream_options=dict(include_usage=True))
            with requests.post(f'{url}/v1/chat/completions', json=body, stream=True) as r:
                for line in r.iter_lines():
                    event = json.loads(line[6:]) if line.startswith(b'data: {') else {}
                    if first is None and any(c['delta'].get('content') for c in event.get('choices', ())):
                        first = time.perf_counter()
                    usage = event.get('usage') or usage
            first = first or time.perf_counter()
            return first-start, usage['completion_tokens']-1, time.perf_counter()-first, usage['prompt_tokens']
        ask(messages(1), tokens)
        asked = [ask([dict(role='user', content=f'{i}. {text}')], tokens) for i in range(3)]
        time.sleep(1)  # what the answers needed is handed back when nobody waits
        one = rss(p.pid)
        choices = ['Because of the light.', 'Because it is cold.', 'Nobody knows.']
        requests.post(f'{url}/v1/tutor/answer', json=dict(question=question(2), choices=choices))
        crowd(f'{url}/v1', model, 8, min(tokens, 32))
        memory = dict(rss_mb=one, rss_after_eight_mb=rss(p.pid), rss_most_mb=rss(p.pid, 'VmHWM'))
        _, said, seconds, _ = zip(*(ask(m, EXPLANATION) for m in whys()))
        return dict(dtype=dtype, start_s=started, prompt_tokens=asked[0][3],
                    first_token_s=statistics.median(a[0] for a in asked),
                    tokens_per_s=statistics.median(n/max(1e-6, s) for _, n, s, _ in asked),
                    explanation_tokens_per_s=sum(said)/sum(seconds), **memory)
    finally:
        p.terminate()
        p.wait(60)


def transformers_serve(model: str, tokens: int, n: int = 8) -> dict:
    "The same crowd at `transformers serve`, or why not."
    from sciencetutor.models.core import resolve_model
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    name = resolve_model(model)
    command = [Path(sys.executable).with_name('transformers'), 'serve', name, '--port', str(port), '--dtype', 'float32']
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        url, end = f'http://127.0.0.1:{port}/v1', time.time()+180
        while time.time() < end and p.poll() is None:
            try:
                client(url, name, 0, 2)
                return child('crowd', url, name, n, tokens)
            except Exception as e: why = type(e).__name__
            time.sleep(2)
        if p.poll() is None: return dict(error=why)
        return dict(error=(p.stderr.read().strip().splitlines() or ['it ended'])[-1][:200])
    finally:
        p.terminate()
        p.wait(20)


def versions() -> dict:
    "The machine, and the versions of what is measured on it."
    import torch, transformers
    return dict(machine=machine(), python=platform.python_version(), torch=torch.__version__,
                transformers=transformers.__version__)


def no_shortcuts(engine):
    "Let everybody get the same number of tokens, and let every prompt be read."
    engine.eos = set()
    engine.batcher.draft = lambda r: []  # what follows an end repeats itself and is too easily guessed
    engine.batcher.prefixes.kept.clear()
    engine.batcher.prefixes.put = lambda *a: None


@contextmanager
def serving(engine) -> str:
    "The APIs on a port of this process; gives their address."
    import uvicorn
    from sciencetutor.serve.api import make_api
    sock = socket.create_server(('127.0.0.1', 0))
    server = uvicorn.Server(uvicorn.Config(make_api(engine, rate=0), log_level='critical'))
    threading.Thread(target=server.run, args=([sock],), daemon=True).start()
    while not server.started: time.sleep(.02)
    try: yield f'http://127.0.0.1:{sock.getsockname()[1]}/v1'
    finally: server.should_exit = True


def compare(engine, theirs, processor, a) -> dict:
    "Medians over some rounds: `generate` of transformers beside our server, and their ratios in each round."
    from sciencetutor.engine.core import run_in_thread
    def batch(n, model=theirs, tokens=a.tokens): return run_in_thread(static, model, processor, n, tokens)
    rounds = []
    with serving(engine) as url:
        def speed(what, n): return child(what, url, a.model, n, a.tokens)['tokens_per_s']
        for model in theirs, engine.model: batch(2, model, 4)
        for _ in range(a.runs):
            r = dict(generate_alone=batch(1), generate_static_8=batch(8),
                     generate_static_8_served=batch(8, engine.model))
            r |= dict(server_one=speed('crowd', 1), server_eight=speed('crowd', 8), server_in_turn=speed('in_turn', 4))
            first = child('among', url, a.model, 8, a.tokens)
            r |= dict(ttft_idle_s=first['idle'], ttft_among_8_s=first['among'])
            rounds.append(r | ratios(r))
        many = child('crowd', url, a.model, 32, a.tokens)
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]} | dict(thirty_two=many)


def ratios(r: dict) -> dict:
    "What one round says of the server beside `generate`."
    return dict(
        eight_over_static_8=r['server_eight']/r['generate_static_8'],
        eight_over_static_8_served=r['server_eight']/r['generate_static_8_served'],
        one_over_alone=r['server_one']/r['generate_alone'],
        eight_over_in_turn=r['server_eight']/r['server_in_turn'],
        ttft_among_8_over_idle=r['ttft_among_8_s']/r['ttft_idle_s'])


def report(r: dict):
    "Print the results, a line for each question."
    why, many, own = r['guessing'], r['thirty_two'], r['product']
    print(f"one stream: {r['server_one']:.1f} tokens/s, {r['one_over_alone']:.2f} of `generate` alone")
    print(f"explanations, with guesses: {why['tokens_per_s']:.1f} tokens/s, {why['ratio']:.2f} of "
          f"{why['without_tokens_per_s']:.1f} without; {why['same']} of {why['n']} word for word the same")
    print(f"eight streams: {r['server_eight']:.1f} tokens/s, {r['eight_over_static_8']:.2f} of a static batch of eight "
          f"in float32, {r['eight_over_static_8_served']:.2f} of one with the same weights, "
          f"{r['eight_over_in_turn']:.1f} times one after the other")
    print(f"first token: {1e3*r['ttft_idle_s']:.0f} ms idle, {1e3*r['ttft_among_8_s']:.0f} ms beside eight others "
          f"({r['ttft_among_8_over_idle']:.1f} times)")
    print(f"32 at once: {many['tokens_per_s']:.1f} tokens/s, {many['lost']} lost, "
          f"slowest {many['slowest_over_median']:.2f} times the median")
    print(f"sciencetutor serve ({own['dtype']}): {own['first_token_s']:.2f} s to the first token of "
          f"{own['prompt_tokens']} tokens, {own['tokens_per_s']:.1f} tokens/s after it, "
          f"{own['explanation_tokens_per_s']:.1f} of 30 explanations; "
          f"{own['rss_mb']:.0f} MB resident, {own['rss_after_eight_mb']:.0f} MB after eight at once, "
          f"{own['rss_most_mb']:.0f} MB at most; up in {own['start_s']:.0f} s")
    if peer := r.get('transformers_serve_eight'):
        print('transformers serve, eight streams:', peer.get('error') or f"{peer['tokens_per_s']:.1f} tokens/s")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--model', default='tutor')
    p.add_argument('--tokens', type=int, default=128, help='new tokens of each answer')
    p.add_argument('--runs', type=int, default=3, help='runs to take the median of')
    p.add_argument('--peer', action=argparse.BooleanOptionalAction, default=True,
                   help='compare with `transformers serve`')
    p.add_argument('--dtype', default='auto', help='as for `sciencetutor serve`')
    p.add_argument('--client', nargs=5, metavar=('WHAT', 'URL', 'MODEL', 'N', 'TOKENS'),
                   help='the clients alone, as JSON')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for serve.json')
    a = p.parse_args()
    if a.client:
        what, url, model, n, tokens = a.client
        if what == 'crowd': client(url, model, 97, 2)  # connections and imports are warm
        return print(json.dumps(dict(crowd=crowd, among=among, in_turn=in_turn)[what](url, model, int(n), int(tokens))))
    from sciencetutor.engine.core import run_in_thread
    from sciencetutor.models.core import load_model
    from sciencetutor.serve.core import make_engine
    engine = make_engine(a.model, dtype=a.dtype)
    theirs, processor = run_in_thread(load_model, a.model, dtype='float32')
    result = dict(versions(), model=a.model, dtype=engine.dtype, tokens=a.tokens, runs=a.runs)
    explanations = guessing(engine)
    no_shortcuts(engine)
    result |= compare(engine, theirs, processor, a) | dict(guessing=explanations)
    text = long_question(engine.processor)
    del engine, theirs  # before the next two measure memory and speed of their own
    gc.collect()
    result['product'] = product(a.model, text, a.tokens, a.dtype)
    if a.peer: result['transformers_serve_eight'] = transformers_serve(a.model, a.tokens)
    report(result)
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'serve.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
