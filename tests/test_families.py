"""Every family of vision-language models against plain transformers: a naive loop, fp32, one at a time.

`python tests/test_families.py` runs it and prints the table of the page on inputs.
"""
import gc, importlib.util, sys, threading
from functools import cache
from pathlib import Path

import datasets, pytest, torch
from PIL import Image
import miniatures
from sciencetutor.data.core import load_split, run_data
from sciencetutor.engine.core import Engine
from sciencetutor.eval.generation import generate_texts, letter_scores, letter_tokens
from sciencetutor.eval.prompts import render
from sciencetutor.models.core import load_model
from sciencetutor.models.scoring import encode_reply, score_choices
from sciencetutor.train.core import run_train

SIZES = [(40, 30), None, (90, 30), (30, 70), (33, 33), None, (64, 20), (200, 180)]  # pixels; None: words alone
EACH, FORTY = range(len(SIZES)), range(40)
NEEDS = dict(smolvlm='num2words')


@pytest.fixture(scope='module', params=miniatures.FAMILIES)
def family(request, tmp_path_factory):
    "A checkpoint as from the hub, loaded."
    name = request.param
    package = NEEDS.get(name)
    if package and not importlib.util.find_spec(package): pytest.skip(f'{package} is not installed')
    gc.freeze()  # the Trainer collects garbage: not among what was there before
    return Family(name, tmp_path_factory.mktemp(name))


def picture(size, k):
    if not size: return None
    bands = [Image.linear_gradient('L').rotate(40*k + 90*band).resize(size) for band in range(3)]
    return Image.merge('RGB', bands)


PICTURES = [picture(SIZES[k % len(SIZES)], k) for k in FORTY]
CHOICES = [['yes', 'no, never', f'it is {k}'] for k in FORTY]


def conversation(text, image):
    parts = [dict(type='image', image=image)] if image else []
    return [dict(role='user', content=[*parts, dict(type='text', text=text)])]


TEXTS = [f'Question {k}: ' + 'why is it so? '*(1 + k % 3) for k in FORTY]
ASKED = [conversation(TEXTS[k], PICTURES[k]) for k in FORTY]
IMAGES = [[image] if image else [] for image in PICTURES]


class Family:
    "A family, and what plain transformers says of the questions."
    def __init__(self, name, folder):
        self.name, self.folder = name, miniatures.make(name, folder)
        self.model, self.processor = load_model(self.folder, dtype='float32')
        self.logits, self.text = cache(self.logits), cache(self.text)

    def inputs(self, messages):
        how = dict(add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors='pt')
        try: inputs = self.processor.apply_chat_template(messages, **how)
        except ValueError:  # PaliGemma wants a picture: the words alone through its tokenizer
            assert len(messages[0]['content']) == 1
            text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            inputs = self.processor.tokenizer(text, return_tensors='pt', return_token_type_ids=True)
        return {k: v for k, v in inputs.items() if k != 'labels'}

    @torch.inference_mode()
    def logits(self, k, ids):
        "The logits before each of these tokens, as `generate` has them when it is made to write them."
        inputs = self.inputs(ASKED[k])
        n = inputs['input_ids'].shape[1]
        out = self.model.generate(**inputs, max_new_tokens=len(ids), do_sample=False, output_logits=True,
                                  return_dict_in_generate=True, eos_token_id=[],
                                  prefix_allowed_tokens_fn=lambda _, seen: [ids[len(seen) - n]])
        return torch.stack(out.logits, 1)[0].log_softmax(-1)

    def scores(self, k):
        replies = [tuple(encode_reply(self.processor, c)) for c in CHOICES[k]]
        return torch.stack([self.logits(k, ids)[range(len(ids)), ids].mean() for ids in replies])

    def text(self, k): return self.plain_text(ASKED[k], 8)

    @torch.inference_mode()
    def plain_text(self, messages, n):
        inputs = self.inputs(messages)
        ids = self.model.generate(**inputs, max_new_tokens=n, do_sample=False)
        return self.processor.tokenizer.decode(ids[0, inputs['input_ids'].shape[1]:], skip_special_tokens=True)

    def loss(self, rows):
        "The mean over all tokens of the replies, question by question, as transformers computes it from labels."
        total, n = 0., 0
        for row in rows:
            human, gpt = (t['value'].replace('<image>', '').strip() for t in row['conversations'][:2])
            inputs = self.inputs(conversation(human, row['image']))
            prompt, reply = inputs.pop('input_ids'), torch.tensor([encode_reply(self.processor, gpt)])
            labels = torch.cat([torch.full_like(prompt, -100), reply], 1)
            for name, value in inputs.items():
                if value.shape != prompt.shape: continue
                one = name == 'attention_mask' or (self.name == 'paligemma' and name == 'token_type_ids')  # a suffix
                inputs[name] = torch.cat([value, torch.full_like(reply, int(one))], 1)
            with torch.inference_mode():
                loss = self.model(input_ids=torch.cat([prompt, reply], 1), **inputs, labels=labels).loss
            total, n = total + loss.item()*reply.shape[1], n + reply.shape[1]
        return total/n


@pytest.fixture
def differs(record_property):
    "Notes the largest difference for the table; nothing may differ by more than 1e-4."
    def note(column, got, want):
        far = max((torch.as_tensor(a) - torch.as_tensor(b)).abs().max().item() for a, b in zip(got, want, strict=True))
        record_property(column, f'{far:.0e}')
        assert far < 1e-4, (column, far)
    return note


def items(ks): return [dict(messages=ASKED[k], images=IMAGES[k], choices=CHOICES[k]) for k in ks]


def prompts(family, ks):
    return [render(family.processor, TEXTS[k], bool(IMAGES[k])) for k in ks], [PICTURES[k] for k in ks]


def letters(family, ks):
    "(ours, in the default batches; plain transformers')."
    first, tokens = letter_tokens(family.processor)
    got = letter_scores(family.model, family.processor, *prompts(family, ks), [3]*len(ks))
    return got, [family.logits(k, (*first, tokens[0]))[-1][tokens[:3]] for k in ks]


def test_scores_of_choices(family, differs):
    "One at a time, and pictures of all sizes and words in one batch."
    plain = [family.scores(k) for k in EACH]
    differs('choices', [score_choices(family.model, family.processor, [it])[0] for it in items(EACH)], plain)
    differs('choices, 8 mixed', score_choices(family.model, family.processor, items(EACH)), plain)


def test_letters(family, differs): differs('letter, 8 mixed', *letters(family, EACH))


def texts(family, ks):
    got = generate_texts(family.model, family.processor, *prompts(family, ks), max_new_tokens=8)
    return got, [family.text(k).strip() for k in ks]


def test_texts(family, record_property):
    "Greedy, all in one batch padded to the left."
    got, plain = texts(family, EACH)
    assert got == plain
    record_property('generate, 8 mixed', 'same')


@pytest.mark.soak
def test_forty_questions(family, differs):
    plain = [family.scores(k) for k in FORTY]
    differs('choices, 40', score_choices(family.model, family.processor, items(FORTY)), plain)
    differs('letter, 40', *letters(family, FORTY))
    got, plain = texts(family, FORTY)
    assert got == plain


def test_engine(family, differs, record_property):
    "What `ask` and `serve` say: text and scores, all at once and twice, so that beginnings are known."
    engine, texts, scores = Engine(family.folder, dtype='float32'), {}, {}

    def child(k):
        texts[k] = ''.join(engine.generate(ASKED[k], IMAGES[k], max_new_tokens=8, repetition_penalty=1.))
        scores[k] = engine.score(ASKED[k], CHOICES[k], IMAGES[k])
    for _ in range(2):
        threads = [threading.Thread(target=child, args=(k,)) for k in EACH]
        for t in threads: t.start()
        for t in threads: t.join(60)
        assert [texts[k] for k in EACH] == [family.text(k).rstrip('\ufffd') for k in EACH]
    record_property('ask, serve: text', 'same')
    differs('ask, serve: scores', [scores[k] for k in EACH], [family.scores(k).softmax(-1) for k in EACH])


def test_several_pictures(family):
    "Two in one message, and one in an earlier turn: the engine's text and scores."
    engine = Engine(family.folder, dtype='float32')
    (first,), (second,) = conversation('What?', PICTURES[7]), conversation('And this? '*15, PICTURES[0])
    said = dict(role='assistant', content=[dict(type='text', text='A thing.')])
    both = dict(first, content=[second['content'][0], *first['content']])
    for messages in [both], [first, said, second], [first, said, *conversation('Why? '*40, None)]:
        images = [part['image'] for turn in messages for part in turn['content'] if part['type'] == 'image']
        got = ''.join(engine.generate(messages, images, max_new_tokens=8, repetition_penalty=1.))
        assert got == family.plain_text(messages, 8).rstrip('\ufffd')
        item = dict(messages=messages, images=images, choices=['a', 'bc'])
        want, = score_choices(family.model, family.processor, [item])
        assert engine.score(messages, item['choices'], images) == pytest.approx(want.softmax(-1).tolist(), abs=1e-4)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    "Eight questions with pictures of all sizes, and without."
    folder = tmp_path_factory.mktemp('families')
    run_data(source='samples', out=str(folder/'some'), n=40)
    rows = load_split(str(folder/'some'), 'train').select(EACH)
    changed = [{**row, 'image': PICTURES[k]} for k, row in enumerate(rows)]
    split = datasets.Dataset.from_list(changed, features=rows.features)
    datasets.DatasetDict(train=split).save_to_disk(str(folder/'data'))
    return str(folder/'data')


def train(family, data, out, **kw):
    return run_train(data=data, model=family.folder, out=str(out), keep_order=True, batch_tokens=8000, warmup=1,
                     precision='fp32', lr=1e-2, force=True, overwrite=True, **kw)


def test_training(family, data, tmp_path, differs, record_property):
    "The loss of a step, on one batch of pictures of all sizes and words; an adapter's checkpoint loads again."
    want, kw = family.loss(load_split(data, 'train')), dict(objective='answer')
    got = train(family, data, tmp_path/'whole', steps=1, **kw)['log'][0]['loss']
    differs('train', [got], [want])
    report = train(family, data, tmp_path/'lora', steps=2, lora_r=2, freeze=['vision'], packing=True, **kw)
    first, second = (entry['loss'] for entry in report['log'])
    differs('train, LoRA', [first], [want])
    assert second < first
    record_property('batches', 'packed' if report['settings']['packing'] else 'padded')
    load_model(str(tmp_path/'lora'))


def test_training_in_four_bits(family, data, tmp_path, record_property):
    kw = dict(objective='answer', steps=2, lora_r=2, freeze=['vision'], load_in_4bit=True)
    first, second = (entry['loss'] for entry in train(family, data, tmp_path/'ck', **kw)['log'])
    assert second < first
    record_property('train, 4 bits', 'yes')


def test_training_on_choices_and_on_words(family, data, tmp_path, record_property):
    for column, kw in {'train, choices': dict(explain_tokens=8), 'train, words only': dict(text_only=True)}.items():
        report = train(family, data, tmp_path/'ck', steps=1, **kw)
        assert report['questions'] == len(SIZES) and not report['left_out']
        record_property(column, 'yes')


class Table:
    "Collects what the tests note, family by family."
    def __init__(self): self.rows = {name: {} for name in miniatures.FAMILIES}
    def pytest_runtest_logreport(self, report):
        name = report.nodeid.partition('[')[2].rstrip(']')
        if name in self.rows: self.rows[name] |= dict(report.user_properties)

    def __str__(self):
        columns = list(dict.fromkeys(c for row in self.rows.values() for c in row))
        lines = [['family', *columns], ['---']*(1 + len(columns))]
        lines += [[name, *(row.get(c, 'no') for c in columns)] for name, row in self.rows.items()]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def test_the_page_has_every_family():
    page = (Path(__file__).parent.parent/'nbs'/'models'/'07_inputs.ipynb').read_text()
    assert all(f'| {name} |' in page for name in miniatures.FAMILIES)


if __name__ == '__main__':
    table = Table()
    code = pytest.main([__file__, '-q', '-n', '0', '--disable-warnings'], plugins=[table])
    print(table)
    sys.exit(code)
