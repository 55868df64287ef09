# SPDX-License-Identifier: Apache-2.0
"""Loads a LISA folder as released, or as `lisa convert` wrote it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.common.checkpoints.opening import Placement, empty_network, frozen, place, warmed_up
from lisa_ros.models.common.checkpoints.vision_tower import (
    find_vision_tower,
    has_layer,
    read_vision_config,
    vision_faults,
)
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import SAM_PIXEL_MEAN, SAM_PIXEL_STD, ClipPreprocessing
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.common.weights.filling import Filler, check_keys, fill_transformer_buffers, quantized_layers
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.lisa.configuration import LisaConfig, read_configuration
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES
from lisa_ros.models.lisa.keys import clip_key, lisa_key, released_key
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.prompt import TEMPLATES, template_doubt
from lisa_ros.models.lisa.sam.network import KEY_PREFIX as SAM_PREFIX
from lisa_ros.models.lisa.sam.network import Float32Neck, SamSizes, read_sizes
from lisa_ros.models.lisa.tokenizer import LisaTokenizer

_log = logging.getLogger(__name__)

LisaType = TypeVar("LisaType", bound=Lisa)


def load_lisa(folder: Path, options: LoadOptions | None = None) -> Lisa:
    """Loads a LISA checkpoint folder, see load_lisa_as."""
    return load_lisa_as(Lisa, folder, options)


def load_lisa_as(kind: type[LisaType], folder: Path, options: LoadOptions | None = None) -> LisaType:
    """Loads a LISA checkpoint folder.

    Args:
        kind: Lisa, or a subclass for measurements.
        folder: config.json, added_tokens.json, tokenizer.model and the weights, as released or as `lisa convert`
            wrote them.
        options: precision, quantization, device and so on.

    Raises:
        CheckpointError: anything in the folder is missing, misshapen, unexpected or not safe to read.
        LisaError: an option is unknown, or the device is not there.
    """
    where = place(folder, options)
    config = read_configuration(folder)
    _warn_of_template(folder, where.options.template)
    tokenizer = load_tokenizer(folder, config)
    clip = ClipPreprocessing(find_vision_tower(folder, config.vision_tower, where.options.vision_tower))
    network = load_network(folder, config, clip, where)
    return warmed_up(lisa_of(kind, network, config, tokenizer, clip, where), where)


def _warn_of_template(folder: Path, template: str) -> None:
    record = folder / "finetuning.json"
    doubt = template_doubt(read_json(folder / "config.json"), read_json(record) if record.is_file() else {}, template)
    if doubt:
        _log.warning("%s: %s", folder, doubt)


def lisa_of(
    kind: type[LisaType],
    network: LisaNetwork,
    config: LisaConfig,
    tokenizer: LisaTokenizer,
    clip: ClipPreprocessing,
    where: Placement,
) -> LisaType:
    """The model of a filled network."""
    return kind(
        network,
        config,
        tokenizer,
        TEMPLATES[where.options.template],
        clip,
        where.name,
        kind.engine_type(network, where.engine_options()),
        deterministic=where.options.deterministic,
    )


def load_tokenizer(folder: Path, config: LisaConfig) -> LisaTokenizer:
    """A checkpoint folder's tokenizer. See LisaTokenizer for what it raises."""
    path = folder / "tokenizer_config.json"
    legacy = not path.is_file() or read_json(path).get("legacy") is not False
    return LisaTokenizer(folder / "tokenizer.model", config.added_tokens, legacy=legacy)


@dataclass(frozen=True)
class Plan:
    """A network and the files to fill it with, which fit together.

    Attributes:
        network: on the meta device, in the sizes that the tensors have.
        weights, clip_weights: the checkpoint's and CLIP's.
        tied: the files have no output layer; the token embeddings serve as one.
    """

    network: LisaNetwork
    weights: WeightFiles
    clip_weights: WeightFiles
    tied: bool


def plan_network(folder: Path, config: LisaConfig, clip: ClipPreprocessing) -> Plan:
    """Checks that the parts of a checkpoint fit together, before any tensor is read. See load_lisa for errors."""
    weights, clip_weights = WeightFiles(folder), WeightFiles(clip.folder)
    stored, clip_stored = weights.shapes(), clip_weights.shapes()
    vision = read_vision_config(clip.folder)
    sam = read_sizes({key.removeprefix(SAM_PREFIX): shape for key, shape in stored.items()})
    _check_parts(folder, config, vision, sam, clip)
    network = empty_network(lambda: LisaNetwork(config, vision, sam), folder, "config.json and tensors")
    rename = {key: lisa_key(key) for key in stored} | {key: clip_key(key) for key in clip_stored}
    tied = config.language.tie_word_embeddings and "lm_head.weight" not in stored
    if tied:
        rename["tied"], stored["tied"] = "lm_head.weight", stored.get("model.embed_tokens.weight", ())
    check_keys(network, stored | clip_stored, rename, folder, config.stored, released_key)
    return Plan(network, weights, clip_weights, tied)


def load_network(folder: Path, config: LisaConfig, clip: ClipPreprocessing, where: Placement) -> LisaNetwork:
    """Builds the network in the sizes that the tensors have and fills it. See load_lisa for errors."""
    plan = plan_network(folder, config, clip)
    network, mapped = plan.network, config.converted is not None
    if mapped:
        plan.weights.read_ahead()
        plan.clip_weights.read_ahead()
    filler = filler_for(network, where, config.stored, mapped=mapped)
    filler.fill(plan.weights, lisa_key)
    filler.fill(plan.clip_weights, clip_key)
    if plan.tied:
        network.lm_head.weight = network.language.embed_tokens.weight
    return ready(network, config, where)


def filler_for(network: LisaNetwork, where: Placement, stored: str = "none", *, mapped: bool = False) -> Filler:
    """Quantizes an empty network's linear layers; returns what fills it.

    Args:
        network: on the meta device.
        where: device, precision and quantization.
        stored: the quantization of the files.
        mapped: see Filler.
    """
    parts = quantized_layers(network, stored)
    quantize_linears(network.language, where.quantization, where.dtype, where.device)
    dtypes = partial(_dtype_of, where.dtype)
    return Filler(network, where.dtype, where.device, parts, mapped=mapped, dtype_of=dtypes)


def ready(network: LisaNetwork, config: LisaConfig, where: Placement) -> LisaNetwork:
    """A filled network, ready for inference."""
    fill_buffers(network, config, where.device)
    if where.dtype == torch.float16:
        network.visual_model.image_encoder.neck = Float32Neck(network.visual_model.image_encoder.neck)
    return frozen(network)


def _check_parts(
    folder: Path, config: LisaConfig, vision: CLIPVisionConfig, sam: SamSizes, clip: ClipPreprocessing
) -> None:
    """Raises a CheckpointError where two parts, each correct by itself, do not fit together."""
    faults = vision_faults(config.vision_width, config.select_layer, vision, clip)
    if config.out_dim != sam.prompt_width:
        faults.append(f"out_dim is {config.out_dim}, but SAM's prompts are {sam.prompt_width} wide")
    patches = config.object_patches
    if patches is not None and clip.crops:
        faults.append(f"{OBJECT_PATCHES} needs a CLIP that is given whole images, and do_center_crop is true")
    if patches is not None and not all(has_layer(vision, layer) for layer in patches.layers):
        faults.append(
            f"{OBJECT_PATCHES} has the layers {list(patches.layers)}, but CLIP has {vision.num_hidden_layers} layers"
        )
    if faults:
        raise CheckpointError(f"the parts of {folder} do not fit together: {'; '.join(faults)}")


def _dtype_of(dtype: torch.dtype, key: str) -> torch.dtype:
    """A tensor's number format: SAM's small parts stay in float32; fp16 would overflow in the encoder's neck."""
    if key.startswith(("visual_model.prompt_encoder.", "visual_model.mask_decoder.")):
        return torch.float32
    if key.startswith("visual_model.image_encoder.neck.") and dtype == torch.float16:
        return torch.float32
    return dtype


def fill_buffers(network: LisaNetwork, config: LisaConfig, device: torch.device) -> None:
    """Fills the buffers that no checkpoint holds."""
    fill_transformer_buffers(network, config.language, device)
    sam = network.visual_model
    sam.pixel_mean = torch.tensor(SAM_PIXEL_MEAN, device=device).view(3, 1, 1)
    sam.pixel_std = torch.tensor(SAM_PIXEL_STD, device=device).view(3, 1, 1)
