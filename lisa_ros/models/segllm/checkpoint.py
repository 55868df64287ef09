# SPDX-License-Identifier: Apache-2.0
"""A SegLLM folder as released, ready to be asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.common.configuration import settled_quantization
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.vision_tower import find_vision_tower, read_vision_config, vision_faults
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
            wrote them. The CLIP folder is needed for two files of configuration; CLIP's weights are the checkpoint's.
        options: precision, quantization, device and so on. A template is not chosen: SegLLM has one.

    Raises:
        CheckpointError: anything in the folder that is needed is missing, misshapen or not safe to read.
        ValueError: an option is not one of the known ones, or the device is not there.
    """
    options = options or LoadOptions()
    options.check()
    device = choose_device(options.device)
    config = read_configuration(folder)
    options = replace(options, quantization=settled_quantization(folder, options.quantization))
    dtype = choose_dtype(options, device)
    tokenizer = SegllmTokenizer(folder / "tokenizer.model", config.added_tokens)
    clip = ClipPreprocessing(find_vision_tower(folder, config.vision_tower, options.vision_tower))
    network = _load_network(folder, config, clip, options, dtype, device)
    name = f"{folder.resolve().name} ({str(dtype).removeprefix('torch.')}, {options.quantization}, {device})"
    return Segllm(network, config, tokenizer, clip, name, cache_mib=options.cache_mib)


@dataclass(frozen=True)
class Plan:
    """A network and the files to fill it with, which fit together.

    Attributes:
        network: on the meta device, in the sizes that the tensors have.
        weights: the checkpoint's.
        rename: name in the files -> the network's; None for what is not loaded.
        left_over: names in the files that this version knows nothing of.
    """

    network: SegllmNetwork
    weights: WeightFiles
    rename: dict[str, str | None]
    left_over: list[str]


def plan_network(folder: Path, config: SegllmConfig, clip: ClipPreprocessing) -> Plan:
    """Compares all that a checkpoint says of itself, before any tensor is read. See load_segllm for what it raises."""
    weights = WeightFiles(folder)
    stored = weights.shapes()
    vision, sizes = read_vision_config(clip.folder), read_sizes(stored)
    if faults := vision_faults(config.vision_width, vision, clip):
        raise CheckpointError(f"the parts of {folder} do not fit together: {'; '.join(faults)}")
    network = build_network(folder, config, vision, sizes)
    rename, left_over = sorted_out(stored, needed_shapes(network, config.stored))
    released = partial(released_key, layers=decoder_layers(stored))
    check_keys(network, stored, rename, folder, config.stored, released)
    return Plan(network, weights, rename, left_over)


def build_network(folder: Path, config: SegllmConfig, vision: CLIPVisionConfig, sizes: HipieSizes) -> SegllmNetwork:
    """An empty network on the meta device; a CheckpointError where none has such sizes."""
    try:
        with torch.device("meta"):
            return SegllmNetwork(config, vision, sizes)
    except Exception as error:  # sizes of which no network can be made: transformers raises what it comes to
        raise CheckpointError(f"{folder}: no network has the sizes of its config.json and tensors: {error}") from error


def _load_network(
    folder: Path,
    config: SegllmConfig,
    clip: ClipPreprocessing,
    options: LoadOptions,
    dtype: torch.dtype,
    device: torch.device,
) -> SegllmNetwork:
    plan = plan_network(folder, config, clip)
    network, mapped = plan.network, config.converted is not None
    if plan.left_over:
        _log.warning("%s has %d tensors that are not known: %s", folder, len(plan.left_over), ", ".join(plan.left_over))
    if mapped:
        plan.weights.read_ahead()
    parts = quantized_layers(network, config.stored)
    quantize_linears(network.language, options.quantization, dtype, device)
    filler = Filler(network, dtype, device, parts, mapped=mapped, dtype_of=partial(_dtype_of, dtype))
    filler.fill(plan.weights, plan.rename.get)
    fill_transformer_buffers(network, config.language, device)
    if options.fusion_scales is not None:
        take_fusion_scales(network.hipie.encoder.fusion, Path(options.fusion_scales))
    return network.eval().requires_grad_(False)


def _dtype_of(dtype: torch.dtype, key: str) -> torch.dtype:
    """HIPIE is small and decides by comparisons that half precision would tip."""
    return torch.float32 if key.startswith("hipie.") else dtype
