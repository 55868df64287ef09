# SPDX-License-Identifier: Apache-2.0
"""Conversions of the embedded checkpoint, and comparisons of networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.converting import convert
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.loading import embedded_checkpoint

EMBEDDED = embedded_checkpoint()
SHARD_BYTES = 1_000_000


def converted(source: Path, output: Path, quantization: str = "8bit", **more: Any) -> Path:
    convert(Conversion(source, output, quantization, device="cpu", **more), report=lambda _: None)
    return output


def load(folder: Path, quantization: str = "auto", precision: str = "fp32") -> Lisa:
    return load_lisa(folder, LoadOptions(device="cpu", quantization=quantization, precision=precision))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_tensors(lisa: Lisa) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and buffer, and what bitsandbytes attaches to it."""
    for name, tensor in [*lisa.network.named_parameters(), *lisa.network.named_buffers()]:
        yield name, tensor.detach()
        if (state := getattr(tensor, "quant_state", None)) is not None:
            yield from ((f"{name}.{key}", value) for key, value in state.as_dict(packed=True).items())
        if getattr(tensor, "SCB", None) is not None:
            yield from ((f"{name}.{key}", getattr(tensor, key)) for key in ("SCB", "CB"))


def assert_same_network(one: Lisa, other: Lisa) -> None:
    tensors, others = dict(all_tensors(one)), dict(all_tensors(other))
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == others[name].dtype and torch.equal(tensor, others[name]), name
    modules = [[(name, type(module)) for name, module in lisa.network.named_modules()] for lisa in (one, other)]
    assert modules[0] == modules[1]
