"""Should somebody else's engine write the tutor's answers? openvino-genai beside our batching, with the same weights.

    python bench/engines_bench.py                 all, into bench/results/engines.json
    python bench/engines_bench.py --tokens 16     short, to see that it runs; nothing is kept

openvino-genai reads GGUF, so the tutor's language model is written as one, in float16 and in eight bits a weight (Q8_0:
with its own arithmetic, in eight bits too, and "exact", in float32), into a temporary folder; it lives in
`.venv-openvino`, made at the first run. Each engine is a process of its own: the seconds to the first token of a prompt
of 100 tokens, tokens per second after it, for one stream and for eight at once (medians of `--runs`, greedy, no answer
ends early), the largest difference of log-likelihoods of three replies from PyTorch's in float32, and the peak of its
memory. Ours is the engine of the server with its default weights; both are without the page and the API. `alike` is how
many of eight greedy answers are the same beside the others as alone, `choice_ms` the processor's time for one reply
after a prompt of a hundred tokens. openvino-genai goes without its cache of prefixes: with one it gives no
log-likelihoods of the tokens that it knows already, so that it could not score.
"""
from __future__ import annotations
import argparse, json, resource, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path
from host import machine

ROOT = Path(__file__).resolve().parent.parent
PYTHON, GENAI = ROOT/'.venv-openvino/bin/python', 'openvino-genai==2026.4.1.0'
EXACT = dict(INFERENCE_PRECISION_HINT='f32', KV_CACHE_PRECISION='f16', DYNAMIC_QUANTIZATION_GROUP_SIZE='0')
ARITHMETIC = {'F16': EXACT | dict(KV_CACHE_PRECISION='f32'), 'Q8_0': {}, 'Q8_0 exact': EXACT}
QUESTION, CHOICES = 'Which of these is a mammal?', ['a dog', 'a trout', 'a frog']


def add_sizes(writer, c, kind: str):
    "The shapes of the language model, from its configuration."
    import gguf
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters['rope_theta'])
    writer.add_rope_dimension_count(c.hidden_size//c.num_attention_heads)
    writer.add_vocab_size(c.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == 'Q8_0' else gguf.LlamaFileType.MOSTLY_F16)


def add_tokenizer(writer, tokenizer, size: int):
    "The vocabulary and its merges."
    import gguf
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())['model']
    words = [tokenizer.convert_ids_to_tokens(i) or f'<unused {i}>' for i in range(size)]
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre('smollm')
    writer.add_token_list(words)
    writer.add_token_merges([m if isinstance(m, str) else ' '.join(m) for m in bpe['merges']])
    writer.add_token_types([gguf.TokenType.NORMAL if w in bpe['vocab'] else gguf.TokenType.CONTROL for w in words])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def write_gguf(model, tokenizer, path: Path, kind: str):
    "The language model as a GGUF file; kind as `GGMLQuantizationType` names it."
    import gguf
    lm, writer, quant = model.model.language_model, gguf.GGUFWriter(path, 'llama'), gguf.GGMLQuantizationType[kind]
    c = lm.config
    add_sizes(writer, c, kind)
    add_tokenizer(writer, tokenizer, c.vocab_size)

    def put(name, part, heads=0):
        a = part.weight.detach().float().numpy()
        if heads:  # GGUF turns pairs of neighbours
            a = a.reshape(heads, 2, len(a)//heads//2, -1).swapaxes(1, 2).reshape(a.shape)
        if a.ndim == 2: writer.add_tensor(f'{name}.weight', gguf.quants.quantize(a, quant), raw_dtype=quant)
        else: writer.add_tensor(f'{name}.weight', a)
    put('token_embd', lm.embed_tokens)
    put('output_norm', lm.norm)
    for i, l in enumerate(lm.layers):
        a, m = l.self_attn, l.mlp
        put(f'blk.{i}.attn_q', a.q_proj, c.num_attention_heads)
        put(f'blk.{i}.attn_k', a.k_proj, c.num_key_value_heads)
        parts = dict(attn_v=a.v_proj, attn_output=a.o_proj, ffn_gate=m.gate_proj, ffn_up=m.up_proj,
                     ffn_down=m.down_proj, attn_norm=l.input_layernorm, ffn_norm=l.post_attention_layernorm)
        for name, part in parts.items(): put(f'blk.{i}.{name}', part)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def prepare(folder: Path) -> dict:
    "Both files, and what PyTorch says in float32."
    import torch
    from sciencetutor.models.core import load_model, render_prompt
    from sciencetutor.models.scoring import encode_reply
    model, processor = load_model('tutor', dtype='float32')
    for kind in ('F16', 'Q8_0'): write_gguf(model, processor.tokenizer, folder/f'{kind}.gguf', kind)
    prompt = processor.tokenizer(render_prompt(processor, [dict(role='user', content=QUESTION)]))['input_ids']
    replies, scores = [encode_reply(processor, c) for c in CHOICES], []
    with torch.inference_mode():
        for r in replies:
            logp = model(input_ids=torch.tensor([prompt + r])).logits[0].log_softmax(-1)
            scores.append([float(logp[len(prompt) - 1 + i, t]) for i, t in enumerate(r)])
    return dict(prompt=prompt, long=(prompt*10)[:100], replies=replies, scores=scores)


def openvino(folder: Path, kind: str, given: dict, tokens: int, runs: int) -> dict:
    "openvino-genai's continuous batching; runs in its own environment."
    import numpy as np, openvino as ov, openvino_genai as genai
    settings, file = genai.SchedulerConfig(), folder/f'{kind.split()[0]}.gguf'
    settings.cache_size, settings.max_num_batched_tokens, settings.dynamic_split_fuse = 1, 4096, True
    pipe = genai.ContinuousBatchingPipeline(str(file), settings, 'CPU', ARITHMETIC[kind])

    def ask(prompts, **kw):
        config = genai.GenerationConfig()
        for k, v in (dict(max_new_tokens=tokens, eos_token_id=2) | kw).items(): setattr(config, k, v)
        begin, first, said, ids = time.perf_counter(), {}, [[] for _ in prompts], [[] for _ in prompts]
        handles = [pipe.add_request(i, ov.Tensor(np.array([p], np.int64)), config) for i, p in enumerate(prompts)]
        while pipe.has_non_finished_requests():
            pipe.step()
            for i, h in enumerate(handles):
                while h.can_read():
                    first.setdefault(i, time.perf_counter() - begin)
                    for o in h.read().values():
                        said[i] += o.generated_log_probs
                        ids[i] += o.generated_ids
        return time.perf_counter() - begin, first[0], said, ids
    n, off = len(given['prompt']), 0.
    for r, want in zip(given['replies'], given['scores']):
        got = ask([given['prompt'] + r], echo=True, logprobs=1, max_new_tokens=1)[2][0][n:n + len(r)]
        off = max(off, *(abs(a - b) for a, b in zip(got, want)))
    def written(prompts): return ask(prompts, ignore_eos=True)
    def together(k): return written([[300 + i, *given['long'][1:]] for i in range(k)])[:2]
    some = [[300 + i, *(given['long']*3)[1:20 + 33*i]] for i in range(8)]  # of several lengths
    alike = sum(a == written([p])[3][0] for a, p in zip(written(some)[3], some))
    begin = time.process_time()
    for i in range(4): ask([[500 + i, *given['long'][1:], *r] for r in given['replies']], echo=True, logprobs=1,
                           max_new_tokens=1)
    choice_ms = 1000*(time.process_time() - begin)/4/len(given['replies'])
    return dict(off=off, alike=alike, choice_ms=choice_ms, **speed(together, tokens, runs))


def ours(given: dict, tokens: int, runs: int) -> dict:
    "The engine of `sciencetutor serve`, with the weights that it takes."
    import torch
    from sciencetutor.engine.batching import Request, Sampling
    from sciencetutor.engine.core import Engine, run_in_thread
    from sciencetutor.models.fp16 import quickest_dtype
    engine = Engine('tutor', dtype=quickest_dtype())
    engine.batcher.draft = lambda r: []  # what follows an end repeats itself and is too easily guessed

    @torch.inference_mode()
    def farthest():
        n, off = len(given['prompt']), 0.
        for r, want in zip(given['replies'], given['scores']):
            logp = engine.model(input_ids=torch.tensor([given['prompt'] + r])).logits[0].float().log_softmax(-1)
            off = max(off, *(abs(float(logp[n - 1 + i, t]) - w) for i, (t, w) in enumerate(zip(r, want))))
        return off

    def ask(k):
        begin, first = time.perf_counter(), []
        def one(i):
            ids = torch.tensor([[300 + i, *given['long'][1:]]])
            r = Request(dict(input_ids=ids), engine.processor.tokenizer, Sampling(tokens, repetition_penalty=1.))
            with engine.submitted(r, None):
                while r.usage.get('completion_tokens', 0) < 1: time.sleep(.001)
                first.append(time.perf_counter() - begin)
                while r.output.get() is not None: pass
        threads = [threading.Thread(target=one, args=(i,)) for i in range(k)]
        for t in threads: t.start()
        for t in threads: t.join()
        return time.perf_counter() - begin, min(first)
    def score(i):
        ids = torch.tensor([[500 + i, *given['long'][1:]]])
        r = Request(dict(input_ids=ids), engine.processor.tokenizer, branches=given['replies'])
        return next(engine.outputs(r, None))
    begin = time.process_time()
    for i in range(4): score(i)
    choice_ms = 1000*(time.process_time() - begin)/4/len(given['replies'])
    off = run_in_thread(farthest)
    return dict(off=off, choice_ms=choice_ms, **speed(ask, tokens, runs))  # all are alike: tests/test_engine.py


def speed(ask, tokens: int, runs: int) -> dict:
    "Tokens per second of one stream after its first token, and of eight in all; seconds to the first token."
    ask(1)
    one, eight = [ask(1) for _ in range(runs)], [ask(8) for _ in range(runs)]
    return dict(first_token_s=statistics.median(f for _, f in one),
                one=statistics.median((tokens - 1)/(s - f) for s, f in one),
                eight=statistics.median(8*tokens/s for s, _ in eight),
                peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--tokens', type=int, default=128, help='new tokens of each answer')
    p.add_argument('--runs', type=int, default=3, help='runs to take the median of')
    p.add_argument('--one', nargs=2, metavar=('WHAT', 'FOLDER'), help='one engine, as JSON')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for engines.json')
    a = p.parse_args()
    if a.one:
        what, folder = a.one[0], Path(a.one[1])
        if what == 'prepare': return (folder/'given.json').write_text(json.dumps(prepare(folder)))
        given = json.loads((folder/'given.json').read_text())
        if what == 'ours': measured = ours(given, a.tokens, a.runs)
        else: measured = openvino(folder, what, given, a.tokens, a.runs)
        return print(json.dumps(measured))
    if not PYTHON.exists():
        subprocess.run([sys.executable, '-m', 'venv', str(PYTHON.parent.parent)], check=True)
        subprocess.run([PYTHON, '-m', 'pip', 'install', '--quiet', GENAI], check=True)
    with tempfile.TemporaryDirectory() as tmp:
        def run(what, python=sys.executable):
            command = [str(python), __file__, '--one', what, tmp, '--tokens', str(a.tokens), '--runs', str(a.runs)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            return json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else None
        run('prepare')
        report = dict(machine=machine(), openvino_genai=GENAI.partition('==')[2], tokens=a.tokens, runs=a.runs,
                      ours=run('ours'), **{k: run(k, PYTHON) for k in ARITHMETIC})
    for k in ('ours', *ARITHMETIC):
        r = report[k]
        print(f"{k:10} {r['one']:6.1f} tokens/s, eight at once {r['eight']:6.1f}, "
              f"first token {1000*r['first_token_s']:4.0f} ms, peak {r['peak_mb']:,.0f} MB, "
              f"log-likelihoods off by {r['off']:.4f} at most, "
              f"{r['choice_ms']:.0f} ms a choice, {r.get('alike', 8)} of 8 alike")
    if a.tokens == p.get_default('tokens'): (Path(a.out)/'engines.json').write_text(json.dumps(report, indent=1) + '\n')


if __name__ == '__main__': main()
