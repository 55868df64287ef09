# SPDX-License-Identifier: Apache-2.0
"""A LISA folder as released, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.common.configuration import read_json, settled_quantization
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import SAM_PIXEL_MEAN, SAM_PIXEL_STD, ClipPreprocessing
from lisa_ros.models.common.vision_tower import find_vision_tower, read_vision_config, vision_faults
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.common.weights.filling import Filler, check_keys, fill_transformer_buffers, quantized_layers
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.lisa.configuration import LisaConfig, read_configuration
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.keys import clip_key, lisa_key, released_key
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.sam.network import KEY_PREFIX as SAM_PREFIX
from lisa_ros.models.lisa.sam.network import Float32Neck, SamSizes, read_sizes
from lisa_ros.models.lisa.tokenizer import LisaTokenizer


def load_lisa(folder: Path, options: LoadOptions | None = None) -> Lisa:
    """Loads a LISA checkpoint folder, ready to look at pictures and to answer.

    Args:
        folder: config.json, added_tokens.json, tokenizer.model and the weights, as released or as `lisa convert`
            wrote them.
        options: precision, quantization, device and so on.

    Raises:
        CheckpointError: anything in the folder is missing, misshapen, unexpected or not safe to read.
        ValueError: an option is not one of the known ones, or the device is not there.
    """
    options = options or LoadOptions()
    options.check()
    device = choose_device(options.device)
    config = read_configuration(folder)
    options = replace(options, quantization=settled_quantization(folder, options.quantization))
    dtype = choose_dtype(options, device)
    tokenizer = load_tokenizer(folder, config)
    clip_folder = find_vision_tower(folder, config.vision_tower, options.vision_tower)
    clip = ClipPreprocessing(clip_folder)
    network = load_network(folder, config, clip, options.quantization, dtype, device)
    name = f"{folder.resolve().name} ({str(dtype).removeprefix('torch.')}, {options.quantization}, {device})"
    lisa = Lisa(network, config, tokenizer, TEMPLATES[options.template], clip, name, cache_mib=options.cache_mib)
    if device.type == "cuda":
        lisa.warm_up()
    return lisa


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
        tied: the files have no output layer: the words' embeddings are it.
    """

    network: LisaNetwork
    weights: WeightFiles
    clip_weights: WeightFiles
    tied: bool


def plan_network(folder: Path, config: LisaConfig, clip: ClipPreprocessing) -> Plan:
    """Compares all that a checkpoint says of itself, before any tensor is read. See load_lisa for what it raises."""
    weights, clip_weights = WeightFiles(folder), WeightFiles(clip.folder)
    stored, clip_stored = weights.shapes(), clip_weights.shapes()
    vision = read_vision_config(clip.folder)
    sam = read_sizes({key.removeprefix(SAM_PREFIX): shape for key, shape in stored.items()})
    _check_parts(folder, config, vision, sam, clip)
    network = _build(folder, config, vision, sam)
    rename = {key: lisa_key(key) for key in stored} | {key: clip_key(key) for key in clip_stored}
    tied = config.language.tie_word_embeddings and "lm_head.weight" not in stored
    if tied:
        rename["tied"], stored["tied"] = "lm_head.weight", stored.get("model.embed_tokens.weight", ())
    check_keys(network, stored | clip_stored, rename, folder, config.stored, released_key)
    return Plan(network, weights, clip_weights, tied)


def load_network(
    folder: Path,
    config: LisaConfig,
    clip: ClipPreprocessing,
    quantization: str,
    dtype: torch.dtype,
    device: torch.device,
) -> LisaNetwork:
    """Builds the network in the sizes the tensors have and fills it. See load_lisa for what it raises."""
    plan = plan_network(folder, config, clip)
    network, mapped = plan.network, config.converted is not None
    if mapped:
        plan.weights.read_ahead()
        plan.clip_weights.read_ahead()
    parts = quantized_layers(network, config.stored)
    quantize_linears(network.language, quantization, dtype, device)
    filler = Filler(network, dtype, device, parts, mapped=mapped, dtype_of=partial(dtype_of, dtype))
    filler.fill(plan.weights, lisa_key)
    filler.fill(plan.clip_weights, clip_key)
    if plan.tied:
        network.lm_head.weight = network.language.embed_tokens.weight
    fill_buffers(network, config, device)
    if dtype == torch.float16:
        network.visual_model.image_encoder.neck = Float32Neck(network.visual_model.image_encoder.neck)
    return network.eval().requires_grad_(False)


def _build(folder: Path, config: LisaConfig, vision: CLIPVisionConfig, sam: SamSizes) -> LisaNetwork:
    try:
        with torch.device("meta"):
            return LisaNetwork(config, vision, sam)
    except Exception as error:  # sizes of which no network can be made: transformers raises what it comes to
        raise CheckpointError(f"{folder}: no network has the sizes of its config.json and tensors: {error}") from error


def _check_parts(
    folder: Path, config: LisaConfig, vision: CLIPVisionConfig, sam: SamSizes, clip: ClipPreprocessing
) -> None:
    """Raises a CheckpointError where two parts, each right by itself, do not fit together."""
    faults = vision_faults(config.vision_width, vision, clip)
    if config.out_dim != sam.prompt_width:
        faults.append(f"out_dim is {config.out_dim}, but SAM's prompts are {sam.prompt_width} wide")
    if not -vision.num_hidden_layers - 1 <= config.select_layer <= vision.num_hidden_layers:
        faults.append(
            f"mm_vision_select_layer is {config.select_layer}, but CLIP has {vision.num_hidden_layers} layers"
        )
    if faults:
        raise CheckpointError(f"the parts of {folder} do not fit together: {'; '.join(faults)}")


def dtype_of(dtype: torch.dtype, key: str) -> torch.dtype:
    """What a tensor is computed in: SAM's small parts stay in float32; fp16 would overflow in the encoder's neck."""
    if key.startswith(("visual_model.prompt_encoder.", "visual_model.mask_decoder.")):
        return torch.float32
    if key.startswith("visual_model.image_encoder.neck.") and dtype == torch.float16:
        return torch.float32
    return dtype


def fill_buffers(network: LisaNetwork, config: LisaConfig, device: torch.device) -> None:
    """Gives the buffers that no checkpoint holds their values; on the meta device they got none."""
    fill_transformer_buffers(network, config.language, device)
    sam = network.visual_model
    sam.pixel_mean = torch.tensor(SAM_PIXEL_MEAN, device=device).view(3, 1, 1)
    sam.pixel_std = torch.tensor(SAM_PIXEL_STD, device=device).view(3, 1, 1)
