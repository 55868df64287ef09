# SPDX-License-Identifier: Apache-2.0
"""The device and the number format that a model computes with."""

from __future__ import annotations

import torch

from lisa_ros.models.common.options import LoadOptions

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
