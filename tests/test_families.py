"Every family of vision-language models against plain transformers: a naive loop, fp32, one at a time."
import importlib.util

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
NEEDS = dict(smolvlm='num2words')


@pytest.fixture(scope='module', params=miniatures.FAMILIES)
def family(request, tmp_path_factory):
    "(name, folder, model, processor), loaded from a checkpoint as from the hub."
    name = request.param
    package = NEEDS.get(name)
    if package and not importlib.util.find_spec(package): pytest.skip(f'{package} is not installed')
    folder = miniatures.make(name, tmp_path_factory.mktemp(name))
    return name, folder, *load_model(folder, dtype='float32')


def picture(size, k):
    if not size: return None
    bands = [Image.linear_gradient('L').rotate(40*k + 90*band).resize(size) for band in range(3)]
    return Image.merge('RGB', bands)


def ask(k):
    "Question k as (messages, images, choices)."
    image = picture(SIZES[k], k)
    parts = [dict(type='text', text=f'Question {k}: ' + 'why is it so? '*(1 + k % 3))]
    if image: parts.insert(0, dict(type='image', image=image))
    return [dict(role='user', content=parts)], [image] if image else [], ['yes', 'no, never', f'it is {k}']


def plain_inputs(processor, messages):
    "What plain transformers makes of a conversation."
    how = dict(add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors='pt')
    try: inputs = processor.apply_chat_template(messages, **how)
    except ValueError:  # PaliGemma wants a picture: the words alone through its tokenizer
        assert len(messages[0]['content']) == 1
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = processor.tokenizer(text, return_tensors='pt', return_token_type_ids=True)
    return {k: v for k, v in inputs.items() if k != 'labels'}


@torch.inference_mode()
def plain_logits(model, inputs, ids):
    "The logits before each of these tokens, as `generate` has them when it is made to write them."
    n = inputs['input_ids'].shape[1]
    out = model.generate(**inputs, max_new_tokens=len(ids), do_sample=False, output_logits=True,
                         return_dict_in_generate=True, prefix_allowed_tokens_fn=lambda _, seen: [ids[len(seen) - n]])
    return torch.stack(out.logits, 1)[0]


def plain_scores(model, processor, k):
    inputs, scores = plain_inputs(processor, ask(k)[0]), []
    for choice in ask(k)[2]:
        ids = encode_reply(processor, choice)
        logp = plain_logits(model, inputs, ids).log_softmax(-1)
        scores.append(logp[range(len(ids)), ids].mean())
    return torch.stack(scores)


def close(a, b): torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), atol=1e-4, rtol=0)


def test_scores_of_choices(family):
    "Alone, and eight pictures of all sizes and texts in one batch."
    _, _, model, processor = family
    items = [dict(zip(('messages', 'images', 'choices'), ask(k))) for k in range(len(SIZES))]
    plain = [plain_scores(model, processor, k) for k in range(len(SIZES))]
    for got in score_choices(model, processor, items), [score_choices(model, processor, [it])[0] for it in items]:
        for a, b in zip(got, plain): close(a, b)


def rendered(processor):
    prompts = [render(processor, ask(k)[0][0]['content'][-1]['text'], bool(SIZES[k])) for k in range(len(SIZES))]
    return prompts, [picture(size, k) for k, size in enumerate(SIZES)]


def test_letters(family):
    _, _, model, processor = family
    first, letters = letter_tokens(processor)
    got = letter_scores(model, processor, *rendered(processor), [3]*len(SIZES))
    for k, scores in enumerate(got):
        logits = plain_logits(model, plain_inputs(processor, ask(k)[0]), [*first, letters[0]])[-1]
        close(scores, logits.log_softmax(-1)[letters[:3]])


@torch.inference_mode()
def plain_text(model, processor, k, n):
    inputs = plain_inputs(processor, ask(k)[0])
    ids = model.generate(**inputs, max_new_tokens=n, do_sample=False)
    return processor.tokenizer.decode(ids[0, inputs['input_ids'].shape[1]:], skip_special_tokens=True)


def test_texts(family):
    "Greedy, all in one batch padded to the left."
    _, _, model, processor = family
    plain = [plain_text(model, processor, k, 8).strip() for k in range(len(SIZES))]
    assert generate_texts(model, processor, *rendered(processor), max_new_tokens=8) == plain


def test_engine(family):
    "What `ask` and `serve` say: text and scores, all at once and twice, so that beginnings are known."
    import threading
    _, folder, model, processor = family
    engine, got = Engine(folder, dtype='float32'), {}

    def child(k):
        messages, images, choices = ask(k)
        text = ''.join(engine.generate(messages, images, max_new_tokens=8, repetition_penalty=1.))
        got[k] = text, engine.score(messages, choices, images)
    for _ in range(2):
        threads = [threading.Thread(target=child, args=(k,)) for k in range(len(SIZES))]
        for t in threads: t.start()
        for t in threads: t.join(60)
        for k in range(len(SIZES)):
            assert got[k][0] == plain_text(model, processor, k, 8).rstrip('\ufffd')
            close(got[k][1], plain_scores(model, processor, k).softmax(-1))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    "Eight questions with pictures of all sizes, and without."
    folder = tmp_path_factory.mktemp('families')
    run_data(source='samples', out=str(folder/'some'), n=40)
    rows = load_split(str(folder/'some'), 'train').select(range(len(SIZES))).to_list()
    for k, row in enumerate(rows): row['image'] = picture(SIZES[k], k)
    features = load_split(str(folder/'some'), 'train').features
    datasets.DatasetDict(train=datasets.Dataset.from_list(rows, features=features)).save_to_disk(str(folder/'data'))
    return str(folder/'data')


def plain_loss(model, processor, data):
    "The mean over all tokens of the replies, question by question, as transformers computes it from labels."
    total, n = 0., 0
    for row in load_split(data, 'train'):
        human, gpt = (t['value'].replace('<image>', '').strip() for t in row['conversations'][:2])
        parts = [dict(type='image', image=row['image'])] if row['image'] else []
        inputs = plain_inputs(processor, [dict(role='user', content=[*parts, dict(type='text', text=human)])])
        reply = torch.tensor([encode_reply(processor, gpt)])
        labels = torch.cat([torch.full_like(inputs['input_ids'], -100), reply], 1)
        for name, value in inputs.items():  # a reply is text, and to PaliGemma a suffix
            if value.shape != inputs['input_ids'].shape or name == 'input_ids': continue
            suffix = 'paligemma' in model.config.model_type and name == 'token_type_ids'
            inputs[name] = torch.cat([value, torch.full_like(reply, name == 'attention_mask' or suffix)], 1)
        inputs['input_ids'] = torch.cat([inputs['input_ids'], reply], 1)
        with torch.inference_mode(): loss = model(**inputs, labels=labels).loss
        total, n = total + loss.item()*reply.shape[1], n + reply.shape[1]
    return total/n


@pytest.mark.parametrize('kw', [dict(), dict(lora_r=2, freeze=['vision'], packing=True)], ids=['whole', 'lora'])
def test_training(family, data, tmp_path, kw):
    "The loss of the first step, on one batch of pictures of all sizes and words; the checkpoint loads again."
    _, folder, model, processor = family
    report = run_train(data=data, model=folder, out=str(tmp_path/'ck'), objective='answer', keep_order=True, steps=2,
                       batch_tokens=8000, warmup=1, precision='fp32', lr=1e-2, force=True, **kw)
    assert report['log'][0]['loss'] == pytest.approx(plain_loss(model, processor, data), abs=1e-4)
    assert report['log'][1]['loss'] < report['log'][0]['loss']
    load_model(str(tmp_path/'ck'))


def test_training_on_choices_and_on_words(family, data, tmp_path):
    _, folder, _, _ = family
    for kw in dict(explain_tokens=8), dict(text_only=True):
        report = run_train(data=data, model=folder, out=str(tmp_path/'ck'), steps=1, batch_tokens=8000, warmup=1,
                           precision='fp32', force=True, overwrite=True, **kw)
        assert report['questions'] == len(SIZES) and not report['left_out']
