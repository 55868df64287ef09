# SPDX-License-Identifier: Apache-2.0
"""Memory budgets, number formats and captures that load options mean, on a GPU that is not there."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lisa_ros.models.common.devices import choose_dtype, device_memory, free_memory
from lisa_ros.models.common.memory import engine_options
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import DeviceMemory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 1 << 30
PLAIN = LoadOptions(quantization="none")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A GPU of 12 GiB that computes natively in bfloat16, unless a test changes it."""
    card = SimpleNamespace(total_memory=12 * GIB, bfloat16=True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: card.bfloat16)
    return card


def test_defaults_on_a_cpu() -> None:
    options = engine_options(CPU, PLAIN)
    assert (options.prefix_bytes, options.limit_bytes, options.static_step) == (GIB, None, False)


def test_defaults_on_a_gpu_are_shares_of_its_memory(gpu: SimpleNamespace) -> None:
    options = engine_options(CUDA, PLAIN)
    assert (options.prefix_bytes, options.limit_bytes) == (int(0.05 * 12 * GIB), int(0.2 * 12 * GIB))
    gpu.total_memory = 80 * GIB
    assert engine_options(CUDA, PLAIN).prefix_bytes == GIB


def test_chosen_limits(gpu: SimpleNamespace) -> None:
    for device in (CPU, CUDA):
        options = engine_options(device, replace(PLAIN, cache_mib=7, memory_limit_mib=9))
        assert (options.prefix_bytes, options.limit_bytes) == (7 << 20, 9 << 20)
        assert engine_options(device, replace(PLAIN, memory_limit_mib=0)).limit_bytes is None


@pytest.mark.parametrize(
    ("change", "captured"),
    [
        ({}, True),
        ({"quantization": "4bit"}, True),
        ({"quantization": "8bit"}, False),
        ({"cuda_graph": False}, False),
        ({"deterministic": True}, False),
    ],
)
def test_when_the_step_is_captured(gpu: SimpleNamespace, change: dict[str, object], captured: bool) -> None:
    options = replace(PLAIN, **change)  # type: ignore[arg-type]
    assert engine_options(CUDA, options).static_step == captured
    assert not engine_options(CUDA, options, can_capture=False).static_step
    assert not engine_options(CPU, options).static_step


def test_number_formats_that_auto_means(gpu: SimpleNamespace) -> None:
    assert choose_dtype(PLAIN, CPU) == torch.float32
    assert choose_dtype(PLAIN, CUDA) == torch.bfloat16
    assert choose_dtype(LoadOptions(quantization="4bit"), CUDA) == torch.float16
    gpu.bfloat16 = False
    assert choose_dtype(PLAIN, CUDA) == torch.float16


def test_bfloat16_is_refused_where_it_is_emulated(gpu: SimpleNamespace) -> None:
    wanted = replace(PLAIN, precision="bf16")
    assert choose_dtype(wanted, CUDA) == choose_dtype(wanted, CPU) == torch.bfloat16
    gpu.bfloat16 = False
    with pytest.raises(LisaError, match=r"does not compute in bfloat16.*use 'fp16' or 'auto'"):
        choose_dtype(wanted, CUDA)


@pytest.mark.parametrize("name", ["cache_mib", "memory_limit_mib"])
def test_a_negative_limit_is_refused(name: str) -> None:
    with pytest.raises(LisaError, match=f"{name} is -2; it can be 0 or more"):
        LoadOptions(**{name: -2}).check()  # type: ignore[arg-type]


def test_freed_memory_goes_back_to_the_gpu_after_cycles_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    class Weights:
        pass

    weights = Weights()
    weights.itself = weights  # type: ignore[attr-defined]
    gone = weakref.ref(weights)
    alive_when_emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive_when_emptied.append(gone() is not None))
    del weights
    free_memory()
    assert alive_when_emptied == [False]


def test_device_memory_is_that_of_torch_on_a_gpu_and_nothing_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6 * GIB)
    assert device_memory(CUDA) == DeviceMemory(5 * GIB, 6 * GIB)
    assert device_memory(CPU) == DeviceMemory(0, 0)
