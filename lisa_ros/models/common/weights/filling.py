# SPDX-License-Identifier: Apache-2.0
"""Fills a network, built on the meta device, with a checkpoint's tensors one by one: memory holds the model once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.files import ALIGNMENT, Layout
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.models.common.weights.quantization import is_quantized, linear_shapes, quantization_of
from lisa_ros.models.common.weights.quantized_weights import part_layouts, place_weight, quantize_weight
from lisa_ros.segmentation.files.pretrained import all_finite

Rename = Callable[[str], str | None]


class Tensors(Protocol):
    """A source of tensors: WeightFiles, or a model's own."""

    folder: Path

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every key with its tensor."""
        ...


def check_keys(
    network: nn.Module,
    stored: Mapping[str, Shape],
    rename: Mapping[str, str | None],
    folder: Path,
    quantization: str = "none",
    file_key: Callable[[str], str] = str,
) -> None:
    """Compares the tensors of a folder with those that the network needs, before any tensor is read.

    Args:
        network: on the meta device, not yet quantized.
        stored: key in the files -> shape.
        rename: key in the files -> the network's name; None for a tensor that is not loaded.
        folder: for the message.
        quantization: of LLaMA's linear layers in the files.
        file_key: the network's name -> key in the files, to name missing tensors.

    Raises:
        CheckpointError: lists every key that is missing, unexpected or misshapen, as the files name them.
    """
    needed = needed_shapes(network, quantization)
    found = {ours: released for released, ours in rename.items() if ours is not None}
    misshapen = [
        f"{found[key]} {stored[found[key]]} instead of {shape}"
        for key, shape in needed.items()
        if key in found and stored[found[key]] != shape
    ]
    faults = [
        ("missing", [file_key(key) for key in needed if key not in found]),
        ("unexpected", [released for key, released in found.items() if key not in needed]),
        ("misshapen", misshapen),
    ]
    lists = [f"{len(keys)} {what}: {', '.join(sorted(keys))}" for what, keys in faults if keys]
    if lists:
        raise CheckpointError(f"{folder} is not the checkpoint that its config.json describes. " + "; ".join(lists))


def needed_shapes(network: nn.Module, quantization: str) -> dict[str, Shape]:
    """The tensors that a folder must have: the network's name of each, or of its quantized parts -> shape.

    Args:
        network: see check_keys.
        quantization: of LLaMA's linear layers in the files.
    """
    needed: dict[str, Shape] = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    for layer, parts in quantized_layers(network, quantization).items():
        del needed[f"{layer}.weight"]
        needed |= {f"{layer}.{part}": layout.shape for part, layout in parts.items()}
    return needed


def quantized_layers(network: nn.Module, quantization: str) -> dict[str, dict[str, Layout]]:
    """The layers that have quantized parts instead of a weight.

    Args:
        network: not yet quantized; its `language` will be.
        quantization: "none": no layer is quantized.

    Returns:
        the network's name of the layer -> part -> type and shape.
    """
    if quantization == "none":
        return {}
    shapes = linear_shapes(network.get_submodule("language"))
    return {f"language.{name}": part_layouts(shape, quantization) for name, shape in shapes.items()}


class Filler:
    """Converts tensors to their types and places them in a network."""

    def __init__(
        self,
        network: nn.Module,
        dtype: torch.dtype,
        device: torch.device,
        parts: Mapping[str, Mapping[str, Layout]] | None = None,
        *,
        mapped: bool = False,
        dtype_of: Callable[[str], torch.dtype] | None = None,
    ) -> None:
        """Takes the network and how it is filled.

        Args:
            network: on the meta device, quantized.
            dtype: number format of the computation.
            device: where the weights go.
            parts: what the files have instead of some layers' weights, see `quantized_layers`.
            mapped: tensors of the right type stay in the mapped files; the system reads the pages that are used.
            dtype_of: the network's name of a tensor -> its number format; None: `dtype`.
        """
        self._modules = dict(network.named_modules())
        self._dtype, self._device = dtype, device
        self._mapped = mapped
        self._dtype_of = dtype_of or (lambda key: dtype)
        self._parts = {f"{layer}.{part}": (layer, part) for layer, names in (parts or {}).items() for part in names}
        self._layouts = parts or {}
        self._waiting: dict[str, dict[str, torch.Tensor]] = {}

    def fill(self, weights: Tensors, rename: Rename) -> None:
        """Reads a folder's tensors, which `check_keys` has accepted, into the network.

        Raises:
            CheckpointError: a tensor has another type than expected, or holds NaN or infinity.
        """
        bar = tqdm(weights.tensors(), desc=f"loading {weights.folder.name}", unit="tensor", disable=None, leave=False)
        for released, tensor in bar:
            key = rename(released)
            if key is None:
                continue
            if key in self._parts:
                self._take_part(key, tensor, f"{weights.folder}: {released}")
                continue
            if not tensor.is_floating_point():
                raise CheckpointError(f"{weights.folder}: {released} holds {tensor.dtype}; weights are floating-point")
            self._place(key, tensor, f"{weights.folder}: {released}")

    def _take_part(self, key: str, tensor: torch.Tensor, title: str) -> None:
        """Collects the parts of a quantized weight; places it when it has all."""
        layer, part = self._parts[key]
        expected = self._layouts[layer]
        if tensor.dtype != expected[part].dtype:
            raise CheckpointError(f"{title} holds {tensor.dtype}; {expected[part].dtype} is expected")
        found = self._waiting.setdefault(layer, {})
        found[part] = tensor if self._stays(tensor) else tensor.clone()
        check_finite(found[part], title)
        if found.keys() == expected.keys():
            place_weight(self._modules[layer], self._waiting.pop(layer), self._device)

    def _stays(self, tensor: torch.Tensor) -> bool:
        return self._mapped and tensor.data_ptr() % ALIGNMENT == 0

    def _place(self, key: str, tensor: torch.Tensor, title: str) -> None:
        path, _, name = key.rpartition(".")
        module = self._modules[path]
        if is_quantized(module) and name == "weight":
            _check_range(tensor, tensor.to(torch.float16), title)
            place_weight(module, quantize_weight(tensor, quantization_of(module), self._device), self._device)
            return
        placed = tensor.detach().to(self._device, self._dtype_of(key), copy=not self._stays(tensor))
        _check_range(tensor, placed, title)
        if name in module._buffers:
            module._buffers[name] = placed
        else:
            setattr(module, name, nn.Parameter(placed, requires_grad=False))


def check_finite(tensor: torch.Tensor, title: str) -> None:
    """Raises a CheckpointError for NaN and infinity: the model would compute nothing else.

    Args:
        tensor: as stored.
        title: its file or folder, and its name.
    """
    if tensor.is_floating_point() and not all_finite(tensor):
        raise CheckpointError(f"{title} has numbers that are NaN or infinite; the file is damaged, download it again")


def _check_range(stored: torch.Tensor, half: torch.Tensor, title: str) -> None:
    """The same after a conversion to float16, whose largest number is 65504."""
    if half.is_floating_point() and not all_finite(half):
        check_finite(stored, title)
        raise CheckpointError(f"{title} has numbers that are too large for float16; use precision bf16 or fp32")


def fill_transformer_buffers(network: Any, language: LlamaConfig, device: torch.device) -> None:
    """Fills the buffers of LLaMA, the network's `language`, and of CLIP, its `vision_tower`."""
    network.language.rotary_emb = LlamaRotaryEmbedding(language).to(device)
    embeddings = network.vision_tower.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions, device=device).unsqueeze(0)
