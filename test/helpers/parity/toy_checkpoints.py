# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints with random weights, in the format that transformers' released ones have."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
)

HIERA = {
    "hidden_size": 8,
    "image_size": [64, 64],
    "blocks_per_stage": [1, 1, 2, 1],
    "embed_dim_per_stage": [8, 12, 16, 24],
    "num_attention_heads_per_stage": [1, 1, 1, 1],
    "window_size_per_stage": [8, 4, 4, 4],
    "window_positional_embedding_background_size": [2, 2],
    "global_attention_blocks": [3],
    "mlp_ratio": 2.0,
    "model_type": "sam2_hiera_det_model",
}
VISION = {
    "model_type": "sam2_vision_model",
    "backbone_config": HIERA,
    "backbone_channel_list": [24, 16, 12, 8],
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "fpn_hidden_size": 16,
}
PROMPT_ENCODER = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
MASK_DECODER = {
    "hidden_size": 16,
    "mlp_dim": 16,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
    "attention_downsample_rate": 1,
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_SPECIAL_VIDEO = ("<|video_pad|>",)


def sam2_checkpoint(folder: Path, seed: int = 0) -> Path:
    """SAM 2 for images of 64 x 64 pixels."""
    torch.manual_seed(seed)
    config = Sam2Config(vision_config=VISION, prompt_encoder_config=PROMPT_ENCODER, mask_decoder_config=MASK_DECODER)
    model = Sam2Model(config)
    _scatter(model)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    Sam2Processor(Sam2ImageProcessor(size=size, mask_size={"height": 16, "width": 16})).save_pretrained(folder)
    return folder


def pointing_checkpoint(folder: Path, script: Sequence[str] = (), seed: int = 0) -> Path:
    """Qwen2.5-VL of two layers.

    Args:
        folder: where it is written.
        script: the model writes these pieces in this order, whatever it is asked: each is one token, and predicts the
            next. Empty: random weights.
        seed: of the random weights.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(folder, script)
    model = Qwen2_5_VLForConditionalGeneration(_qwen(tokenizer))
    if script:
        _learn(model, tokenizer, script)
    else:
        _scatter(model)
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    model.save_pretrained(folder)
    images = Qwen2VLImageProcessor(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112})
    Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path, script: Sequence[str]) -> Qwen2Tokenizer:
    """Bytes, the special tokens and the pieces of the script."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {character: number for number, character in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [*_SPECIAL[1:], *_SPECIAL_VIDEO]})
    tokenizer.add_tokens(list(script))
    return tokenizer


def _qwen(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (*_SPECIAL, *_SPECIAL_VIDEO)}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "tie_word_embeddings": False,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [0],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def _scatter(model: torch.nn.Module) -> None:
    """Weights so large that inputs matter: transformers' own initial ones make every answer the same."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "timm_model" not in name:  # such a deep network would saturate
                weight.normal_(0.0, 0.3)


def _learn(model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2Tokenizer, script: Sequence[str]) -> None:
    """Each token of the script predicts the next; the line end before an answer predicts the first."""
    chain = [*tokenizer.encode("\n"), *tokenizer.convert_tokens_to_ids([*script, "<|im_end|>"])]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "language_model.layers" in name and ("o_proj.weight" in name or "down_proj.weight" in name):
                weight.zero_()
        embedded = model.get_input_embeddings().weight
        embedded.normal_()
        model.lm_head.weight.zero_()
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[following] += embedded[token]


MEMORY = {
    "image_size": 64,
    "num_maskmem": 4,
    "max_object_pointers_in_encoder": 6,
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_encoder_hidden_size": 128,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": 128,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 16,
}
"""Of a tracker for images of 64 x 64 pixels."""


def tracker_checkpoint(folder: Path, kind: str, seed: int = 0) -> Path:
    """A video model: "sam2", "edgetam" (needs timm) or "sam3"."""
    import transformers

    torch.manual_seed(seed)
    size, mask_size = {"height": 64, "width": 64}, {"height": 16, "width": 16}
    # transformers' memory attention takes memories of 64 channels and no others, and features of more.
    prompts, decoder = {**PROMPT_ENCODER, "hidden_size": 128}, {**MASK_DECODER, "hidden_size": 128}
    memory = dict(MEMORY)
    if kind == "sam3":
        images = transformers.Sam3ImageProcessor(size=size, mask_size=mask_size)
        processor = transformers.Sam3TrackerVideoProcessor(images, transformers.Sam2VideoVideoProcessor(size=size))
        memory |= {"memory_attention_feed_forward_hidden_size": 16, "memory_attention_rope_feat_sizes": [4, 4]}
        model = transformers.Sam3TrackerVideoModel(
            transformers.Sam3TrackerVideoConfig(
                vision_config=SAM3_VISION, prompt_encoder_config=prompts, mask_decoder_config=decoder, **memory
            )
        )
    else:
        images = Sam2ImageProcessor(size=size, mask_size=mask_size)
        processor = transformers.Sam2VideoProcessor(images, transformers.Sam2VideoVideoProcessor(size=size))
        if kind == "sam2":
            memory |= {"memory_attention_feed_forward_hidden_size": 16, "memory_attention_rope_feat_sizes": [4, 4]}
            model = transformers.Sam2VideoModel(
                transformers.Sam2VideoConfig(
                    vision_config={**VISION, "fpn_hidden_size": 128},
                    prompt_encoder_config=prompts,
                    mask_decoder_config=decoder,
                    **memory,
                )
            )
        else:
            model = _edgetam(prompts, decoder, memory)
    _scatter(model)
    with torch.no_grad():  # the object is seen: random weights would say so by chance
        last = list(model.mask_decoder.pred_obj_score_head.parameters())[-1]
        last.fill_(8.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


SAM3_VISION = {
    "model_type": "sam3_vision_model",
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 64,
    },
    "fpn_hidden_size": 128,
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
}


def _edgetam(prompts: dict[str, object], decoder: dict[str, object], memory: dict[str, object]) -> torch.nn.Module:
    import transformers

    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 2,
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    }
    vision = {
        "model_type": "edgetam_vision_model",
        "backbone_config": backbone,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 128,
    }
    memory |= {
        "memory_attention_mlp_hidden_size": 16,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_attention_rope_k_sizes": [2, 2],
        "perceiver_resampler_num_latents": 4,
        "perceiver_resampler_num_latents_2d": 4,
        "perceiver_resampler_hidden_size": 64,
        "perceiver_resampler_mlp_intermediate_size": 16,
        "perceiver_resampler_attention_head_dim": 64,
    }
    config = transformers.EdgeTamVideoConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder, **memory
    )
    return transformers.EdgeTamVideoModel(config)


def sam3_checkpoint(folder: Path, seed: int = 0) -> Path:
    """SAM 3 for images of 64 x 64 pixels."""
    import transformers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    torch.manual_seed(seed)
    small = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    characters = list(bytes_to_unicode().values())
    tokens = [*characters, *(one + "</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[])
    text = {
        **{"model_type": "clip_text_model", "vocab_size": len(tokens), "hidden_size": 32, "intermediate_size": 32},
        **{"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32, "projection_dim": 32},
        **{"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1},
    }
    config = transformers.Sam3Config(
        vision_config={**SAM3_VISION, "fpn_hidden_size": 32},
        text_config=text,
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    model = transformers.Sam3Model(config)
    _scatter(model)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    images = transformers.Sam3ImageProcessor(size=size, mask_size={"height": 16, "width": 16})
    transformers.Sam3Processor(images, tokenizer).save_pretrained(folder)
    return folder
