# SPDX-License-Identifier: Apache-2.0
"""segment-anything's network, in the size of a checkpoint's tensors.

A LISA folder does not state SAM's size (the released ones have ViT-H), so all sizes are read from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.models.lisa.sam.attention import fuse

DECODER_HEADS = 8
"""Attention heads of SAM's mask decoder: the same in every SAM; the tensors' shapes do not show it."""

KEY_PREFIX = "model.visual_model."
"""Prefix of segment-anything's key names in a LISA checkpoint."""

_SIZE_KEYS = (
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.pos_embed",
    "image_encoder.blocks.0.attn.rel_pos_h",
    "image_encoder.blocks.0.mlp.lin1.weight",
    "prompt_encoder.no_mask_embed.weight",
    "prompt_encoder.mask_downscaling.3.weight",
    "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight",
    "mask_decoder.transformer.layers.0.mlp.lin1.weight",
    "mask_decoder.mask_tokens.weight",
    "mask_decoder.iou_prediction_head.layers.0.weight",
)


@dataclass(frozen=True)
class SamSizes:
    """Arguments of segment-anything's modules. Lengths in pixels, patches (`grid`, `window`) or channels."""

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float
    window: int
    global_blocks: tuple[int, ...]
    prompt_width: int
    mask_channels: int
    decoder_depth: int
    decoder_mlp: int
    attention_downsample: int
    mask_tokens: int
    iou_depth: int
    iou_width: int
    qkv_bias: bool = True

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


def read_sizes(shapes: Mapping[str, Shape]) -> SamSizes:
    """Reads SAM's sizes from the shapes of its tensors.

    Args:
        shapes: segment-anything's own key names -> shape.

    Raises:
        CheckpointError: tensors that show a size are missing, or the sizes contradict each other.
    """
    absent = [KEY_PREFIX + key for key in _SIZE_KEYS if key not in shapes]
    if absent:
        raise CheckpointError(f"SAM's size is unknown, {len(absent)} missing: {', '.join(absent)}")
    try:
        return _read_sizes(shapes)
    except KeyError as error:
        raise CheckpointError(f"SAM's size is unknown, 1 missing: {KEY_PREFIX}{error.args[0]}") from error
    except (IndexError, ValueError, ZeroDivisionError) as error:
        listed = ", ".join(f"{KEY_PREFIX}{key} {shapes[key]}" for key in _SIZE_KEYS)
        raise CheckpointError(f"these are not the shapes of SAM's tensors: {listed}") from error


def _read_sizes(shapes: Mapping[str, Shape]) -> SamSizes:
    encoder, decoder, prompt = "image_encoder.", "mask_decoder.", "prompt_encoder."
    width, _, patch, _ = shapes[encoder + "patch_embed.proj.weight"]
    _, grid, columns, _ = shapes[encoder + "pos_embed"]
    if grid != columns:
        raise ValueError("SAM's image is square")
    depth = _count(shapes, encoder + r"blocks\.(\d+)\.")
    window, global_blocks = _read_windows(shapes, depth, grid)
    prompt_width = shapes[prompt + "no_mask_embed.weight"][1]
    layer = decoder + "transformer.layers.0."
    inner = shapes[layer + "cross_attn_token_to_image.q_proj.weight"][0]
    iou = decoder + "iou_prediction_head.layers."
    return SamSizes(
        image_size=grid * patch,
        patch_size=patch,
        width=width,
        depth=depth,
        heads=width // shapes[encoder + "blocks.0.attn.rel_pos_h"][1],
        mlp_ratio=shapes[encoder + "blocks.0.mlp.lin1.weight"][0] / width,
        window=window,
        global_blocks=global_blocks,
        prompt_width=prompt_width,
        mask_channels=shapes[prompt + "mask_downscaling.3.weight"][0],
        decoder_depth=_count(shapes, decoder + r"transformer\.layers\.(\d+)\."),
        decoder_mlp=shapes[layer + "mlp.lin1.weight"][0],
        attention_downsample=prompt_width // inner,
        mask_tokens=shapes[decoder + "mask_tokens.weight"][0],
        iou_depth=_count(shapes, re.escape(iou) + r"(\d+)\."),
        iou_width=shapes[iou + "0.weight"][0],
        qkv_bias=encoder + "blocks.0.attn.qkv.bias" in shapes,
    )


def _count(shapes: Mapping[str, Shape], pattern: str) -> int:
    found = {int(match.group(1)) for key in shapes if (match := re.match(pattern, key))}
    if not found:
        raise KeyError(pattern.replace("\\", ""))
    return max(found) + 1


def _read_windows(shapes: Mapping[str, Shape], depth: int, grid: int) -> tuple[int, tuple[int, ...]]:
    """(window of the windowed blocks in patches, indexes of the blocks with global attention)."""
    spans = [(shapes[f"image_encoder.blocks.{i}.attn.rel_pos_h"][0] + 1) // 2 for i in range(depth)]
    windows = {span for span in spans if span != grid}
    if len(windows) > 1:
        raise CheckpointError(
            f"SAM's blocks have windows of {sorted(windows)} patches in an image of {grid} x {grid}; "
            "segment-anything has windows of one size"
        )
    return next(iter(windows), 0), tuple(i for i, span in enumerate(spans) if span == grid)


def build_sam(sizes: SamSizes) -> Sam:
    """segment-anything's `Sam` of these sizes, its encoder with fused attention, weights not loaded."""
    encoder = build_encoder(sizes)
    fuse(encoder)
    prompt_encoder = PromptEncoder(
        embed_dim=sizes.prompt_width,
        image_embedding_size=(sizes.grid, sizes.grid),
        input_image_size=(sizes.image_size, sizes.image_size),
        mask_in_chans=sizes.mask_channels,
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=sizes.mask_tokens - 1,
        transformer=TwoWayTransformer(
            depth=sizes.decoder_depth,
            embedding_dim=sizes.prompt_width,
            num_heads=DECODER_HEADS,
            mlp_dim=sizes.decoder_mlp,
            attention_downsample_rate=sizes.attention_downsample,
        ),
        transformer_dim=sizes.prompt_width,
        iou_head_depth=sizes.iou_depth,
        iou_head_hidden_dim=sizes.iou_width,
    )
    return Sam(encoder, prompt_encoder, mask_decoder)


def build_encoder(sizes: SamSizes) -> ImageEncoderViT:
    """segment-anything's own image encoder of these sizes, weights not loaded."""
    return ImageEncoderViT(
        img_size=sizes.image_size,
        patch_size=sizes.patch_size,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        out_chans=sizes.prompt_width,
        qkv_bias=sizes.qkv_bias,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_abs_pos=True,
        use_rel_pos=True,
        window_size=sizes.window,
        global_attn_indexes=sizes.global_blocks,
    )


class Float32Neck(nn.Module):
    """SAM's neck in float32 inside a half-precision encoder: in fp16 its activations overflow."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck: Any = neck.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width, grid, grid), any float type -> (B, prompt_width, grid, grid), float32."""
        out: torch.Tensor = self.neck(x.float())
        return out
