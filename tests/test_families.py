"Every family of vision-language models says here what plain transformers says of it: a naive loop, fp32, one at a time."
import importlib.util

import pytest, torch
from PIL import Image
import miniatures
from sciencetutor.engine.core import Engine
from sciencetutor.eval.generation import generate_texts, letter_scores, letter_tokens
from sciencetutor.eval.prompts import render
from sciencetutor.models.core import load_model
from sciencetutor.models.scoring import encode_reply, score_choices

SIZES = [(40, 30), None, (90, 30), (30, 70), (33, 33), None, (64, 20), (200, 180)]  # pixels; None: words alone
NEEDS = dict(smolvlm='num2words')


@pytest.fixture(scope='module', params=miniatures.FAMILIES)
def family(request, tmp_path_factory):
    "(name, folder, model, processor), loaded from a checkpoint as from the hub."
    name = request.param
    if (package := NEEDS.get(name)) and not importlib.util.find_spec(package): pytest.skip(f'{package} is not installed')
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


def plain_inputs(processor, k):
    "What plain transformers makes of question k."
    messages, images, _ = ask(k)
    how = dict(add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors='pt')
    try: inputs = processor.apply_chat_template(messages, **how)
    except ValueError:  # PaliGemma wants a picture: the words alone through its tokenizer
        assert not images
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
    inputs, scores = plain_inputs(processor, k), []
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
        logits = plain_logits(model, plain_inputs(processor, k), [*first, letters[0]])[-1]
        close(scores, logits.log_softmax(-1)[letters[:3]])


@torch.inference_mode()
def plain_text(model, processor, k, n):
    inputs = plain_inputs(processor, k)
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
