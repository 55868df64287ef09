# SPDX-License-Identifier: Apache-2.0
"""HIPIE's sizes, read from the shapes of a checkpoint's tensors: config.json does not have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.models.segllm.hipie.backbone import StageSizes
from lisa_ros.models.segllm.hipie.network import HipieSizes
from lisa_ros.models.segllm.keys import DETR, FUSION, TRANSFORMER, count_after, decoder_layers

BACKBONE = f"{DETR}backbone.0.backbone."
ENCODER_LAYERS = f"{TRANSFORMER}encoder.layers."


def read_sizes(shapes: Mapping[str, Shape]) -> HipieSizes:
    """HIPIE's sizes.

    Args:
        shapes: released name -> shape.

    Raises:
        CheckpointError: a tensor that a size is read from is missing.
    """
    size = partial(_size, shapes)
    return HipieSizes(
        stem=size(f"{BACKBONE}stem.conv1.weight"),
        stages=tuple(_stage(shapes, number) for number in range(2, 6)),
        encoder_layers=count_after(shapes, ENCODER_LAYERS),
        encoder_inner=size(f"{ENCODER_LAYERS}0.linear1.weight"),
        decoder_layers=decoder_layers(shapes),
        decoder_inner=size(f"{TRANSFORMER}decoder.layers.0.linear1.weight"),
        fusion=size(f"{FUSION}attn.v_proj.weight"),
        text=size(f"{FUSION}gamma_l"),
        queries=size(f"{TRANSFORMER}tgt_embed.weight"),
        background=size(f"{TRANSFORMER}tgt_embed_bg.weight"),
    )


def _size(shapes: Mapping[str, Shape], name: str) -> int:
    if not shapes.get(name):
        raise CheckpointError(f"the checkpoint has no tensor {name}, which a size of SegLLM's HIPIE is read from")
    return shapes[name][0]


def _stage(shapes: Mapping[str, Shape], number: int) -> StageSizes:
    prefix = f"{BACKBONE}res{number}."
    inner, outer = (_size(shapes, f"{prefix}0.conv{number_of_conv}.weight") for number_of_conv in (1, 3))
    return StageSizes(count_after(shapes, prefix), inner, outer)
