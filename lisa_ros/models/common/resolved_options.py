# SPDX-License-Identifier: Apache-2.0
"""What "auto" in the load options comes to, for a checkpoint on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from lisa_ros.models.common.checkpoints.configuration import resolve_quantization
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.options import LoadOptions

_PRECISION_OF = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def resolved_options(checkpoint: Path, options: LoadOptions) -> LoadOptions:
    """Replaces every "auto" by the value that loading would use.

    Args:
        checkpoint: the folder.
        options: as given.

    Returns:
        the options with precision fp32, bf16 or fp16; quantization none, 8bit or 4bit; device cpu or cuda.

    Raises:
        ValueError: an option cannot be used with this checkpoint or on this machine.
    """
    options.check()
    options = dataclasses.replace(options, quantization=resolve_quantization(checkpoint, options.quantization))
    device = choose_device(options.device)
    precision = _PRECISION_OF[choose_dtype(options, device)]
    return dataclasses.replace(options, precision=precision, device=device.type)
