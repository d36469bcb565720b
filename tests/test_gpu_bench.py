"The benchmark of a GPU: its parts on toys, the shapes of the real models, and what a cut or failed part leaves."
import importlib.util, json, sys
from argparse import Namespace
from pathlib import Path
import pytest, torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText
from sciencetutor.models.core import load_processor, render_prompt
from sciencetutor.models.inputs import encode_prompt
from sciencetutor.train.memory_estimate import estimate_memory
from sciencetutor.train.settings import TrainSettings

FILE = Path(__file__).resolve().parent.parent/'bench'/'gpu_bench.py'


@pytest.fixture(scope='module')
def bench():
    spec = importlib.util.spec_from_file_location('gpu_bench', FILE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(sys, 'path', [*sys.path])
        spec.loader.exec_module(module)
        yield module


def run(bench, monkeypatch, out, *flags):
    monkeypatch.setattr(sys, 'argv', ['gpu_bench', *flags, '--models', 'qwen2.5-vl-7b', '--out', str(out)])
    bench.main()
    return json.loads((out/'gpu.json').read_text())


def test_parts_are_kept_as_they_are_done(bench, monkeypatch, tmp_path):
    monkeypatch.delenv('SCIENCEQA_DIR', raising=False)
    file = run(bench, monkeypatch, tmp_path, '--size', 'tiny', '--parts', 'letter', 'vllm')
    parts = file['models']['qwen2.5-vl-7b']
    got = parts['letter']['letter']
    assert file['size'] == 'tiny' and got['questions'] == 16 and got['questions_per_s'] > 0
    assert got['test_split_s'] == pytest.approx(4241/got['questions_per_s'], rel=.01)
    assert 'not installed' in parts['vllm']['skipped'] or 'serve' in parts['vllm']
    flags = '--size', 'tiny', '--minutes', '.001', '--parts', 'letter', 'lora'
    again = run(bench, monkeypatch, tmp_path, *flags)['models']['qwen2.5-vl-7b']
    assert again == parts | dict(lora=dict(error='not begun: no time was left'))


def test_without_a_gpu_it_says_so(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(FileNotFoundError): run(bench, monkeypatch, tmp_path)
    assert 'needs a GPU' in capsys.readouterr().out


def test_a_part_that_fails_says_why(bench, capsys):
    with pytest.raises(AttributeError): bench.run_part(Namespace(part='letter'))
    assert "AttributeError: 'Namespace' object has no attribute" in capsys.readouterr().out


def test_a_part_that_takes_too_long_is_cut(bench):
    kept = []
    bench.child('letter', {}, .2, kept.append)
    assert kept[-1]['error'].startswith('cut after') and kept[-1]['seconds'] < 20


@pytest.mark.parametrize('name, parameters, tokens', [
    ('llava-1.5-7b', 7_063_427_072, 576), ('qwen2.5-vl-7b', 8_292_166_656, 14*11)])
def test_shapes_of_the_real_models(bench, tmp_path, name, parameters, tokens):
    folder = bench.skeleton(name, '7b', tmp_path/'model')
    with torch.device('meta'): model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    processor = load_processor(folder)
    text = render_prompt(processor, [dict(role='user', content=[dict(type='image'), dict(type='text', text='What?')])])
    ids = encode_prompt(processor, text, [Image.new('RGB', (400, 300))])['prompt']
    assert model.num_parameters() == parameters and ids.count(processor.image_token_id) == tokens
    s = TrainSettings(model=folder, lora_r=64, freeze=['vision'], precision='bf16', load_in_4bit=True,
                      gradient_checkpointing=True)
    assert estimate_memory(s, dict(rows=6, longest=340, pictures=3, predicted=120))['total'] < bench.BUDGET_GB*1e9


def test_random_weights_are_each_their_own(bench, tmp_path):
    folder = bench.skeleton('llava-1.5-7b', 'tiny', tmp_path/'model')
    with bench.random_weights(): model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float16)
    weights = dict(model.named_parameters())
    assert len({p.data_ptr() for p in weights.values()}) == len(weights)
    assert all(p.dtype == torch.float16 and p.isfinite().all() for p in weights.values())
    assert (weights['model.language_model.norm.weight'] == 1).all()
    assert .015 < weights['lm_head.weight'].std() < .025
