# SPDX-License-Identifier: Apache-2.0
"""Loads a SegLLM folder as released, or as `lisa convert` wrote it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.common.checkpoints.opening import Placement, empty_network, frozen, place
from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower, read_vision_config, vision_faults
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.language.engine import Engine
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.common.weights.filling import (
    Filler,
    check_keys,
    fill_transformer_buffers,
    needed_shapes,
    quantized_layers,
)
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.segllm.configuration import SegllmConfig, read_configuration
from lisa_ros.models.segllm.decoding import Segllm
from lisa_ros.models.segllm.hipie.fusion_scales import take_fusion_scales
from lisa_ros.models.segllm.hipie.network import HipieSizes
from lisa_ros.models.segllm.hipie.sizes import read_sizes
from lisa_ros.models.segllm.keys import decoder_layers, released_key, sorted_out
from lisa_ros.models.segllm.network import SegllmNetwork
from lisa_ros.models.segllm.tokenizer import SegllmTokenizer

_log = logging.getLogger(__name__)


def load_segllm(folder: Path, options: LoadOptions | None = None) -> Segllm:
    """Loads a SegLLM checkpoint folder.

    Args:
        folder: config.json, added_tokens.json, tokenizer.model and the weights, as released or as `lisa convert`
            wrote them. Two configuration files of the CLIP folder are needed; CLIP's weights are in the checkpoint.
        options: precision, quantization, device and so on. `template` has no effect: SegLLM has one template.

    Raises:
        CheckpointError: anything in the folder that is needed is missing, misshapen or not safe to read.
        LisaError: an option is unknown, or the device is not there.
    """
    where = place(folder, options)
    config = read_configuration(folder)
    tokenizer = SegllmTokenizer(folder / "tokenizer.model", config.added_tokens)
    clip = ClipPreprocessing(find_vision_tower(folder, config.vision_tower, where.options.vision_tower))
    network = _load_network(folder, config, clip, where)
    # No token is generated, so there is no single-token step to capture.
    engine = Engine(network, where.engine_options(can_capture=False))
    return Segllm(network, config, tokenizer, clip, where.name, engine)


@dataclass(frozen=True)
class Plan:
    """A network and the files to fill it with, which fit together.

    Attributes:
        network: on the meta device, in the sizes that the tensors have.
        weights: the checkpoint's.
        rename: name in the files -> the network's; None for what is not loaded.
        left_over: names in the files that this version does not know.
    """

    network: SegllmNetwork
    weights: WeightFiles
    rename: dict[str, str | None]
    left_over: list[str]


def plan_network(folder: Path, config: SegllmConfig, clip: ClipPreprocessing) -> Plan:
    """Checks that the parts of a checkpoint fit together, before any tensor is read. See load_segllm for errors."""
    weights = WeightFiles(folder)
    stored = weights.shapes()
    vision, sizes = read_vision_config(clip.folder), read_sizes(stored)
    if faults := vision_faults(config.vision_width, config.select_layer, vision, clip):
        raise CheckpointError(f"the parts of {folder} do not fit together: {'; '.join(faults)}")
    network = build_network(folder, config, vision, sizes)
    rename, left_over = sorted_out(stored, needed_shapes(network, config.stored))
    released = partial(released_key, layers=decoder_layers(stored))
    check_keys(network, stored, rename, folder, config.stored, released)
    return Plan(network, weights, rename, left_over)


def build_network(folder: Path, config: SegllmConfig, vision: CLIPVisionConfig, sizes: HipieSizes) -> SegllmNetwork:
    """An empty network on the meta device; a CheckpointError where none has such sizes."""
    return empty_network(lambda: SegllmNetwork(config, vision, sizes), folder, "config.json and tensors")


def _load_network(folder: Path, config: SegllmConfig, clip: ClipPreprocessing, where: Placement) -> SegllmNetwork:
    plan = plan_network(folder, config, clip)
    network, mapped = plan.network, config.converted is not None
    if plan.left_over:
        _log.warning("%s has %d unknown tensors: %s", folder, len(plan.left_over), ", ".join(plan.left_over))
    if mapped:
        plan.weights.read_ahead()
    parts = quantized_layers(network, config.stored)
    quantize_linears(network.language, where.quantization, where.dtype, where.device)
    dtypes = partial(_dtype_of, where.dtype)
    filler = Filler(network, where.dtype, where.device, parts, mapped=mapped, dtype_of=dtypes)
    filler.fill(plan.weights, plan.rename.get)
    fill_transformer_buffers(network, config.language, where.device)
    if where.options.fusion_scales is not None:
        take_fusion_scales(network.hipie.encoder.fusion, Path(where.options.fusion_scales))
    return frozen(network)


def _dtype_of(dtype: torch.dtype, key: str) -> torch.dtype:
    """A tensor's number format: HIPIE is small, and its comparisons would come out differently in half precision."""
    return torch.float32 if key.startswith("hipie.") else dtype
