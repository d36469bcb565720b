"Every switch of the training on `tiny`: what it must change, and what it must not."
import inspect, json
from pathlib import Path
import datasets, pytest, torch, transformers
from fastcore.script import CliError
from sciencetutor.data.core import load_split, run_data
from sciencetutor.models.core import CHAT_TEMPLATE, byte_tokenizer, load_model
from sciencetutor.models.scoring import token_logprobs
from sciencetutor.resources import recipes
from sciencetutor.train import compat
from sciencetutor.train.batches import Questions, batch_units, choice_loss, collate, enable_packing, shuffle_choices
from sciencetutor.train.core import run_train
from sciencetutor.train.efficiency import (freeze_parts, has_bf16, parameter_count, parameter_groups, pick_precision,
                                           zero_stage)
from sciencetutor.train.memory_estimate import activation_bytes, check_memory, meta_model
from sciencetutor.train.settings import TrainSettings, overrides
from sciencetutor.train.tracking import Meter

BASE = TrainSettings(model='tiny', precision='fp32')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('train')/'data'
    run_data(source='samples', out=str(folder), n=60)
    return str(folder)


def train(data, out, **kw):
    return run_train(**{**dict(data=data, model='tiny', out=str(out), steps=3, warmup=1, precision='fp32'), **kw})


def losses(report): return [l['loss'] for l in report['log']]


def batches(data, objective='answer', n=8, **kw):
    model, processor = load_model('tiny')
    q = Questions(load_split(data, 'train').select(range(n)), processor, objective, **kw)
    items = [q[i] for i in range(n)]
    assert any(it['pictures'] for it in items) and not all(it['pictures'] for it in items)
    return model, items, processor.tokenizer.pad_token_id


def grads(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_answer_batch_has_the_gradient_of_single_questions(data):
    "Without a mask, padded on the right: the same as one by one, weighted by tokens."
    model, items, pad = batches(data)
    together = collate(items, pad)
    assert 'attention_mask' not in together['inputs']
    loss = -token_logprobs(model, together).mean()
    alone, total = 0, batch_units(together, 'answer')
    for it in items:
        b = collate([it], pad)
        alone = alone - token_logprobs(model, b).mean()*batch_units(b, 'answer')/total
    torch.testing.assert_close(loss, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grads(model, loss), grads(model, alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('objective', ['answer', 'choices'])
def test_a_packed_row_has_the_loss_and_gradient_of_single_questions(data, objective):
    "Pictures, branches and explanations included; the single questions are read by the model as it was."
    model, items, pad = batches(data, objective, explain_tokens=12 if objective == 'choices' else 0)
    together = collate(items, pad, packing=True)
    sizes, ids = together['inputs']['sizes'], together['inputs']['input_ids']
    assert ids.shape == (1, sum(sizes)) and pad not in ids
    def loss_of(batch):
        logprobs = token_logprobs(model, batch)
        return -logprobs.mean() if objective == 'answer' else choice_loss(logprobs, batch, explain_weight=.3)
    singles = [collate([it], pad) for it in items]
    explained = sum(bool((~b['scored']).any()) for b in singles)
    assert objective == 'answer' or explained == len(items)  # or the mean of means is another
    weights = [batch_units(b, objective)/batch_units(together, objective) for b in singles]
    alone = sum(w*loss_of(b) for w, b in zip(weights, singles))
    right = grads(model, alone)
    enable_packing(model)
    loss = loss_of(together)
    torch.testing.assert_close(loss, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grads(model, loss), right, atol=1e-5, rtol=1e-4)
    ordinary = loss_of(collate(items, pad))  # as before
    torch.testing.assert_close(ordinary, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('kw', [
    dict(), dict(objective='answer', gradient_checkpointing=True),
    dict(lora_r=4, freeze=['vision'], eval_steps=2, val_questions=4),
    dict(text_only=True, auto_batch=True)])
def test_packing_trains(data, tmp_path, kw):
    report = train(data, tmp_path/'ck', packing=True, batch_tokens=1500, **kw)
    assert report['padding'] == 0 and report['steps'] == 3 and len(losses(report)) == 3
    load_model(str(tmp_path/'ck'))


def test_labels_are_replies_and_nothing_else(data):
    _, items, pad = batches(data)
    b = collate(items, pad)
    assert b['targets'].tolist() == [t for it in items for t in it['branches'][0]]
    ids = b['inputs']['input_ids'][b['rows'], b['cols'] + 1]
    assert torch.equal(ids, b['targets']), 'each target is the next token of its own row'


@pytest.mark.parametrize('packing', [False, True])
def test_a_blank_picture_changes_nothing(data, packing):
    model, items, pad = batches(data, 'choices')
    if packing: enable_packing(model)
    _, processor = load_model('tiny')
    text = [it for it in items if not it['pictures']]
    blank = Questions(load_split(data, 'train').select(range(2)), processor).blank
    a, b = (collate(text, pad, k, packing=packing) for k in (None, blank))
    assert 'pixel_values' in b['inputs'] and 'pixel_values' not in a['inputs']
    la, lb = (choice_loss(token_logprobs(model, x), x) for x in (a, b))
    torch.testing.assert_close(la, lb, atol=1e-6, rtol=1e-6)
    lb.backward()
    projector = model.model.multi_modal_projector
    assert all(p.grad is not None for p in projector.parameters()), 'every device uses every part'


@pytest.mark.parametrize('objective', ['choices', 'answer'])
def test_accumulation_1x8_equals_8x1(data, tmp_path, monkeypatch, objective):
    "One optimizer step over the same eight questions, in eight batches and in one."
    def plan(size): return lambda *a, **k: [list(range(i, i + size)) for i in range(0, 8, size)]
    reports = []
    for size in (1, 8):
        monkeypatch.setattr('sciencetutor.train.core.plan_batches', plan(size))
        kw = dict(steps=1, grad_accum=8//size, objective=objective, keep_order=True)
        reports.append(train(data, tmp_path/f'{size}', **kw))
    a, b = [r['log'][0] for r in reports]
    assert a['loss'] == pytest.approx(b['loss'], abs=1e-5) and a['grad_norm'] == pytest.approx(b['grad_norm'], rel=1e-4)


def test_choices_move_and_the_answer_follows(data):
    rows, seen = load_split(data, 'train'), set()
    for i, row in enumerate(rows):
        m = shuffle_choices(row, torch.Generator().manual_seed(i))
        human, gpt = (t['value'] for t in m['conversations'])
        right, letter = row['choices'][row['answer_index']], 'ABCDE'[m['answer_index']]
        assert m['choices'][m['answer_index']] == right and gpt.startswith(f'The answer is {letter}.')
        assert f'({letter}) {right}'.replace('  ', ' ') in human
        seen.add(m['answer_index'] - row['answer_index'])
    assert len(seen) > 2
    odd = {**rows[0], 'conversations': [dict(value='What?'), dict(value='The answer is A.')]}
    assert shuffle_choices(odd, torch.Generator()) is odd


def test_epochs_shuffle_anew_and_repeat_with_the_seed(data):
    _, processor = load_model('tiny')
    rows = load_split(data, 'train').select(range(6))
    q = Questions(rows, processor, 'answer', shuffle=True)
    replies = [[q[i + 6*e]['branches'] for i in range(6)] for e in range(4)]
    assert replies[0] != replies[1] and replies == [[q[i + 6*e]['branches'] for i in range(6)] for e in range(4)]


@pytest.mark.parametrize('kw', [
    dict(tf32=True), dict(vision_lr=1e-5, weight_decay=0.), dict(objective='answer', keep_order=True)])
def test_other_switches_train(data, tmp_path, kw):
    report = train(data, tmp_path/'ck', **kw)
    assert report['steps'] == 3 and {k: report['settings'][k] for k in kw} == kw


def test_checkpointing_changes_no_loss(data, tmp_path):
    checkpointed, plain = train(data, tmp_path/'a', gradient_checkpointing=True), train(data, tmp_path/'b')
    assert losses(checkpointed) == pytest.approx(losses(plain), abs=1e-5)


@pytest.mark.parametrize('kw', [dict(), dict(adapter=True), dict(precision='bf16', projector_lr=1e-3, lora_alpha=16)])
def test_lora_trains_adapters_and_the_projector(data, tmp_path, kw):
    report = train(data, tmp_path/'ck', lora_r=4, freeze=['vision'], lr=1e-2, **kw)
    base, _ = load_model('tiny')
    assert 0 < report['trained'] < .1*sum(p.numel() for p in base.parameters())
    assert (tmp_path/'ck/adapter_model.safetensors').exists() == bool(kw.get('adapter'))
    model, _ = load_model(str(tmp_path/'ck'))
    assert type(model) is type(base)
    changed = {n for (n, a), b in zip(base.named_parameters(), model.parameters()) if not torch.equal(a, b)}
    assert changed and all('_proj' in n or 'multi_modal_projector' in n for n in changed), changed
    assert any('multi_modal_projector' in n for n in changed) and any('layers.3.mlp' in n for n in changed)


def test_merged_and_adapter_are_the_same_model(data, tmp_path):
    kw = dict(lora_r=4, freeze=['vision'], lr=1e-2)
    for name in ('merged', 'adapter'): train(data, tmp_path/name, adapter=name == 'adapter', **kw)
    a, b = (load_model(str(tmp_path/name))[0].state_dict() for name in ('merged', 'adapter'))
    for k in a: torch.testing.assert_close(a[k], b[k], atol=4e-3, rtol=1e-2)  # one rounded to bf16


def test_qlora(data, tmp_path):
    kw = dict(lora_r=4, load_in_4bit=True, freeze=['vision'], precision='bf16', steps=20, lr=1e-2)
    report = train(data, tmp_path/'ck', **kw)
    assert sum(losses(report)[-5:]) < sum(losses(report)[:5])
    assert (tmp_path/'ck/adapter_model.safetensors').exists()
    assert load_model(str(tmp_path/'ck'), load_in_4bit=True)[0].base_model.model.is_loaded_in_4bit


def test_weights_in_4_bits_are_counted_whole():
    whole, packed = (load_model('tiny', load_in_4bit=b)[0] for b in (False, True))
    assert sum(p.numel() for p in packed.parameters()) < .7*parameter_count(whole.parameters())
    assert parameter_count(packed.parameters()) == parameter_count(whole.parameters())
    assert Meter(packed.requires_grad_(False)).flops == Meter(whole.requires_grad_(False)).flops


def test_parts_have_their_learning_rates():
    model, _ = load_model('tiny')
    decayed = [n for n, _ in model.named_parameters() if 'norm' not in n]
    groups = parameter_groups(model, 1e-3, .1, decayed, vision=1e-5, projector=1e-4)
    assert sorted({g['lr'] for g in groups}) == [1e-5, 1e-4, 1e-3]
    assert sum(p.numel() for g in groups for p in g['params']) == sum(p.numel() for p in model.parameters())
    assert {g['weight_decay'] for g in groups} == {0., .1}


def test_projector_first(data, tmp_path):
    train(data, tmp_path/'ck', projector_steps=2)
    first, base = load_model(str(tmp_path/'ck.projector'))[0], load_model('tiny')[0]
    changed = {n for (n, a), b in zip(base.named_parameters(), first.parameters()) if not torch.equal(a, b)}
    assert changed and all('multi_modal_projector' in n for n in changed)
    assert json.loads((tmp_path/'ck/training.json').read_text())['settings']['model'] == str(tmp_path/'ck.projector')


def test_cached_features_change_no_loss(data, tmp_path, monkeypatch):
    monkeypatch.setattr('sciencetutor.train.feature_cache.cache_path', tmp_path.joinpath)
    kw = dict(freeze=['vision'], steps=None, epochs=2)
    plain, first = train(data, tmp_path/'a', **kw), train(data, tmp_path/'b', cache_features=True, **kw)
    assert list((tmp_path/'features').glob('*/features.bin'))
    def asked(*args): pytest.fail('the second run asks the tower')
    monkeypatch.setattr('sciencetutor.train.feature_cache.FeatureCache.put', asked)
    again = train(data, tmp_path/'c', cache_features=True, **kw)
    for report in (first, again): assert losses(report) == pytest.approx(losses(plain), abs=1e-5)


def test_stops_early_and_keeps_the_best(data, tmp_path, monkeypatch):
    "Accuracy .5, .6, then worse: the weights of the second measurement are kept."
    values, seen = iter([.5, .6, .6, .4]), []
    def measure(self, model, step):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return dict(step=step, accuracy=next(values), n=4, chance=.4, by={})
    monkeypatch.setattr('sciencetutor.train.tracking.Validation.measure', measure)
    report = train(data, tmp_path/'ck', steps=50, eval_steps=2, patience=2)
    assert report['steps'] == 8 and [v['accuracy'] for v in report['val']] == [.5, .6, .6, .4]
    kept = load_model(str(tmp_path/'ck'))[0].state_dict()
    for k, v in seen[1].items(): torch.testing.assert_close(kept[k], v.to(torch.bfloat16).float())


def test_accuracy_on_the_way_is_that_of_eval(data, tmp_path):
    from sciencetutor.eval.core import run_eval
    report = train(data, tmp_path/'ck', eval_steps=3, val_questions=12)
    last = report['val'][-1]
    assert last['n'] == 12 and 0 <= last['accuracy'] <= 1 and last['by']
    m = run_eval(data=data, model=str(tmp_path/'ck'), split='val', out=str(tmp_path/'eval'))
    assert abs(m['acc']/100 - last['accuracy']) <= 1.01/12  # bf16 weights may turn one question over
    card = (tmp_path/'ck/README.md').read_text()
    assert f'{last["accuracy"]:.1%} on 12 held-out questions, chance' in card and 'license: "apache-2.0"' in card


def test_memory_estimate_is_near_what_is_kept(data):
    "Against the bytes that autograd saves, weights left out."
    model, processor = load_model('tiny')
    freeze_parts(model, [])
    q = Questions(load_split(data, 'train'), processor)
    long = sorted(range(len(q)), key=q.lengths().__getitem__)[-8:]
    batch = collate([q[i] for i in long], processor.tokenizer.pad_token_id)
    own, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}
    def pack(t):
        s = t.untyped_storage()
        if s.data_ptr() not in own: kept[s.data_ptr()] = s.nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = choice_loss(token_logprobs(model, batch), batch)  # alive, or what it keeps is freed
    assert loss.requires_grad
    B, L = batch['inputs']['input_ids'].shape
    pictures = batch['inputs'].get('pixel_values')
    size = dict(rows=B, longest=L, pictures=0 if pictures is None else len(pictures), predicted=len(batch['targets']))
    ratio = activation_bytes(meta_model(BASE), BASE, False, size)/sum(kept.values())
    assert .7 < ratio < 1.6, ratio


def test_what_does_not_fit_is_refused_in_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setattr('sciencetutor.train.memory_estimate.free_memory', lambda: 10**6)
    with pytest.raises(CliError, match='tiny needs about .* try .*--force') as e: train(data, tmp_path/'no')
    assert '\n' not in str(e.value) and not (tmp_path/'no.training').exists()
    assert train(data, tmp_path/'yes', force=True, steps=1)['steps'] == 1
    big = dict(rows=64, longest=2000, pictures=0, predicted=100)
    with pytest.raises(CliError, match='try --gradient-checkpointing'): check_memory(BASE, big, free=int(4e9))


def test_auto_batch_keeps_the_update(data, tmp_path, monkeypatch):
    report = train(data, tmp_path/'ck', auto_batch=True, batch_tokens=1024, grad_accum=4, steps=1)
    assert (report['settings']['batch_tokens'], report['settings']['grad_accum']) == (4096, 1)


def test_recipes(tmp_path):
    for f in (Path(__file__).parent.parent/f'configs/{name}.yaml' for name in recipes()):
        s = overrides(config=[str(f)])
        assert isinstance(s['lr'], float) and 'options' not in s, f.name
    (tmp_path/'a.yaml').write_text('lr: 2e-3\noptions: {warmup: 7, freeze: vision, epochs: 2}\n')
    (tmp_path/'b.yaml').write_text('options: {warmup: 8}\n')
    a, b = str(tmp_path/'a.yaml'), str(tmp_path/'b.yaml')
    assert overrides(config=[a, b], seed=3) == dict(lr=2e-3, warmup=8, freeze=['vision'], epochs=2, seed=3)
    expected = dict(lr=2e-3, warmup=9, freeze=['vision'], minutes=1, split=['val'])
    assert overrides(config=a, warmup=9, minutes=1, split='val') == expected
    (tmp_path/'c.yaml').write_text('lora_rank: 4\n')
    with pytest.raises(CliError, match='lora_rank is no argument'): overrides(config=[str(tmp_path/'c.yaml')])
    with pytest.raises(CliError, match='no-such.yaml could not be read'): overrides(config=['no-such.yaml'])


def test_what_is_said_wins_even_where_it_is_the_default(tmp_path):
    (tmp_path/'a.yaml').write_text('lr: 2e-3\noptions: {grad_accum: 4}\n')
    default = {k: p.default for k, p in inspect.signature(run_train).parameters.items()}
    config = str(tmp_path/'a.yaml')
    assert overrides(config=config, lr=default['lr'], grad_accum=1) == dict(lr=default['lr'], grad_accum=1)
    everything = {**default, 'config': [config], 'seed': 3}  # only what differs was said
    assert overrides(**everything) == dict(lr=2e-3, grad_accum=4, seed=3)


def test_a_recipe_trains(data, tmp_path):
    recipe = str(Path(__file__).parent.parent/'configs/hub-vlm.yaml')
    report = train(data, tmp_path/'ck', config=[recipe], lora_r=4, steps=2)
    assert report['steps'] == 2 and report['settings']['objective'] == 'answer' and report['settings']['lora_r'] == 4


def test_contradictions_are_one_line(data, tmp_path):
    (bad := tmp_path/'bad.json').write_text('zero: 3')
    for kw, words in [(dict(load_in_4bit=True), '--lora-r'), (dict(load_in_4bit=True, lora_r=4), '--freeze vision'),
                      (dict(patience=2), '--eval-steps'), (dict(deepspeed='zero9'), 'zero2'),
                      (dict(cache_features=True), '--freeze vision'), (dict(lora_r=4, freeze=['language']), 'unfrozen'),
                      (dict(freeze='visoin'), 'vision, projector'), (dict(deepspeed=str(bad)), 'no DeepSpeed')]:
        with pytest.raises(CliError, match=words): train(data, tmp_path/'ck', **kw)
    if not torch.cuda.is_available():
        assert pick_precision('bf16') == 'bf16' and pick_precision() == ('bf16' if has_bf16() else 'fp32')


@pytest.mark.parametrize('bf16', [True, False])
def test_a_half_precision_on_a_cpu_is_noted(bf16, monkeypatch, capsys):
    "A preset for a GPU runs without one, in what the CPU has, and says so."
    from sciencetutor.train import efficiency
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(efficiency, 'cpu_has_bf16', lambda: bf16)
    assert pick_precision('fp16') == ('bf16' if bf16 else 'fp32')
    assert capsys.readouterr().out.startswith('note: fp16 is for a GPU')
    assert pick_precision('bf16') == 'bf16' and ('emulated' in capsys.readouterr().out) == (not bf16)


def test_a_single_word_is_a_list_of_one(data, tmp_path):
    s = train(data, tmp_path/'ck', split='train', freeze='vision', steps=1)['settings']
    assert s['split'] == ['train'] and s['freeze'] == ['vision']


def test_the_stage_of_a_file_decides_not_its_name(tmp_path):
    zero = dict(run3={'stage': 2}, mine={'stage': 3, 'offload_param': {'device': 'cpu'}})
    for name, config in zero.items():
        (tmp_path/f'{name}.json').write_text(json.dumps({'zero_optimization': config}))
    assert [zero_stage(str(tmp_path/f)) for f in ('run3.json', 'mine.json')] == [(2, False), (3, True)]


@pytest.fixture(scope='module')
def idefics(tmp_path_factory):
    "Not a LLaVA: pictures of several sizes, in pieces, with a mask."
    tok = byte_tokenizer()
    special = ['<image>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>']
    tok.add_special_tokens({'additional_special_tokens': special})
    images = transformers.Idefics3ImageProcessorPil(size={'longest_edge': 128}, max_image_size={'longest_edge': 64})
    sizes = dict(num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    text = dict(model_type='llama', hidden_size=64, num_key_value_heads=2, vocab_size=320, pad_token_id=0, **sizes)
    vision = dict(hidden_size=32, image_size=64, patch_size=16, **sizes)
    config = transformers.Idefics3Config(text_config=text, vision_config=vision, scale_factor=2, pad_token_id=0,
                                         image_token_id=tok.convert_tokens_to_ids('<image>'))
    folder = tmp_path_factory.mktemp('idefics')/'model'
    transformers.Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    transformers.Idefics3Processor(images, tok, image_seq_len=4, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return str(folder)


def test_another_kind_of_model_learns_too(data, idefics, tmp_path):
    "Pictures in tiles, other names of the parts; what is made for one kind of picture alone is refused in one line."
    kw = dict(model=idefics, force=True, objective='answer')
    with pytest.raises(CliError, match='pixel_attention_mask.*LLaVA-1.5 family') as e:
        train(data, tmp_path/'no', cache_features=True, freeze=['vision'], **kw)
    assert '\n' not in str(e.value)
    for i, more in enumerate([dict(freeze=['vision']), dict(lora_r=4, freeze=['vision']), dict(text_only=True)]):
        report = train(data, tmp_path/f'{i}', lr=1e-2, **kw, **more)
        assert report['steps'] == 3 and losses(report)[-1] < losses(report)[0]


def test_wandb_offline_without_a_key(data, tmp_path, monkeypatch, capsys):
    pytest.importorskip('wandb').teardown()  # what another test began
    import wandb.sdk.wandb_run as wandb_run
    for k in ('WANDB_API_KEY', 'WANDB_MODE'): monkeypatch.delenv(k, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    sent, log = {}, wandb_run.Run.log
    monkeypatch.setattr(wandb_run.Run, 'log', lambda self, d, **kw: (sent.update(d), log(self, d, **kw))[1])
    train(data, tmp_path/'ck', wandb=True, eval_steps=2, val_questions=12)
    assert 'wandb sync' in capsys.readouterr().out
    assert list((tmp_path/'ck.wandb').glob('wandb/offline-run-*/*.wandb'))
    curves = {'loss', 'learning_rate', 'grad_norm', 'samples_per_second', 'tokens_per_second', 'memory_gb'}
    assert {*curves, 'val_accuracy', 'val_accuracy/with a picture'} <= {*sent}
    rows = sent['val_questions'].data
    assert len(rows) == 12 and {type(r[0]).__name__ for r in rows} == {'Image', 'NoneType'}
    assert all(question and right and answer for _, question, right, answer in rows)


@pytest.mark.parametrize('name', ['_save_checkpoint', '_load_from_checkpoint'])
def test_a_private_name_that_is_gone_is_named(monkeypatch, name):
    assert compat.missing_names() == []
    monkeypatch.delattr(transformers.Trainer, name)
    assert compat.missing_names() == [f'{name} of transformers {transformers.__version__}']
    assert isinstance(compat.fingerprint(datasets.Dataset.from_dict(dict(a=[1]))), str)


def test_mfu_counts_what_learns():
    model, _ = load_model('tiny')
    freeze_parts(model, ['vision'], layers=1.)
    meter = Meter(model)
    inside = sum(p.numel() for n, p in model.named_parameters() if 'language_model.layers' in n)
    assert meter.flops == 4*inside and 'mfu' not in meter.read()
    freeze_parts(model, ['vision'])
    meter = Meter(model)
    assert meter.flops == 6*inside
    meter.peak, meter.since = 1e12, meter.since - 10
    meter.count(questions=3, tokens=500_000)
    assert meter.read()['mfu'] == pytest.approx(6*inside*500_000/10/1e12, rel=.05)
