"""What a GPU does with models of 7 billion parameters: training, evaluation, serving; at most 12 minutes.

    make gpu                                              everything, into bench/results/gpu.json
    make gpu PARTS="lora serve"                           some parts; the others stay in the file
    make gpu SIZE=tiny                                    every path on a CPU, with toys, into build/gpu.json

Models have the shapes of LLaVA-1.5-7B and Qwen2.5-VL-7B and random weights, which are made as they are loaded and
never lie on a disk; their tokenizer has a token for each byte, so a question has more tokens than it would have with
theirs: compare tokens/s, or ours with a peer's. Everything else is the stages as they are: `lora` and `qlora` train
adapters, padded and packed; `letter` evaluates, extrapolated to the 4,241 questions of ScienceQA's test split; `serve`
writes one answer and eight at once, none of which ends early, the prompt included in the time; `fp16` runs all three
in that number format; `fourbit` trains and serves in 4 bits with no more memory than a card of 16 GB has. `trl` and
`vllm` are the peers, where they are installed (TRL: `bench/train_bench.py` makes its environment). Each part is a
process of its own with a limit of time, and the file is written after each measurement: a part that fails says why
there, and a run that is cut keeps what it has. Questions are SCIENCEQA_DIR's, or samples without it.
"""
from __future__ import annotations
import argparse, gc, json, math, os, signal, statistics, subprocess, sys, tempfile, threading, time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/'bench'), str(ROOT/'tests')]
MODELS = {'llava-1.5-7b': 'llava', 'qwen2.5-vl-7b': 'qwen2_5_vl'}  # names in tests/miniatures.py
LIMITS = dict(lora=90, qlora=100, letter=60, serve=60, fp16=70, fourbit=90, trl=80, vllm=150)  # seconds of a part
SIZES = {'7b': dict(questions=320, steps=24, batch_tokens=4096, lora_r=64, tokens=128, runs=3),
         'tiny': dict(questions=16, steps=3, batch_tokens=2048, lora_r=4, tokens=6, runs=1)}
PEERS = dict(trl='TRL is not installed: bench/train_bench.py makes .venv-bench for it', vllm='vLLM is not installed')
TEST_SPLIT, BUDGET_GB, MARK = 4241, 16, 'MEASURED '


def full_llava(processor):
    "The configuration of LLaVA-1.5-7B; the processor is made to fit."
    import transformers as T
    processor.patch_size, side = 14, dict(height=336, width=336)
    processor.image_processor.size, processor.image_processor.crop_size = dict(shortest_edge=336), side
    vision = dict(image_size=336, patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
                  num_attention_heads=16, projection_dim=768)
    return T.LlavaConfig(vision_config=T.CLIPVisionConfig(**vision), text_config=T.LlamaConfig(vocab_size=32064,
        max_position_embeddings=4096, pad_token_id=0), image_token_index=processor.image_token_id, image_seq_length=576)


def full_qwen(config, processor):
    "The configuration of Qwen2.5-VL-7B; the processor is made to fit."
    import transformers as T
    processor.image_processor.patch_size = 14
    processor.image_processor.size = dict(shortest_edge=56*56, longest_edge=28*28*1280)
    text = dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, pad_token_id=0,
                num_attention_heads=28, num_key_value_heads=4, max_position_embeddings=32768, tie_word_embeddings=False,
                rope_parameters=dict(rope_type='default', rope_theta=1e6, mrope_section=[16, 24, 24]))
    vision = dict(depth=32, hidden_size=1280, intermediate_size=3420, out_hidden_size=3584, num_heads=16, patch_size=14,
                  window_size=112, fullatt_block_indexes=[7, 15, 23, 31])
    names = 'image_token_id', 'video_token_id', 'vision_start_token_id', 'vision_end_token_id'
    return T.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False,
                              **{k: getattr(config, k) for k in names})


def wider(config):
    "The miniature, as wide as 4-bit arithmetic needs it: 64 numbers share a scale."
    for part in (config.text_config, config.vision_config):
        for k in ('hidden_size', 'out_hidden_size'):
            if hasattr(part, k): setattr(part, k, 64)
        part.intermediate_size = 128
    config.text_config.num_attention_heads, config.text_config.num_key_value_heads = 8, 4
    return config


def skeleton(name: str, size: str, folder: Path) -> str:
    "A checkpoint folder with everything but weights."
    import miniatures
    from safetensors.torch import save_file
    from sciencetutor.models.compat import without_videos
    with without_videos(): config, processor = miniatures.FAMILIES[MODELS[name]]()
    if size == 'tiny': config = wider(config)
    else: config = full_llava(processor) if name.startswith('llava') else full_qwen(config, processor)
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    save_file({}, folder/'model.safetensors')  # a checkpoint without any is refused
    return str(folder)


def random_state(model) -> dict:
    "Weights for a model on the meta device, in bf16: pieces of one random block, for the loader to copy to the GPU."
    import torch
    state = model.state_dict()
    noise = .02*torch.randn(1_000_003)  # a prime: the rows of a matrix differ
    most = max(t.numel() for t in state.values())
    noise = noise.to(torch.bfloat16).repeat(math.ceil(most/len(noise)))[:most]
    def values(k, t):
        if 'norm' in k and k.endswith('weight') and t.ndim == 1: return torch.ones(t.shape, dtype=noise.dtype)
        piece = noise[:t.numel()].view(t.shape)
        return piece if torch.cuda.is_available() else piece.clone()  # on a CPU the loader may keep what it gets
    return {k: values(k, t) for k, t in state.items()}


@contextmanager
def random_weights():
    "In this context `from_pretrained` reads a configuration and makes weights up."
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText as Auto
    def made(folder, **options):
        config = AutoConfig.from_pretrained(folder)
        with torch.device('meta'): model = Auto.from_config(config, dtype=torch.bfloat16)
        if torch.cuda.is_available(): options['device_map'] = options.get('device_map') or 'cuda:0'
        return type(model).from_pretrained(None, config=config, state_dict=random_state(model), **options)
    with patch.object(Auto, 'from_pretrained', made): yield


def emit(name: str, value):
    "Tell the parent a measurement."
    print(MARK + json.dumps({name: value}), flush=True)


def fresh():
    "Forget the measurement before: its memory and its peak."
    import torch
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float:
    "Peak memory since `fresh`, GB; on a CPU of this process."
    from train_bench import peak
    return round(peak()/1e3, 3)


def train(a, **kw) -> dict:
    "The train stage: rates are medians over its steps, without the first quarter."
    from sciencetutor.train.core import run_train
    fresh()
    kw = dict(steps=a.steps, batch_tokens=a.batch_tokens, precision='auto') | kw
    with tempfile.TemporaryDirectory() as out:
        r = run_train(data=a.train_data, model=a.folder, out=f'{out}/ck', objective='answer', lora_r=a.lora_r,
                      freeze=['vision'], adapter=True, warmup=2, force=True, **kw)
    s, log = r['settings'], r['log'][len(r['log'])//4:]
    def mid(k): return statistics.median(l[k] for l in log if k in l) if any(k in l for l in log) else None
    asked = {k: s[k] for k in ('precision', 'packing', 'load_in_4bit', 'gradient_checkpointing', 'batch_tokens')}
    return dict(samples_per_s=mid('samples_per_second'), tokens_per_s=mid('tokens_per_second'), mfu=mid('mfu'),
                peak_gb=peak_gb(), estimated_gb=round(r['memory']['total']/1e9, 3), padding=r['padding'],
                steps=r['steps'], questions=r['questions'], loss=r['log'][-1]['loss'], **asked)


def padded_and_packed(a, **kw):
    "Both layouts of a batch, of as many tokens."
    from sciencetutor.models.core import load_processor
    from sciencetutor.models.inputs import can_pack
    emit('padded', train(a, **kw))
    emit('packed', train(a, packing=True, **kw) if can_pack(load_processor(a.folder)) else 'not for this family')


def letter(a, dtype: str = 'bfloat16', name: str = 'letter', n: int | None = None):
    "The eval stage's own loop."
    from eval_bench import stage
    fresh()
    r = stage(a.eval_data, a.folder, n or a.questions, 'letter', dtype)
    each = r['count']/r['seconds']
    emit(name, dict(questions=r['count'], questions_per_s=round(each, 2), dtype=dtype, peak_gb=peak_gb(),
                    test_split_s=round(TEST_SPLIT/each, 1)))


def question(i: int) -> list:
    "One of several conversations of about a hundred tokens, none a copy of another."
    text = f'{i}. Which of these animals is a mammal, and how can you tell it from the rest?'
    return [dict(role='user', content=text)]


def rates(ask, a) -> dict:
    "Tokens/s of one stream and of eight; ask: number of streams -> tokens that were written."
    def rate(k):
        begin = time.perf_counter()
        return ask(k)/(time.perf_counter() - begin)
    rate(8)
    return {f'{name}_tokens_per_s': round(statistics.median(rate(k) for _ in range(a.runs)), 1)
            for name, k in dict(one=1, eight=8).items()}


def serve(a, name: str = 'serve', **how):
    "The engine of the server; with a picture it scores choices, too."
    from PIL import Image
    from sciencetutor.engine.core import Engine
    fresh()
    engine = Engine(a.folder, **how)
    engine.eos = set()  # no answer ends early
    engine.batcher.draft = lambda r: []  # random weights repeat themselves and are too easily guessed
    def ask(k):
        used = [{} for _ in range(k)]
        def one(i):
            for _ in engine.generate(question(i), usage=used[i], max_new_tokens=a.tokens, repetition_penalty=1.): pass
        threads = [threading.Thread(target=one, args=(i,)) for i in range(k)]
        for t in threads: t.start()
        for t in threads: t.join()
        return sum(u['completion_tokens'] for u in used)
    seen = [dict(role='user', content=[dict(type='image'), dict(type='text', text='Which one?')])]
    scores = engine.score(seen, ['a cat', 'a dog'], [Image.new('RGB', (336, 336))])
    emit(name, dict(rates(ask, a), tokens=a.tokens, dtype=engine.dtype, peak_gb=peak_gb(),
                    scores_finite=len(scores) == 2 and all(map(math.isfinite, scores))))


def fp16(a):
    "All three stages in float16."
    emit('train', train(a, precision='fp16', steps=min(a.steps, 6)))
    letter(a, 'float16', n=min(a.questions, 64))
    serve(a, dtype='float16')


def fourbit(a):
    "Training and serving in 4 bits within the memory of a small card."
    import torch
    from sciencetutor.train.memory_estimate import CONTEXT
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1., (BUDGET_GB*1e9 - CONTEXT)/total))
    emit('budget', f'{BUDGET_GB} GB' if torch.cuda.is_available() else 'needs a GPU: on a CPU nothing holds it')
    emit('train', train(a, load_in_4bit=True, gradient_checkpointing=True, batch_tokens=2048, steps=min(a.steps, 8)))
    serve(a, load_in_4bit=True)


def trl(a):
    "TRL's SFTTrainer on the same questions, padded: it refuses to pack pictures."
    import train_bench
    from sciencetutor.models.compat import without_videos
    from sciencetutor.train.efficiency import pick_precision
    fresh()
    a.data, a.batch, a.gradient_checkpointing, a.precision = a.train_data, 8, False, pick_precision('auto')
    a.projector = 'multi_modal_projector' if 'llava' in a.model else 'merger'
    with without_videos(): r = train_bench.trl(a)
    emit('padded', dict(samples_per_s=round(r['examples']/r['seconds'], 2), padding=r['padding'], batch=a.batch,
                        peak_gb=peak_gb()))


def vllm(a):
    "The same questions for vLLM, with weights of its own making."
    from vllm import LLM, SamplingParams
    from sciencetutor.models.core import load_processor, render_prompt
    processor = load_processor(a.folder)
    ids = [processor.tokenizer(render_prompt(processor, question(i)))['input_ids'] for i in range(8)]
    llm = LLM(a.folder, load_format='dummy', dtype='bfloat16', max_model_len=2048, gpu_memory_utilization=.6,
              limit_mm_per_prompt=dict(image=0, video=0))
    how = SamplingParams(temperature=0., max_tokens=a.tokens, ignore_eos=True)
    def ask(k):
        done = llm.generate([dict(prompt_token_ids=p) for p in ids[:k]], how, use_tqdm=False)
        return sum(len(d.outputs[0].token_ids) for d in done)
    emit('serve', dict(rates(ask, a), tokens=a.tokens))


PARTS = dict(lora=padded_and_packed, qlora=lambda a: padded_and_packed(a, load_in_4bit=True), letter=letter,
             serve=lambda a: serve(a, dtype='auto'), fp16=fp16, fourbit=fourbit, trl=trl, vllm=vllm)


def run_part(a):
    "The child: a part on a model, its measurements told one by one."
    if a.part in PEERS and not find_spec(a.part): return emit('skipped', PEERS[a.part])
    try:
        with random_weights(): PARTS[a.part](a)
    except (Exception, SystemExit) as e:
        emit('error', f'{type(e).__name__}: {(str(e).strip() or "no reason").splitlines()[0][:300]}')
        raise


def python_of(part: str) -> str:
    "The interpreter of a part: TRL may live in an environment of its own."
    from train_bench import PEERS as own
    return own['trl'] if part == 'trl' and Path(own['trl']).exists() else sys.executable


def child(part: str, given: dict, limit: float, keep) -> None:
    "Run a part for so many seconds at most; keep: takes what was measured, each time that there is more."
    env = dict(os.environ, TQDM_DISABLE='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
    begin, got, late = time.monotonic(), {}, threading.Event()
    with tempfile.TemporaryFile('w+') as err:
        p = subprocess.Popen([python_of(part), __file__, '--one', json.dumps(dict(given, part=part))], env=env,
                             stdout=subprocess.PIPE, stderr=err, text=True, errors='replace', start_new_session=True)
        def stop():
            late.set()
            os.killpg(p.pid, signal.SIGKILL)
        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            for line in p.stdout:
                if line.startswith(MARK): keep(got := got | json.loads(line.removeprefix(MARK)))
            code = p.wait()
        finally:
            timer.cancel()
            if p.poll() is None: stop()
        err.seek(0)
        said = err.read().strip().splitlines() or ['no word']
    if late.is_set(): got['error'] = f'cut after {limit:.0f} s'
    elif code and 'error' not in got: got['error'] = f'ended with {code}: {said[-1][:300]}'
    keep(got | dict(seconds=round(time.monotonic() - begin, 1)))


def header(size: str) -> dict:
    "What the measurements belong to."
    import torch, transformers
    from host import machine
    from sciencetutor.train.efficiency import describe_hardware
    where = describe_hardware() if torch.cuda.is_available() else machine()
    return dict(machine=where, torch=torch.__version__, transformers=transformers.__version__, size=size,
                data='real' if os.environ.get('SCIENCEQA_DIR') else 'samples', **SIZES[size])


def earlier(path: Path, about: dict) -> dict:
    "What a run before measured of the same on the same machine: model -> part -> measurements."
    try: old = json.loads(path.read_text())
    except (OSError, ValueError): return {}
    return old.get('models', {}) if all(old.get(k) == v for k, v in about.items()) else {}


def tell(model: str, part: str, got: dict):
    "A part in a few lines."
    for k, v in got.items():
        shown = ', '.join(f'{n} {x}' for n, x in v.items() if x is not None) if isinstance(v, dict) else v
        print(f'{model} {part} {k}: {shown}', flush=True)


def measure_all(a, tmp: Path, path: Path):
    "Every part on every model, the file written after each measurement."
    import eval_bench, train_bench
    from sciencetutor.files import write_atomic
    about, begin, given = header(a.size), time.monotonic(), SIZES[a.size]
    report = about | dict(models=earlier(path, about))
    train_bench.prepare(tmp/'train', given['questions'])
    eval_bench.prepare(tmp/'eval', given['questions'])
    path.parent.mkdir(parents=True, exist_ok=True)
    folders = {m: skeleton(m, a.size, tmp/m) for m in a.models}
    given = given | dict(train_data=str(tmp/'train/data'), eval_data=str(tmp/'eval/data'))
    for part in a.parts:
        for model in a.models:
            def keep(got):
                report['models'].setdefault(model, {})[part] = got
                write_atomic(path, json.dumps(report, indent=1) + '\n')
            left = 60*a.minutes - (time.monotonic() - begin)
            if left < 5: keep(report['models'].get(model, {}).get(part) or dict(error='not begun: no time was left'))
            else: child(part, given | dict(model=model, folder=folders[model]), min(LIMITS[part], left), keep)
            tell(model, part, report['models'][model][part])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--one', metavar='ARGS', help='one part, as the parent asks for it')
    p.add_argument('--size', default='7b', choices=list(SIZES), help='7b needs a GPU; tiny runs everywhere')
    p.add_argument('--parts', nargs='+', default=list(PARTS), choices=list(PARTS), help='all if not given')
    p.add_argument('--models', nargs='+', default=list(MODELS), choices=list(MODELS), help='both if not given')
    p.add_argument('--minutes', type=float, default=12, help='of the whole run; what is left then is not begun')
    p.add_argument('--out', help='folder for gpu.json; bench/results, or build for tiny')
    a = p.parse_args()
    if a.one: return run_part(argparse.Namespace(**json.loads(a.one)))
    import torch
    if a.size != 'tiny' and not torch.cuda.is_available():
        return print('the GPU benchmark is left out: it needs a GPU, and `make gpu SIZE=tiny` runs each path without')
    out = Path(a.out or (ROOT/'build' if a.size == 'tiny' else ROOT/'bench'/'results'))
    with tempfile.TemporaryDirectory() as tmp: measure_all(a, Path(tmp), out/'gpu.json')


if __name__ == '__main__': main()
