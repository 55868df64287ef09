# SPDX-License-Identifier: Apache-2.0
"""A LISA folder as released, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import CLIPVisionConfig

from lisa_ros.models.lisa.configuration import LisaConfig, read_configuration, read_json, settled_quantization
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.lisa.filling import Filler, check_keys, fill_buffers, quantized_layers
from lisa_ros.models.lisa.keys import clip_key, lisa_key
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.quantization import quantize_linears
from lisa_ros.models.lisa.sam import KEY_PREFIX as SAM_PREFIX
from lisa_ros.models.lisa.sam import Float32Neck, SamSizes, read_sizes
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.models.lisa.weights import WeightFiles
from lisa_ros.models.options import LoadOptions

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


def choose_device(device: str) -> torch.device:
    """The device that a name stands for; "auto" is the GPU where there is one.

    Raises:
        ValueError: "cuda" where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch sees no CUDA device here; use 'auto' or 'cpu'")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def choose_dtype(options: LoadOptions, device: torch.device) -> torch.dtype:
    """What to compute in. "auto": float32 on a CPU; on a GPU float16 with quantized weights, else bfloat16."""
    if options.precision != "auto":
        return _DTYPES[options.precision]
    if device.type == "cpu":
        return torch.float32
    return torch.float16 if options.quantization in ("8bit", "4bit") else torch.bfloat16


def load_tokenizer(folder: Path, config: LisaConfig) -> LisaTokenizer:
    """A checkpoint folder's tokenizer. See LisaTokenizer for what it raises."""
    path = folder / "tokenizer_config.json"
    legacy = not path.is_file() or read_json(path).get("legacy") is not False
    return LisaTokenizer(folder / "tokenizer.model", config.added_tokens, legacy=legacy)


def find_vision_tower(folder: Path, named: str, chosen: str | None = None) -> Path:
    """The CLIP folder that is meant.

    Args:
        folder: the checkpoint's.
        named: what its config.json names: a folder relative to `folder`, a path, or a model of the Hugging Face hub.
        chosen: said outright instead: a path, or a model of the hub.

    Raises:
        CheckpointError: it is not to be found; the text says what to do.
    """
    name = chosen or named
    if not name:
        raise CheckpointError(f"{folder}/config.json names no vision_tower; say which CLIP folder with --vision-tower")
    candidates = [Path(name).expanduser()] if chosen else [folder / name, Path(name).expanduser()]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
        if candidate.is_dir():
            raise CheckpointError(f"{candidate} is no CLIP folder: config.json is missing in it")
    return _download_vision_tower(folder, name)


def _download_vision_tower(folder: Path, name: str) -> Path:
    """From the Hugging Face cache, or the hub."""
    try:
        from huggingface_hub import snapshot_download

        files = ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such model, a name the hub refuses
        raise CheckpointError(
            f"CLIP {name!r} is neither a folder in {folder}, nor a path, nor in the Hugging Face cache or hub "
            f"({type(error).__name__}). Download it once and point --vision-tower at its folder"
        ) from error


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
    check_keys(network, stored | clip_stored, rename, folder, config.stored)
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
    filler = Filler(network, dtype, device, parts, mapped=mapped)
    filler.fill(plan.weights, lisa_key)
    filler.fill(plan.clip_weights, clip_key)
    if plan.tied:
        network.lm_head.weight = network.language.embed_tokens.weight
    fill_buffers(network, config, device)
    if dtype == torch.float16:
        network.visual_model.image_encoder.neck = Float32Neck(network.visual_model.image_encoder.neck)
    return network.eval().requires_grad_(False)


def read_vision_config(clip_folder: Path) -> CLIPVisionConfig:
    """CLIP's sizes, from its folder's config.json; a CheckpointError where it has none."""
    raw = read_json(clip_folder / "config.json")
    try:
        return CLIPVisionConfig(**raw.get("vision_config", raw))
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{clip_folder}/config.json has a value that no CLIP has: {error}") from error


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


def vision_faults(width: int, vision: CLIPVisionConfig, clip: ClipPreprocessing) -> list[str]:
    """What is wrong with a CLIP whose features should be `width` wide, a clause each."""
    faults = []
    if vision.hidden_size != width:
        faults.append(
            f"CLIP in {clip.folder} is {vision.hidden_size} wide, but mm_hidden_size is {width} (is it the right CLIP?)"
        )
    if clip.size != (vision.image_size, vision.image_size):
        faults.append(
            f"CLIP in {clip.folder} takes pictures of {vision.image_size} pixels, but its"
            f" preprocessor_config.json makes them {clip.size}"
        )
    return faults
