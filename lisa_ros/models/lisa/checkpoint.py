# SPDX-License-Identifier: Apache-2.0
"""A LISA folder as released, read without running anything in it, into a network.

Tensors are read shard by shard and converted one by one, so that no second copy of the model is ever in memory.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from tqdm import tqdm
from transformers import CLIPVisionConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from lisa_ros.models.lisa.configuration import LisaConfig, read_configuration, read_json
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.errors import CheckpointError
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import SAM_PIXEL_MEAN, SAM_PIXEL_STD, ClipPreprocessing
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.quantization import Quantization, is_quantized, load_weight, quantize_linears
from lisa_ros.models.lisa.sam import Float32Neck, Shape, read_sizes
from lisa_ros.models.lisa.tokenizer import LisaTokenizer

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16", "fp16")
DEVICES = ("auto", "cpu", "cuda")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Released key prefix -> LisaNetwork's. The first that fits counts.
KEY_PREFIXES = (
    ("model.visual_model.", "visual_model."),
    ("model.mm_projector.", "mm_projector."),
    ("model.text_hidden_fcs.0.", "text_hidden_fcs."),
    ("lm_head.", "lm_head."),
    ("model.", "language."),
)
CLIP_PREFIX = "vision_model."


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is loaded; the fields are the command line's options."""

    template: str = "llava_v1"
    precision: Precision = "auto"
    quantization: Quantization = "none"
    device: str = "auto"
    vision_tower: str | None = None


def load_lisa(folder: Path, settings: Settings | None = None) -> Lisa:
    """Loads a LISA checkpoint folder, ready to look at pictures and to answer.

    Args:
        folder: config.json, added_tokens.json, tokenizer.model and the weights, as released.
        settings: `vision_tower` is the CLIP folder; without it, the one that config.json names, taken as a folder
            relative to `folder`, or as a path, or as the name of a model in the Hugging Face cache or hub.

    Raises:
        CheckpointError: anything in the folder is missing, misshapen, unexpected or not safe to read.
        ValueError: a setting is not one of the known ones, or the device is not there.
    """
    settings = settings or Settings()
    template = _choose("template", settings.template, TEMPLATES)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings, device)
    config = read_configuration(folder)
    tokenizer = LisaTokenizer(folder / "tokenizer.model", config.added_tokens, legacy=_is_legacy(folder))
    clip_folder = find_vision_tower(folder, settings.vision_tower or config.vision_tower)
    network = load_network(folder, config, clip_folder, settings.quantization, dtype, device)
    name = f"{folder.resolve().name} ({str(dtype).removeprefix('torch.')}, {settings.quantization}, {device})"
    return Lisa(network, config, tokenizer, template, ClipPreprocessing(clip_folder), name)


def _choose(what: str, value: str, choices: Any) -> Any:
    if value not in choices:
        raise ValueError(f"{what} is {value!r}; it can be {', '.join(choices)}")
    return choices[value] if isinstance(choices, dict) else value


def choose_device(device: str) -> torch.device:
    """The device that a name stands for; "auto" is the GPU where there is one.

    Raises:
        ValueError: an unknown name, or "cuda" where there is none.
    """
    _choose("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch sees no CUDA device here; use 'auto' or 'cpu'")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def choose_dtype(settings: Settings, device: torch.device) -> torch.dtype:
    """What to compute in. "auto": float32 on a CPU; on a GPU float16 with quantized weights, else bfloat16.

    Raises:
        ValueError: an unknown precision or quantization.
    """
    _choose("precision", settings.precision, PRECISIONS)
    _choose("quantization", settings.quantization, ("none", "8bit", "4bit"))
    if settings.precision != "auto":
        return _DTYPES[settings.precision]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if settings.quantization == "none" else torch.float16


def _is_legacy(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    return bool(read_json(path).get("legacy", True)) if path.is_file() else True


def find_vision_tower(folder: Path, name: str) -> Path:
    """The CLIP folder that a checkpoint means.

    Args:
        folder: the checkpoint's, against which a relative name is tried first.
        name: a folder, or the name of a model in the Hugging Face cache or hub.

    Raises:
        CheckpointError: it is not to be found; the text says what to do.
    """
    if not name:
        raise CheckpointError(f"{folder}/config.json names no vision_tower; say which CLIP folder with --vision-tower")
    for candidate in (folder / name, Path(name).expanduser()):
        if (candidate / "config.json").is_file():
            return candidate
    try:
        from huggingface_hub import snapshot_download

        files = ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such model, a name the hub refuses
        raise CheckpointError(
            f"CLIP {name!r} is neither a folder in {folder}, nor a path, nor in the Hugging Face cache or hub "
            f"({type(error).__name__}). Download it once and point --vision-tower at its folder"
        ) from error


def load_network(
    folder: Path,
    config: LisaConfig,
    clip_folder: Path,
    quantization: Quantization,
    dtype: torch.dtype,
    device: torch.device,
) -> LisaNetwork:
    """Builds the network in the sizes the tensors have and fills it. See load_lisa for what it raises."""
    weights, clip_weights = WeightFiles(folder), WeightFiles(clip_folder)
    vision = _read_vision_config(clip_folder)
    sam = read_sizes({key.removeprefix("model.visual_model."): shape for key, shape in weights.shapes().items()})
    with torch.device("meta"):
        network = LisaNetwork(config, vision, sam)
    quantize_linears(network.language, quantization, dtype)
    loader = _Loader(network, dtype, device)
    loader.load(weights, _lisa_key)
    loader.load(clip_weights, _clip_key)
    loader.check_complete(folder)
    _fill_buffers(network, config, device)
    if dtype == torch.float16:
        network.visual_model.image_encoder.neck = Float32Neck(network.visual_model.image_encoder.neck)
    return network.eval().requires_grad_(False)


def _read_vision_config(clip_folder: Path) -> CLIPVisionConfig:
    raw = read_json(clip_folder / "config.json")
    return CLIPVisionConfig(**raw.get("vision_config", raw))


def _lisa_key(key: str) -> str | None:
    """LisaNetwork's name of a released tensor; None for one that is computed, not loaded."""
    if key.endswith(".rotary_emb.inv_freq"):
        return None
    for released, ours in KEY_PREFIXES:
        if key.startswith(released):
            return ours + key.removeprefix(released)
    return key


def _clip_key(key: str) -> str | None:
    # A whole CLIP holds a text model and projections too; position_ids are counted, not learned.
    if not key.startswith(CLIP_PREFIX) or key.endswith(".position_ids"):
        return None
    return "vision_tower." + key.removeprefix(CLIP_PREFIX)


class WeightFiles:
    """The tensors of a folder: model.safetensors or pytorch_model.bin, whole or in shards with an index."""

    def __init__(self, folder: Path) -> None:
        """Finds the files.

        Raises:
            CheckpointError: there are none, or a shard that the index names is missing.
        """
        self.folder = folder
        for stem in ("model.safetensors", "pytorch_model.bin"):
            index, single = folder / f"{stem}.index.json", folder / stem
            if index.is_file():
                names = sorted(set(read_json(index).get("weight_map", {}).values()))
            elif single.is_file():
                names = [stem]
            else:
                continue
            self.files = [folder / Path(name).name for name in names]
            break
        else:
            raise CheckpointError(
                f"{folder} has no weights: model.safetensors or pytorch_model.bin, whole or with an index, is expected"
            )
        absent = [file.name for file in self.files if not file.is_file()]
        if absent or not self.files:
            raise CheckpointError(f"{folder} lacks weight files its index names: {', '.join(absent) or 'none named'}")

    def shapes(self) -> dict[str, Shape]:
        """Key -> shape of every tensor; the tensors' bytes are not read."""
        found: dict[str, Shape] = {}
        for file in self.files:
            if file.suffix == ".safetensors":
                with _open_safetensors(file) as tensors:
                    found |= {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
            else:
                found |= {key: tuple(tensor.shape) for key, tensor in _read_pickle(file).items()}
        return found

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every key with its tensor on the CPU, as stored; one shard is open at a time."""
        for file in self.files:
            if file.suffix == ".safetensors":
                with _open_safetensors(file) as tensors:
                    for key in tensors.keys():  # noqa: SIM118 (not a mapping)
                        yield key, tensors.get_tensor(key)
            else:
                yield from _read_pickle(file).items()


def _open_safetensors(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt", device="cpu")
    except SafetensorError as error:
        raise CheckpointError(f"{file} is no whole safetensors file: {error}") from error


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    try:
        # Only torch's zip format can be mapped; the one from before torch 1.6 is read whole.
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is refused: it is no plain file of tensors, reading it would run code from it "
            f"({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or no PyTorch file: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CheckpointError(f"{file} does not hold tensors by name, as a checkpoint's shard does")
    return tensors


class _Loader:
    """Puts tensors into a network built on the meta device, and keeps account of what did not fit."""

    def __init__(self, network: LisaNetwork, dtype: torch.dtype, device: torch.device) -> None:
        self._modules = dict(network.named_modules())
        self._expected: dict[str, torch.Tensor] = network.state_dict(keep_vars=True)
        self._missing = set(self._expected)
        self._unexpected: list[str] = []
        self._misshapen: list[str] = []
        self._dtype, self._device = dtype, device

    def load(self, weights: WeightFiles, rename: Any) -> None:
        bar = tqdm(weights.tensors(), desc=f"loading {weights.folder.name}", unit="tensor", disable=None, leave=False)
        for released, tensor in bar:
            key = rename(released)
            if key is None:
                continue
            if key not in self._expected:
                self._unexpected.append(released)
            elif not self._fits(key, tensor):
                wanted, found = tuple(self._expected[key].shape), tuple(tensor.shape)
                self._misshapen.append(f"{released} {found} instead of {wanted}")
            else:
                self._place(key, tensor)
            self._missing.discard(key)

    def _fits(self, key: str, tensor: torch.Tensor) -> bool:
        module = self._modules[key.rpartition(".")[0]]
        if is_quantized(module) and key.endswith(".weight"):  # packed, so its own shape tells nothing
            return tuple(tensor.shape) == (module.out_features, module.in_features)
        return tensor.shape == self._expected[key].shape

    def _place(self, key: str, tensor: torch.Tensor) -> None:
        path, _, name = key.rpartition(".")
        module = self._modules[path]
        if is_quantized(module) and name == "weight":
            load_weight(module, tensor, self._device)
            return
        placed = tensor.to(self._device, self._dtype_of(key), copy=True)
        if name in module._buffers:
            module._buffers[name] = placed
        else:
            setattr(module, name, nn.Parameter(placed, requires_grad=False))

    def _dtype_of(self, key: str) -> torch.dtype:
        """SAM's small parts stay in float32 in every precision; fp16 would overflow in the encoder's neck."""
        if key.startswith(("visual_model.prompt_encoder.", "visual_model.mask_decoder.")):
            return torch.float32
        if key.startswith("visual_model.image_encoder.neck.") and self._dtype == torch.float16:
            return torch.float32
        return self._dtype

    def check_complete(self, folder: Path) -> None:
        """Raises a CheckpointError that lists every key that is missing, unexpected or misshapen."""
        faults = [
            ("missing", sorted(self._missing)),
            ("unexpected", sorted(self._unexpected)),
            ("misshapen", sorted(self._misshapen)),
        ]
        told = [f"{len(keys)} {what}: {', '.join(keys)}" for what, keys in faults if keys]
        if told:
            raise CheckpointError(f"{folder} is not the checkpoint its config.json describes. " + "; ".join(told))


def _fill_buffers(network: LisaNetwork, config: LisaConfig, device: torch.device) -> None:
    """Gives the buffers that no checkpoint holds their values; on the meta device they got none."""
    network.language.rotary_emb = LlamaRotaryEmbedding(config.language).to(device)
    embeddings = network.vision_tower.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions, device=device).unsqueeze(0)
    sam = network.visual_model
    sam.pixel_mean = torch.tensor(SAM_PIXEL_MEAN, device=device).view(3, 1, 1)
    sam.pixel_std = torch.tensor(SAM_PIXEL_STD, device=device).view(3, 1, 1)
