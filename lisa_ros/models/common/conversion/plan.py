# SPDX-License-Identifier: Apache-2.0
"""Plans the files that `lisa convert` writes: which tensors, in which order, quantized or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.aligned_files import FilePlan
from lisa_ros.models.common.weights.files import Layout
from lisa_ros.models.common.weights.filling import Rename, Tensors
from lisa_ros.models.common.weights.quantized_weights import quantize_weight
from lisa_ros.segmentation.errors import LisaError

CLIP = "clip"
"""CLIP's folder in the output."""


class Source(Tensors, Protocol):
    """The tensors to convert: WeightFiles, or a model's own source."""

    def layouts(self) -> dict[str, Layout]:
        """Key -> type and shape of every tensor, in the order of `tensors`."""
        ...


@dataclass(frozen=True)
class Entry:
    """One tensor of the source, and what is written for it.

    Attributes:
        key: the released name.
        layout: type and shape in the source.
        parts: of the quantized weight, see quantized_weights; None: the tensor is written unchanged.
    """

    key: str
    layout: Layout
    parts: Mapping[str, Layout] | None

    @property
    def written(self) -> dict[str, Layout]:
        """Released name -> type and shape of what is written."""
        if self.parts is None:
            return {self.key: self.layout}
        return {self._name(part): layout for part, layout in self.parts.items()}

    def tensors(self, tensor: torch.Tensor, quantization: str, device: torch.device) -> dict[str, torch.Tensor]:
        """What is written for the source's tensor, by released name; quantized on the device where `parts` says so."""
        if self.parts is None:
            return {self.key: tensor}
        return {self._name(part): one for part, one in quantize_weight(tensor, quantization, device).items()}

    def _name(self, part: str) -> str:
        return self.key.removesuffix("weight") + part


@dataclass(frozen=True)
class Output:
    """One file of weights to write.

    Attributes:
        name: path in the output folder.
        entries: in the source's order.
        plan: place of each tensor in the file.
    """

    name: str
    entries: tuple[Entry, ...]
    plan: FilePlan

    @property
    def source_bytes(self) -> int:
        """Bytes that are read for it."""
        return sum(entry.layout.nbytes for entry in self.entries)

    def is_finished(self, folder: Path) -> bool:
        """Whether the output folder has the complete file.

        Raises:
            LisaError: the folder has another file of that name.
        """
        file = folder / self.name
        if not file.exists():
            return False
        if not self.plan.is_written(file):
            raise LisaError(f"{file} is not what an interrupted conversion leaves; delete {folder}, or name another")
        return True


@dataclass(frozen=True)
class Stream:
    """One folder's tensors and the files they go to.

    Attributes:
        weights: the source.
        rename: source's key -> the network's name; None: it is not copied.
        outputs: in the order in which `weights` yields their entries.
    """

    weights: Source
    rename: Rename
    outputs: tuple[Output, ...]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors that are copied, in the order of the outputs' entries."""
        return ((key, tensor) for key, tensor in self.weights.tensors() if self.rename(key) is not None)


def plan_stream(
    weights: Source, rename: Rename, layers: Mapping[str, Mapping[str, Layout]], shard_bytes: int
) -> Stream:
    """Plans the files of one source.

    Args:
        weights: the source, not quantized.
        rename: its keys -> the network's names; None for what is not copied.
        layers: the layers whose parts are written instead of a weight, see `quantized_layers`.
        shard_bytes: size after which a new file begins.

    Raises:
        CheckpointError: a tensor is in two files, or is not of a floating-point type.
    """
    shards = list(_shards(_entries(weights, rename, layers), shard_bytes))
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    outputs = tuple(_output(name, shard) for name, shard in zip(names, shards, strict=True))
    return Stream(weights, rename, outputs)


def plan_file(weights: Source, rename: Rename, name: str) -> Stream:
    """Plans one file for all of a source's tensors, unchanged; see plan_stream for errors."""
    (entries,) = _shards(_entries(weights, rename, {}), sys.maxsize)
    return Stream(weights, rename, (_output(name, entries),))


def _output(name: str, entries: Sequence[Entry]) -> Output:
    layouts = {key: layout for entry in entries for key, layout in entry.written.items()}
    return Output(name, tuple(entries), FilePlan(layouts))


def _entries(weights: Source, rename: Rename, layers: Mapping[str, Mapping[str, Layout]]) -> Iterator[Entry]:
    for released, layout in weights.layouts().items():
        key = rename(released)
        if key is None:
            continue
        if not layout.dtype.is_floating_point:
            raise CheckpointError(f"{weights.folder}: {released} holds {layout.dtype}; weights are floating-point")
        layer, _, last = key.rpartition(".")
        yield Entry(released, layout, layers.get(layer) if last == "weight" else None)


def _shards(entries: Iterator[Entry], shard_bytes: int) -> Iterator[list[Entry]]:
    """Entries by file; an entry is never split."""
    shard: list[Entry] = []
    filled = 0
    for entry in entries:
        size = sum(layout.nbytes for layout in entry.written.values())
        if shard and filled + size > shard_bytes:
            yield shard
            shard, filled = [], 0
        shard.append(entry)
        filled += size
    yield shard
