# SPDX-License-Identifier: Apache-2.0
"""The sizes of the embedded LISA: the released architecture, small enough to live in the repository.

7.4 M parameters, 15 MB in half precision. Widths of LLaMA are multiples of 64, so that 4-bit quantization works on it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig

from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.sam import SamSizes

PROMPT_WIDTH = 128

SAM = SamSizes(
    image_size=320,
    patch_size=16,
    width=160,
    depth=6,
    heads=5,
    mlp_ratio=4.0,
    window=0,
    global_blocks=tuple(range(6)),
    prompt_width=PROMPT_WIDTH,
    mask_channels=16,
    decoder_depth=2,
    decoder_mlp=512,
    attention_downsample=2,
    mask_tokens=4,
    iou_depth=2,
    iou_width=64,
)

CLIP: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 192,
    "patch_size": 16,
    "num_channels": 3,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 64,
}

CLIP_PREPROCESSING: dict[str, Any] = {
    # The whole 4:3 picture squeezed into a square: the centre crop of the released CLIP would hide both sides of it.
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": 192, "width": 192},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}

# The last of CLIP's layers, not the one before it as in the released checkpoints: every layer was trained for this.
SELECT_LAYER = -1

LANGUAGE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def embedded_configuration(vocab_size: int, added_tokens: dict[str, int]) -> LisaConfig:
    """The embedded LISA's configuration for a vocabulary, added tokens counted in."""
    return LisaConfig(
        language=LlamaConfig(vocab_size=vocab_size, **LANGUAGE),
        vision_tower="clip",
        vision_width=CLIP["hidden_size"],
        select_layer=SELECT_LAYER,
        wrap_image=True,
        out_dim=PROMPT_WIDTH,
        added_tokens=added_tokens,
    )


def new_network(config: LisaConfig, seed: int) -> LisaNetwork:
    """A network with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    network = LisaNetwork(config, CLIPVisionConfig(**CLIP), SAM)
    for module in network.visual_model.image_encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
    nn.init.trunc_normal_(network.visual_model.image_encoder.pos_embed, std=0.02)
    for module in (network.language, network.vision_tower):
        _init_transformer(module)
    nn.init.normal_(network.lm_head.weight, std=0.02)
    return network


def _init_transformer(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding | nn.Conv2d):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
