# SPDX-License-Identifier: Apache-2.0
"""Quantized numbers, and files that are read in portions."""

from __future__ import annotations

import pytest
import torch
from conversion import EMBEDDED

from lisa_ros.models.common.weights import files as weights
from lisa_ros.models.common.weights.files import Layout, WeightFiles
from lisa_ros.models.common.weights.quantized_weights import part_layouts, quantize_weight

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_quantized_numbers_equal_bitsandbytes(kind: str) -> None:
    from bitsandbytes.nn import Int8Params, Params4bit

    weight = torch.randn(64, 192, generator=torch.Generator().manual_seed(0)).bfloat16()
    half = weight.half()
    if kind == "8bit":
        eight = Int8Params(half, requires_grad=False).to(CPU)
        theirs = {"weight": eight.data, "SCB": eight.SCB}
    else:
        four = Params4bit(half, requires_grad=False, quant_type="nf4").to(CPU)
        state = {f"weight.{key}": value for key, value in four.quant_state.as_dict().items()}
        theirs = {"weight": four.data, **state, "weight.nested_offset": four.quant_state.offset}
    ours = quantize_weight(weight, kind, CPU)
    assert all(torch.equal(part, theirs[name]) for name, part in ours.items())
    assert {name: Layout.of(part) for name, part in ours.items()} == part_layouts((64, 192), kind)


def test_quantized_numbers_do_not_depend_on_threads() -> None:
    """bitsandbytes' own do: the order in which it sums the scales depends on the threads."""
    weight = torch.randn(2048, 4096, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(quantize_weight(weight, "4bit", CPU))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_a_large_file_is_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = (EMBEDDED, EMBEDDED / "clip")
    whole = [list(WeightFiles(folder).tensors()) for folder in folders]
    monkeypatch.setattr(weights, "MAPPED_BYTES", 100_000)
    for folder, before in zip(folders, whole, strict=True):
        after = list(WeightFiles(folder).tensors())
        assert [key for key, _ in after] == [key for key, _ in before]
        assert all(torch.equal(one, other) for (_, one), (_, other) in zip(before, after, strict=True))
