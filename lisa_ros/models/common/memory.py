# SPDX-License-Identifier: Apache-2.0
"""How much memory the KV caches of a model take, and what is given up for the same numbers in every run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lisa_ros.models.common.options import DEFAULT_MEMORY, LoadOptions

KV_CACHE_MIB = 1024
"""Default memory for stored prefixes. LISA-7B takes 0.5 MiB a position in 16 bit: 175 MiB for a first turn."""

KV_CACHE_SHARE = 0.05
"""By default, stored prefixes take at most this share of a GPU's memory: 13B with 4-bit weights should fit 12 GiB."""

LIMIT_SHARE = 0.2
"""Default memory limit of all KV caches and of the captured step, share of a GPU's memory."""


@dataclass(frozen=True)
class EngineOptions:
    """What an Engine may use.

    Attributes:
        prefix_bytes: most memory of stored prefixes.
        limit_bytes: most memory of all KV caches and of the captured step together; None: no limit.
        static_step: decode single tokens in fixed memory, on a GPU as a captured CUDA graph.
        deterministic: an answer does not depend on which other commands were answered before or at the same time.
    """

    prefix_bytes: int
    limit_bytes: int | None = None
    static_step: bool = False
    deterministic: bool = False


def engine_options(device: torch.device, options: LoadOptions, *, can_capture: bool = True) -> EngineOptions:
    """The EngineOptions that a model's load options mean.

    Args:
        device: where the model is.
        options: quantization resolved.
        can_capture: whether this network's decoding step can be captured at all.
    """
    # LLM.int8() looks for outliers with a branch on the device's numbers, which no graph can hold.
    capture = can_capture and options.cuda_graph and options.quantization != "8bit" and not options.deterministic
    return EngineOptions(
        prefix_bytes=prefix_budget(device, options.cache_mib),
        limit_bytes=memory_limit(device, options.memory_limit_mib),
        static_step=capture and device.type == "cuda",
        deterministic=options.deterministic,
    )


def prefix_budget(device: torch.device, cache_mib: int) -> int:
    """Most memory of stored prefixes, bytes.

    Args:
        device: where the model is.
        cache_mib: MiB; DEFAULT_MEMORY: KV_CACHE_MIB, but at most KV_CACHE_SHARE of a GPU.
    """
    if cache_mib != DEFAULT_MEMORY:
        return cache_mib << 20
    if device.type != "cuda":
        return KV_CACHE_MIB << 20
    return min(KV_CACHE_MIB << 20, int(KV_CACHE_SHARE * _gpu_bytes(device)))


def memory_limit(device: torch.device, limit_mib: int) -> int | None:
    """Most memory of all KV caches and of the captured step, bytes; None: no limit.

    Args:
        device: where the model is.
        limit_mib: MiB; 0: no limit; DEFAULT_MEMORY: no limit on a CPU, LIMIT_SHARE of a GPU.
    """
    if limit_mib != DEFAULT_MEMORY:
        return (limit_mib << 20) or None
    return int(LIMIT_SHARE * _gpu_bytes(device)) if device.type == "cuda" else None


def _gpu_bytes(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)
