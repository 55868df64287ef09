# SPDX-License-Identifier: Apache-2.0
"""Sizes of models with random weights: speed does not depend on the weights' values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lisa_ros.models.lisa.sam.network import SamSizes

CLIP_VIT_L_14: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
"""The CLIP of every released LISA."""

CLIP_PREPROCESSING: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}


def _sam(width: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> SamSizes:
    return SamSizes(
        image_size=1024,
        patch_size=16,
        width=width,
        depth=depth,
        heads=heads,
        mlp_ratio=4.0,
        window=14,
        global_blocks=global_blocks,
        prompt_width=256,
        mask_channels=16,
        decoder_depth=2,
        decoder_mlp=2048,
        attention_downsample=2,
        mask_tokens=4,
        iou_depth=3,
        iou_width=256,
    )


SAM_VIT_B = _sam(768, 12, 12, (2, 5, 8, 11))
SAM_VIT_H = _sam(1280, 32, 16, (7, 15, 23, 31))


@dataclass(frozen=True)
class Shape:
    """Sizes of a LISA: LLaMA's layers, width, MLP width and heads; SAM's encoder. CLIP is always ViT-L/14."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    sam: SamSizes

    def language(self, vocabulary: int) -> dict[str, Any]:
        """LLaMA's part of a config.json."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-6,
        }


RANDOM_SHAPES = {
    "mini": Shape(12, 1024, 2816, 16, SAM_VIT_B),
    "7b": Shape(32, 4096, 11008, 32, SAM_VIT_H),
    "13b": Shape(40, 5120, 13824, 40, SAM_VIT_H),
}
VOCABULARY = 32_003
"""LLaMA's 32,000, and `[SEG]`, `<im_start>`, `<im_end>`."""
