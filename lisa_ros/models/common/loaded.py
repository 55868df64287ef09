# SPDX-License-Identifier: Apache-2.0
"""What every loaded model of the family tells of its memory, and how it gives it back."""

from __future__ import annotations

import gc
from typing import Any

import torch


class Loaded:
    """A model with its weights.

    Attributes:
        network: has a `device`.
        reader: keeps what was read in its `prefixes`.
    """

    network: Any
    reader: Any

    def gpu_bytes(self) -> int:
        """Memory that torch has allocated on the model's GPU, bytes; 0 on a CPU."""
        device = self.network.device
        return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0

    def release(self) -> None:
        """Gives the memory of weights and caches back, whoever still holds this object; it cannot answer any more."""
        on_gpu = self.network.device.type == "cuda"
        self.reader.prefixes.clear()
        del self.reader, self.network
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()
