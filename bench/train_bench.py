"""Supervised examples a second, against TRL's SFTTrainer and the Hugging Face Trainer, in one run on one machine.

    python bench/train_bench.py                                 into bench/results/train.json
    python bench/train_bench.py --n 2000 --runs 3               as many on a CPU as on a GPU: hours on two cores
    python bench/train_bench.py --n 40 --runs 1 --model tiny    a toy, to see that it works
    python bench/train_bench.py --model random-7b --lora-r 128  LLaVA-1.5-7B of random weights, on a GPU: MFU, too

All learn the same thing from the same questions: LLaVA's reply tokens, every parameter (or the same LoRA), one epoch,
the same number type, batches of as many questions as ours hold on average. `ours` is `sciencetutor train --objective
answer`, `packed` the same with `--packing`. `trainer` is the usual fine-tuning script: a collator that pads to the
longest, labels of -100 on the prompt, the model's own loss. `trl` is SFTTrainer as its guide for vision-language
models has it: prompt-completion data, loss on the completion, `max_length=None` so that no image token is cut off,
and without the gradient checkpointing that is its default and would make it slower; it refuses packing and padding-
free batches for pictures. Peers live in `.venv-bench`, made at the first run. Time is that of the training loop, from
its first step to its last, without imports, loading and saving. Questions are those of SCIENCEQA_DIR's train split,
half with a picture; without it samples: 2,000 and three rounds on a GPU, 100 and one on a CPU.
"""
from __future__ import annotations
import argparse, json, os, platform, resource, statistics, subprocess, sys, sysconfig, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = dict(ours=sys.executable, packed=sys.executable, trainer=sys.executable, trl=str(ROOT/'.venv-bench/bin/python'))
TRL = 'trl==1.16.0'


def peak() -> float:
    "Peak memory so far, MB: the card's, or this process's."
    import torch
    if torch.cuda.is_available(): return torch.cuda.max_memory_allocated()/1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def prepare(folder: Path, n: int) -> str:
    "A dataset folder whose split `train` has n questions of mixed length, half with a picture."
    import datasets
    from sciencetutor.data.core import load_split, run_data
    real, out = os.environ.get('SCIENCEQA_DIR'), folder/'data'
    def even(pids): return pids[::max(1, len(pids)//(n//2))][:n//2]
    if not real:
        run_data('samples', str(folder/'all'), n=4*n)
        rows = load_split(folder/'all', 'train')
        images = rows.cast_column('image', datasets.Image(decode=False))['image']
        kinds = [[i for i, image in enumerate(images) if (image is not None) == k] for k in (False, True)]
        rows.select(sorted(even(kinds[0]) + even(kinds[1]))).save_to_disk(str(out/'train'))
        (out/'dataset_dict.json').write_text(json.dumps(dict(splits=['train'])))
        return 'samples'
    problems, splits = (json.loads(Path(real, f).read_text()) for f in ('problems.json', 'local_splits.json'))
    kinds = [[p for p in splits['train'] if bool(problems[p]['image']) == k] for k in (False, True)]
    train = sorted(even(kinds[0]) + even(kinds[1]), key=int)
    (folder/'splits.json').write_text(json.dumps(dict(train=train)))
    run_data(real, str(out), splits=str(folder/'splits.json'))
    return 'real'


def checkpoint(model: str, folder: Path) -> str:
    "A folder that every peer can load."
    from sciencetutor.models.core import byte_tokenizer, make_llava, resolve_model, save_model
    if model != 'random-7b': return resolve_model(model)
    import torch
    from transformers import LlamaConfig
    vision = dict(image_size=336, patch_size=14, hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
                  num_attention_heads=16, projection_dim=768)
    torch.set_default_dtype(torch.bfloat16)
    net, processor = make_llava(LlamaConfig(vocab_size=32064), byte_tokenizer(), vision)
    torch.set_default_dtype(torch.float32)
    return str(save_model(net.to(torch.bfloat16), processor, folder/'llava'))


def ours(a, packing=False) -> dict:
    "The stage itself."
    from sciencetutor.train.core import run_train
    extra, took = dict(lora_r=a.lora_r, freeze=['vision']) if a.lora_r else {}, clock()
    with tempfile.TemporaryDirectory() as out:
        r = run_train(data=a.data, model=a.folder, out=f'{out}/ck', objective='answer', epochs=1,
                      batch_tokens=a.batch_tokens, packing=packing, precision=a.precision, force=True,
                      gradient_checkpointing=a.gradient_checkpointing, load_in_4bit=a.load_in_4bit, **extra)
    mfu = [l['mfu'] for l in r['log'][2:] if 'mfu' in l]
    return dict(examples=r['questions'], **took, batch=r['questions']/r['steps'], padding=r['padding'],
                mfu=statistics.median(mfu) if mfu else None)


def clock() -> dict:
    "Seconds of the training loop, by the wall and of this process's cores, of the next Trainer, whoever makes it."
    from transformers import TrainerCallback, trainer
    now, took = lambda: dict(seconds=time.perf_counter(), cpu_seconds=time.process_time()), {}
    class Clock(TrainerCallback):
        def on_train_begin(self, *args, **kw): self.start = now()
        def on_train_end(self, *args, **kw): took.update({k: v - self.start[k] for k, v in now().items()})
    trainer.DEFAULT_CALLBACKS.append(Clock)
    return took


def count(collate):
    "The collator, and the tokens of its batches: all, those that are not padding, those that are learned."
    seen = dict(computed=0, tokens=0, learned=0)
    def counted(rows):
        batch = collate(rows)
        seen['computed'] += batch['input_ids'].numel()
        seen['tokens'] += batch['attention_mask'].sum().item()
        seen['learned'] += (batch['labels'] != -100).sum().item()
        return batch
    return counted, seen


def measured(examples: int, took: dict, seen: dict) -> dict:
    "What is said of a peer: seconds, padding, learned tokens of a question."
    padding = 1 - seen['tokens']/seen['computed']
    return dict(examples=examples, **took, padding=padding, learned_each=seen['learned']/examples)


def shared(a, out: str) -> dict:
    "The arguments that both peers get."
    import torch
    return dict(output_dir=out, num_train_epochs=1, per_device_train_batch_size=a.batch, bf16=a.precision == 'bf16',
                fp16=a.precision == 'fp16', learning_rate=2e-4, logging_steps=1, save_strategy='no', report_to='none',
                disable_tqdm=True, use_cpu=not torch.cuda.is_available(), remove_unused_columns=False,
                gradient_checkpointing=a.gradient_checkpointing)


def load(a):
    "Model and processor as a script would load them."
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    model = AutoModelForImageTextToText.from_pretrained(a.folder, dtype=torch.bfloat16 if a.lora_r else torch.float32)
    return model, AutoProcessor.from_pretrained(a.folder)


def lora(a):
    "The adapters that both peers get, or None."
    from peft import LoraConfig
    if not a.lora_r: return None
    return LoraConfig(r=a.lora_r, lora_alpha=2*a.lora_r, target_modules=r'.*language_model.*_proj',
                      modules_to_save=[getattr(a, 'projector', 'multi_modal_projector')])


def messages(row: dict) -> tuple[list, list]:
    "(prompt, completion) as chat messages, the picture first."
    human, gpt = (t['value'] for t in row['conversations'][:2])
    pictures = [{'type': 'image'}]*(row['image'] is not None)
    content = [*pictures, {'type': 'text', 'text': human.replace('<image>', '').strip()}]
    return [{'role': 'user', 'content': content}], [{'role': 'assistant', 'content': [{'type': 'text', 'text': gpt}]}]


def trainer(a) -> dict:
    "The usual script: pad to the longest, -100 on the prompt, the model's own loss."
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments
    model, processor = load(a)
    if a.lora_r:
        from peft import get_peft_model
        model = get_peft_model(model, lora(a))
    def collate(rows):
        texts, starts, images = [], [], []
        for row in rows:
            prompt, reply = messages(row)
            start = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
            texts.append(processor.apply_chat_template(prompt + reply, tokenize=False))
            starts.append(start)
            if row['image'] is not None: images.append(row['image'])
        batch = processor(text=texts, images=images or None, padding=True, return_tensors='pt')
        labels = batch['input_ids'].masked_fill(batch['attention_mask'] == 0, -100)
        image_tokens = (batch['input_ids'] == processor.image_token_id).sum(1).tolist()
        for k, (start, n) in enumerate(zip(starts, image_tokens)):
            labels[k, :len(processor.tokenizer(start)['input_ids']) + max(0, n - 1)] = -100
        return dict(batch, labels=labels)
    took, (collate, seen) = clock(), count(collate)
    with tempfile.TemporaryDirectory() as out:
        rows = Dataset.load_from_disk(f'{a.data}/train')
        t = Trainer(model, TrainingArguments(**shared(a, out)), train_dataset=rows, data_collator=collate)
        t.train()
    return measured(len(t.train_dataset), took, seen)


def trl(a) -> dict:
    "SFTTrainer on prompt-completion data with pictures."
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer
    model, processor = load(a)
    rows = []
    for row in Dataset.load_from_disk(f'{a.data}/train'):
        prompt, completion = messages(row)
        images = [row['image']] if row['image'] is not None else []
        rows.append(dict(prompt=prompt, completion=completion, images=images))
    took = clock()
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(**shared(a, out), max_length=None, completion_only_loss=True)
        t = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=processor,
                       peft_config=lora(a))
        t.data_collator, seen = count(t.data_collator)
        t.train()
    return measured(len(rows), took, seen)


def child(what: str, a) -> dict | None:
    "One measurement in a fresh process; None, with the reason, if that peer cannot run."
    env = dict(os.environ, TQDM_DISABLE='1', HF_HUB_OFFLINE='1', PYTHONPATH=str(ROOT) if what != 'trl' else '')
    command = [PEERS[what], __file__, '--one', what, json.dumps(vars(a))]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode == 0:
        print(f'{what}: {done.stdout.splitlines()[-1]}', file=sys.stderr, flush=True)
        return json.loads(done.stdout.splitlines()[-1])
    print(f'{what} did not run: {(done.stderr.strip().splitlines() or ["no output"])[-1][:300]}')


def make_peers():
    "The environment of the peer: this one's packages and TRL."
    has_both = 'from importlib.metadata import version; version("trl"), version("torch")'
    if not Path(PEERS['trl']).exists():
        subprocess.run([sys.executable, '-m', 'venv', '--system-site-packages', str(ROOT/'.venv-bench')], check=True)
    elif subprocess.run([PEERS['trl'], '-c', has_both], capture_output=True).returncode == 0: return
    site = sysconfig.get_path('purelib')
    lib = next((ROOT/'.venv-bench/lib').glob('python*/site-packages'))
    (lib/'outer.pth').write_text(site + '\n')  # the tested versions, not others
    subprocess.run([PEERS['trl'], '-m', 'pip', 'install', '--quiet', '--no-deps', TRL], check=False)


def summary(name: str, rounds: list[dict]) -> dict:
    "The medians of one of them, and how many times as fast we are; printed, too."
    done = [r[name] for r in rounds if r[name]]
    if not done: return {}
    median = {k: statistics.median(d[k] for d in done) for k in done[0] if done[0][k] is not None}
    told = {k: round(v, 4) for k, v in median.items()}
    times = ''
    for mine in ('ours', 'packed'):
        pairs = [r[mine]['per_second']/r[name]['per_second'] for r in rounds if r[name] and r[mine]]
        if not pairs or name in ('ours', 'packed'): continue
        told[f'{mine}_over_it'] = round(statistics.median(pairs), 3)
        times += f', {mine} is {told[f"{mine}_over_it"]:.2f} times as fast'
    speed = f"{median['per_second']:8.2f} examples/s, padding {median['padding']:.1%}, peak {median['peak_mb']:,.0f} MB"
    print(f'{name:8}{speed}{times}', flush=True)
    return {name: told}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--one', nargs=2, metavar=('WHAT', 'ARGS'), help='one measurement, as JSON')
    p.add_argument('--n', type=int, help='questions; 2,000 on a GPU and 100 on a CPU if not given')
    p.add_argument('--runs', type=int, help='rounds to take the median of; 3 on a GPU and 1 on a CPU if not given')
    p.add_argument('--model', default='tutor-base', help='or `random-7b`')
    p.add_argument('--precision', default='auto', choices=['auto', 'bf16', 'fp16', 'fp32'],
                   help='of all; auto is what the hardware multiplies itself')
    p.add_argument('--batch-tokens', type=int,
                   help='of our batches; 4,096 on a GPU and 2,048, the default of `train`, on a CPU if not given')
    p.add_argument('--lora-r', type=int, default=0)
    p.add_argument('--load-in-4bit', action='store_true', help='ours alone')
    p.add_argument('--gradient-checkpointing', action='store_true')
    p.add_argument('--out', default=str(ROOT/'bench'/'results'), help='folder for train.json')
    a = p.parse_args()
    if a.one:
        args = argparse.Namespace(**json.loads(a.one[1]))
        r = dict(ours=ours, packed=lambda a: ours(a, packing=True), trainer=trainer, trl=trl)[a.one[0]](args)
        return print(json.dumps(dict(r, per_second=r['examples']/r['seconds'], peak_mb=peak())))
    import torch, transformers
    gpu = torch.cuda.is_available()
    n, runs, batch_tokens = (2000, 3, 4096) if gpu else (100, 1, 2048)
    a.n, a.runs, a.batch_tokens = a.n or n, a.runs or runs, a.batch_tokens or batch_tokens
    from sciencetutor.train.efficiency import describe_hardware, pick_precision
    a.precision = pick_precision(a.precision)
    make_peers()
    machine = describe_hardware() + ('' if gpu else f', {torch.backends.cpu.get_cpu_capability()}')
    result = dict(machine=machine, python=platform.python_version(), torch=torch.__version__,
                  transformers=transformers.__version__, peer=TRL, model=a.model, n=a.n, precision=a.precision,
                  batch_tokens=a.batch_tokens, runs=a.runs)
    with tempfile.TemporaryDirectory() as tmp:
        result['data'] = prepare(Path(tmp), a.n)
        a.data, a.folder = f'{tmp}/data', checkpoint(a.model, Path(tmp))
        rounds = []
        for _ in range(a.runs):
            first = child('ours', a)
            a.batch = max(1, round(first['batch'])) if first else 8  # as many questions as ours hold on average
            rounds.append(dict(ours=first) | {w: child(w, a) for w in ('packed', 'trainer', 'trl')})
    result['peers_batch'] = a.batch
    for name in PEERS: result |= summary(name, rounds)
    Path(a.out).mkdir(parents=True, exist_ok=True)
    (Path(a.out)/'train.json').write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__': main()
