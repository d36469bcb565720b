"The vision-language families in miniature: their own classes, random weights, a tokenizer of bytes."
import torch, transformers as T
from tokenizers.processors import TemplateProcessing
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from sciencetutor.models.compat import NoVideos, without_videos
from sciencetutor.models.core import CHAT_TEMPLATE, byte_tokenizer

TEXT = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=4096, bos_token_id=1, eos_token_id=2, pad_token_id=0)
VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32,
              patch_size=8)  # 16 patches
SIDE = dict(height=32, width=32)
PINPOINTS = [[32, 64], [64, 32], [64, 64], [32, 96]]


def tokenizer(*special, **named):
    "A tokenizer of bytes with more special tokens, some of them known by a name."
    tok = byte_tokenizer()
    ends = {k: getattr(tok, k) for k in ('bos_token', 'eos_token', 'pad_token')}
    new = T.PreTrainedTokenizerFast(tokenizer_object=tok.backend_tokenizer, **ends, extra_special_tokens=named)
    more = {'additional_special_tokens': [*special, *named.values()]}
    new.add_special_tokens(more, replace_extra_special_tokens=False)
    return new


def template(mark):
    "ChatML with the family's own mark of a picture."
    return CHAT_TEMPLATE.replace('<image>\n', mark)


def llama(tok): return T.LlamaConfig(**TEXT, vocab_size=len(tok))


def siglip(): return T.SiglipVisionConfig(**VISION, vision_use_head=False, projection_dim=32)


def llava():
    tok = tokenizer('<image>')
    images = T.CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
    processor = T.LlavaProcessor(images, tok, patch_size=8, vision_feature_select_strategy='default',
        num_additional_image_tokens=1, image_token='<image>', chat_template=template('<image>\n'))
    config = T.LlavaConfig(vision_config=T.CLIPVisionConfig(**VISION), text_config=llama(tok),
        image_token_index=processor.image_token_id, image_seq_length=16)
    return config, processor


def llava_next():
    tok = tokenizer('<image>')
    images = LlavaNextImageProcessorPil(size=dict(shortest_edge=32), crop_size=SIDE, image_grid_pinpoints=PINPOINTS)
    processor = T.LlavaNextProcessor(images, tok, patch_size=8, vision_feature_select_strategy='default',
        num_additional_image_tokens=1, image_token='<image>', chat_template=template('<image>\n'))
    config = T.LlavaNextConfig(vision_config=T.CLIPVisionConfig(**VISION), text_config=llama(tok),
        image_token_index=processor.image_token_id, image_grid_pinpoints=PINPOINTS, image_seq_length=16)
    return config, processor


def llava_onevision():
    tok = tokenizer('<image>', '<video>')
    images = LlavaOnevisionImageProcessorPil(size=SIDE, image_grid_pinpoints=PINPOINTS)
    processor = T.LlavaOnevisionProcessor(images, tok, NoVideos(), num_image_tokens=16,
        vision_feature_select_strategy='full', chat_template=template('<image>\n'))
    config = T.LlavaOnevisionConfig(vision_config=siglip(), text_config=T.Qwen2Config(**TEXT, vocab_size=len(tok)),
        image_token_index=processor.image_token_id, video_token_index=processor.video_token_id,
        image_grid_pinpoints=PINPOINTS)
    return config, processor


def idefics(config, images, processor, **kw):
    tok = tokenizer('<image>', '<video>', '<fake_token_around_image>', '<global-img>', '<end_of_utterance>')
    images = images(size=dict(longest_edge=64), max_image_size=dict(longest_edge=32))
    processor = processor(images, tok, image_seq_len=4, chat_template=template('<image>'), **kw)
    return config(vision_config=dict(VISION), text_config=llama(tok), scale_factor=2,
        image_token_id=tok.convert_tokens_to_ids('<image>'), pad_token_id=0), processor


def idefics3(): return idefics(T.Idefics3Config, Idefics3ImageProcessorPil, T.Idefics3Processor)


def smolvlm():
    return idefics(T.SmolVLMConfig, SmolVLMImageProcessorPil, T.SmolVLMProcessor, video_processor=NoVideos())


def qwen(config, processor, vision, rope=None, text=(), **kw):
    tok = tokenizer('<|image_pad|>', '<|video_pad|>', '<|vision_start|>', '<|vision_end|>')
    images = Qwen2VLImageProcessorPil(size=dict(shortest_edge=32*32, longest_edge=64*64), patch_size=8)
    processor = processor(images, tok, NoVideos(),
                          chat_template=template('<|vision_start|><|image_pad|><|vision_end|>'))
    rope = dict(rope_type='default', rope_theta=1e4, mrope_section=[1, 1, 2]) | (rope or {})
    ids = {f'{k}_token_id': tok.convert_tokens_to_ids(f'<|{v}|>') for k, v in dict(
        image='image_pad', video='video_pad', vision_start='vision_start', vision_end='vision_end').items()}
    text = dict(**TEXT, vocab_size=len(tok), rope_parameters=rope) | dict(text)
    return config(text_config=text, vision_config=dict(patch_size=8, **vision), **ids, **kw), processor


def qwen2_vl():
    return qwen(T.Qwen2VLConfig, T.Qwen2VLProcessor, dict(depth=2, embed_dim=32, hidden_size=32, num_heads=2))


def qwen2_5_vl():
    vision = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, out_hidden_size=32, window_size=32,
                  fullatt_block_indexes=[1])
    return qwen(T.Qwen2_5_VLConfig, T.Qwen2_5_VLProcessor, vision)


def qwen3_vl():
    vision = dict(depth=2, hidden_size=32, intermediate_size=64, num_heads=2, out_hidden_size=32,
                  num_position_embeddings=64, deepstack_visual_indexes=[0, 1])
    return qwen(T.Qwen3VLConfig, T.Qwen3VLProcessor, vision, dict(mrope_interleaved=True), dict(head_dim=8))


def internvl():
    tok = tokenizer(start_image_token='<img>', end_image_token='</img>', context_image_token='<IMG_CONTEXT>',
                    video_token='<video>')
    images = GotOcr2ImageProcessorPil(size=SIDE, crop_to_patches=True, max_patches=4)
    processor = T.InternVLProcessor(images, tok, NoVideos(), image_seq_length=4,
                                    chat_template=template('<IMG_CONTEXT>\n'))
    vision = dict(VISION, image_size=[32, 32], patch_size=[8, 8])
    return T.InternVLConfig(vision_config=vision, text_config=T.Qwen2Config(**TEXT, vocab_size=len(tok)),
        image_token_id=processor.image_token_id, image_seq_length=4), processor


def gemma3():
    tok = tokenizer(boi_token='<start_of_image>', eoi_token='<end_of_image>', image_token='<image_soft_token>')
    begin = TemplateProcessing(single=f'{tok.bos_token} $A', special_tokens=[(tok.bos_token, tok.bos_token_id)])
    tok.backend_tokenizer.post_processor = begin  # the template begins a text, too: it must not begin twice
    images = Gemma3ImageProcessorPil(size=SIDE)
    processor = T.Gemma3Processor(images, tok, image_seq_length=4, chat_template=template('<start_of_image>'))
    text = T.Gemma3TextConfig(**TEXT, vocab_size=len(tok), head_dim=8, sliding_window=16, query_pre_attn_scalar=8,
                              layer_types=['sliding_attention', 'full_attention'])
    config = T.Gemma3Config(text_config=text, vision_config=siglip(), mm_tokens_per_image=4,
        boi_token_index=tok.boi_token_id, eoi_token_index=tok.eoi_token_id, image_token_index=tok.image_token_id)
    return config, processor


def paligemma():
    tok = tokenizer('<image>')
    images = SiglipImageProcessorPil(size=SIDE)
    images.image_seq_length = 16
    processor = T.PaliGemmaProcessor(images, tok, chat_template=template('<image>'))
    config = T.PaliGemmaConfig(vision_config=siglip(),
        text_config=T.GemmaConfig(**TEXT, vocab_size=len(tok), head_dim=8), image_token_index=processor.image_token_id,
        vocab_size=len(tok), projection_dim=32, hidden_size=32)
    return config, processor


FAMILIES = {f.__name__: f for f in (llava, llava_next, llava_onevision, idefics3, smolvlm, qwen2_vl, qwen2_5_vl,
                                    qwen3_vl, internvl, gemma3, paligemma)}


def make(family, folder):
    "Write a checkpoint as the hub has it."
    with without_videos(): config, processor = FAMILIES[family]()
    torch.manual_seed(0)
    model = T.AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    for p in model.parameters():  # far from the small weights of a new model, so that a wrong mask or position shows
        if p.ndim > 1: torch.nn.init.normal_(p, std=.25)
    model.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
