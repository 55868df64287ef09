# SPDX-License-Identifier: Apache-2.0
"""The steps of loading a checkpoint folder that are the same for all models."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from lisa_ros.models.common.checkpoints.configuration import resolve_quantization
from lisa_ros.models.common.checkpoints.hub import title_of
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.loaded import TextModel
from lisa_ros.models.common.memory import EngineOptions, engine_options
from lisa_ros.models.common.options import LoadOptions

_Network = TypeVar("_Network", bound=nn.Module)
_Model = TypeVar("_Model", bound=TextModel)


@dataclass(frozen=True)
class Placement:
    """Where a model is loaded, and in which number formats.

    Attributes:
        options: the load options, quantization resolved.
        device, dtype: of the computation.
        name: checkpoint, precision and device, for logs.
    """

    options: LoadOptions
    device: torch.device
    dtype: torch.dtype
    name: str

    @property
    def quantization(self) -> str:
        """Of LLaMA's linear layers: "none", "8bit" or "4bit"."""
        return self.options.quantization

    def engine_options(self, *, can_capture: bool = True) -> EngineOptions:
        """See lisa_ros.models.common.memory.engine_options."""
        return engine_options(self.device, self.options, can_capture=can_capture)


def place(folder: Path, options: LoadOptions | None) -> Placement:
    """Decides where and how a checkpoint folder is loaded.

    Raises:
        LisaError: an option is unknown, or the device is not there.
        CheckpointError: the folder has its weights in another quantization.
    """
    options = options or LoadOptions()
    options.check()
    device = choose_device(options.device)
    if options.deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True, warn_only=True)
    resolved = replace(options, quantization=resolve_quantization(folder, options.quantization))
    return placement(title_of(folder), resolved, device)


def placement(title: str, options: LoadOptions, device: torch.device) -> Placement:
    """The Placement of a model with a title on a device, quantization resolved."""
    dtype = choose_dtype(options, device)
    name = f"{title} ({str(dtype).removeprefix('torch.')}, {options.quantization}, {device})"
    return Placement(options, device, dtype, name)


def empty_network(build: Callable[[], _Network], folder: Path, source: str) -> _Network:
    """A network on the meta device, without memory for its weights.

    Args:
        build: makes it.
        folder: the checkpoint's, for the message.
        source: where its sizes come from, for the message.

    Raises:
        CheckpointError: no network has such sizes.
    """
    try:
        with torch.device("meta"):
            return build()
    except Exception as error:  # transformers raises whatever the sizes lead to
        raise CheckpointError(f"{folder}: no network has the sizes of its {source}: {error}") from error


def frozen(network: _Network) -> _Network:
    """The network for inference."""
    return network.eval().requires_grad_(False)


def warmed_up(model: _Model, where: Placement) -> _Model:
    """The model, after a first answer on a GPU that nobody trains on."""
    if where.device.type == "cuda" and where.options.cuda_graph:
        model.warm_up()
    return model
