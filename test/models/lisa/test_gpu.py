# SPDX-License-Identifier: Apache-2.0
"""LISA on a GPU: where torch sees none, these tests are skipped."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, iou, read_case

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, Lisa, MaskStep, load_lisa

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


def load(folder: Path, **options: object) -> Lisa:
    return load_lisa(folder, LoadOptions(device="cuda", precision="fp32", **options))  # type: ignore[arg-type]


def ask(lisa: Lisa, folder: Path, number: int) -> tuple[list[MaskStep], Answer]:
    case = read_case(folder, number)
    *steps, answer = lisa.answer(lisa.encode(case.image), case.command, case.history, max_new_tokens=MAX_NEW_TOKENS)
    assert isinstance(answer, Answer)
    return [step for step in steps if isinstance(step, MaskStep)], answer


@pytest.mark.parametrize("number", CASES)
def test_answers_equal_upstreams(golden_lisa: Path, number: int) -> None:
    lisa, case = load(golden_lisa), read_case(golden_lisa, number)
    assert lisa.engine._static is not None, "the decoding step is captured"
    masks, answer = ask(lisa, golden_lisa, number)
    assert answer.text == case.answer
    for step, golden in zip(masks, case.mask_logits[-len(masks) :], strict=True):
        assert iou(step.logits > 0, golden > 0) >= 0.999
    lisa.release()


def test_8bit_is_not_captured(golden_lisa: Path) -> None:
    lisa = load_lisa(golden_lisa, LoadOptions(device="cuda", quantization="8bit"))
    assert lisa.engine._static is None
    ask(lisa, golden_lisa, 0)
    lisa.release()


def test_a_model_for_training_is_not_captured(golden_lisa: Path) -> None:
    lisa = load(golden_lisa, cuda_graph=False)
    assert lisa.engine._static is None
    lisa.release()


def test_deterministic_answers_are_equal_to_the_bit(golden_lisa: Path) -> None:
    lisa = load(golden_lisa, deterministic=True)
    first, _ = ask(lisa, golden_lisa, 0)
    for number in CASES:
        ask(lisa, golden_lisa, number)
    again, _ = ask(lisa, golden_lisa, 0)
    for one, other in zip(first, again, strict=True):
        assert (one.logits == other.logits).all()
    lisa.release()


def test_released_memory_returns_to_the_gpu(golden_lisa: Path) -> None:
    before = torch.cuda.memory_allocated()
    lisa = load(golden_lisa)
    ask(lisa, golden_lisa, 0)
    memory = lisa.memory()
    assert 0 < memory.allocated_bytes <= memory.reserved_bytes
    lisa.release()
    assert torch.cuda.memory_allocated() <= before + (1 << 20)
    assert not [thread for thread in threading.enumerate() if thread.name == "sam_encoder"]


def test_images_share_one_stream(golden_lisa: Path) -> None:
    """Reserved memory does not grow with the number of images."""
    lisa = load(golden_lisa)
    for _ in range(4):
        ask(lisa, golden_lisa, 0)
    reserved = lisa.memory().reserved_bytes
    for _ in range(40):
        ask(lisa, golden_lisa, 0)
    assert lisa.memory().reserved_bytes <= 1.1 * reserved
    lisa.release()
