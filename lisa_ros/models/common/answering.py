# SPDX-License-Identifier: Apache-2.0
"""Limits and types that the answers of all models share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.options import DEFAULT_CACHE

MAX_MASKS = 64
"""Masks decoded for one answer. A model gone astray says `[SEG]` to the end, and each mask takes a picture's memory."""


KEPT_READ_MIB = 1024
"""Memory for what LLaMA has read, by default. LISA-7B takes 0.5 MiB a position in 16 bit: 350 MiB for a first turn."""


KEPT_READ_SHARE = 0.05
"""... and never more than this share of a GPU's memory: 13B with 4-bit weights is to fit into 12 GiB."""


class PromptTooLongError(ValueError):
    """A prompt does not fit into the model's context; the text says by how much."""


def kept_read_bytes(device: torch.device, cache_mib: int) -> int:
    """Memory for what was read, bytes.

    Args:
        device: where the model is.
        cache_mib: MiB; DEFAULT_CACHE: KEPT_READ_MIB, or KEPT_READ_SHARE of a smaller GPU.
    """
    if cache_mib != DEFAULT_CACHE:
        return cache_mib << 20
    if device.type != "cuda":
        return KEPT_READ_MIB << 20
    return min(KEPT_READ_MIB << 20, int(KEPT_READ_SHARE * torch.cuda.get_device_properties(device).total_memory))


@dataclass(frozen=True)
class MaskLogits:
    """One mask, before it is one.

    Attributes:
        full: (H, W) float32, size of the picture; the mask is full > 0.
        coarse: (h, w) float32, as the mask decoder made them: the picture's part of its square, before upsampling.
    """

    full: NDArray[np.float32]
    coarse: NDArray[np.float32]
