# SPDX-License-Identifier: Apache-2.0
"""The device that a model computes on, its memory, and the number format."""

from __future__ import annotations

import gc

import torch

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import DeviceMemory

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str) -> torch.device:
    """The device that a name stands for; "auto" is the GPU where there is one.

    Raises:
        LisaError: "cuda" where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise LisaError("device is 'cuda', but torch finds no CUDA device here; use 'auto' or 'cpu'")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def device_memory(device: torch.device) -> DeviceMemory:
    """Memory that torch has taken on a GPU, for all models of this process; nothing on a CPU."""
    if device.type != "cuda":
        return DeviceMemory()
    return DeviceMemory(torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device))


def free_memory() -> None:
    """Frees what reference cycles hold, and gives memory that no tensor uses back to the GPU.

    To be called when a model was dropped. Where CUDA was never used, it does not start it.
    """
    gc.collect()
    torch.cuda.empty_cache()


def choose_dtype(options: LoadOptions, device: torch.device) -> torch.dtype:
    """The number format of the computation.

    "auto" is float32 on a CPU. On a GPU it is float16 with quantized weights, else bfloat16 where the card computes it
    natively, else float16.

    Raises:
        LisaError: bf16 on a GPU that only emulates it, slowly.
    """
    if options.precision == "bf16" and device.type == "cuda" and not _has_bfloat16():
        raise LisaError(
            "precision is 'bf16', but this GPU does not compute in bfloat16 (compute capability 8.0 or later does); "
            "use 'fp16' or 'auto'"
        )
    if options.precision != "auto":
        return _DTYPES[options.precision]
    if device.type == "cpu":
        return torch.float32
    quantized = options.quantization in ("8bit", "4bit")
    return torch.float16 if quantized or not _has_bfloat16() else torch.bfloat16


def _has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
