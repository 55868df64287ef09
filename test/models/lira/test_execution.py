# SPDX-License-Identifier: Apache-2.0
"""How LIRA runs: cancelling, a full context, precision, quantization, concurrency, and the end of a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_lira import FREE, ask, check_masks, encode, read_case

from lisa_ros.models.common.errors import ClosedError, PromptTooLongError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lira import Answer, EncodedImage, Lira, MaskStep, load_lira
from lisa_ros.models.lira.reading import LiraEngine
from lisa_ros.segmentation.interface import DeviceMemory


def test_cancelling_ends_within_a_token(lira: Lira, golden_lira: Path) -> None:
    case = read_case(golden_lira, 3)
    for after in (0, 1, 2, 5):
        calls = iter(range(-2, 100))  # called twice before the prompt has been processed
        *steps, answer = lira.answer(
            encode(lira, case), case.question, cancelled=lambda left=after, calls=calls: next(calls) >= left
        )
        assert (answer.reason, len(answer.ids), len(steps)) == ("cancelled", after, after)
        assert list(answer.ids) == case.emitted[:after]


@pytest.mark.parametrize("before", [0, 1])
def test_cancelling_avoids_the_expensive_steps(
    uncached: Lira, golden_lira: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Before the image goes through the language model, and before the rest of the prompt does."""
    done: list[str] = []
    for name in ("begin", "extend"):
        original = getattr(LiraEngine, name)
        monkeypatch.setattr(LiraEngine, name, lambda *a, o=original, n=name: (done.append(n), o(*a))[1])
    calls = iter(range(100))
    case = read_case(golden_lira, 0)
    (answer,) = uncached.answer(encode(uncached, case), case.question, cancelled=lambda: next(calls) >= before)
    assert isinstance(answer, Answer) and (answer.reason, answer.ids, answer.text) == ("cancelled", (), "")
    assert done == ["begin"][:before]


def test_a_full_context_ends_the_answer(converted_lira: Path, golden_lira: Path) -> None:
    lira = load_lira(converted_lira, LoadOptions(precision="fp32", device="cpu"))
    case = read_case(golden_lira, 2)
    prompt = len(case.arrays["prefill_hidden"])
    lira.config.language.max_position_embeddings = prompt + 100  # a local view needs 258
    _, answer = ask(lira, case)
    assert (answer.reason, list(answer.ids)) == ("length", case.emitted[:2])
    lira.config.language.max_position_embeddings = prompt
    with pytest.raises(PromptTooLongError, match="0 positions"):
        ask(lira, case)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantized_language_model(converted_lira: Path, golden_lira: Path, quantization: str) -> None:
    """Masks of a given `[SEG]`, because the small test model generates other tokens in 4 bits."""
    lira = load_lira(converted_lira, LoadOptions(precision="fp32", device="cpu", quantization=quantization))
    assert quantization in lira.name
    case = read_case(golden_lira, 0)
    (step, answer) = lira.answer(lira.encode(case.image), case.question, mask_only=True)
    assert isinstance(step, MaskStep) and isinstance(answer, Answer)
    mask, golden = step.logits > 0, case.masks[0]
    assert np.count_nonzero(mask & golden) / np.count_nonzero(mask | golden) > 0.9


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(converted_lira: Path, golden_lira: Path, precision: str) -> None:
    half = load_lira(converted_lira, LoadOptions(precision=precision, device="cpu"))
    assert half.network.omg.query_feat.dtype == torch.float32 and half.network.dtype != torch.float32
    case = read_case(golden_lira, 0)
    (step, _) = half.answer(half.encode(case.image), case.question, mask_only=True)
    assert isinstance(step, MaskStep)
    mask, golden = step.logits > 0, case.masks[0]
    assert np.count_nonzero(mask & golden) / np.count_nonzero(mask | golden) > 0.95


def test_concurrent_answers_equal_single_ones(lira: Lira, golden_lira: Path) -> None:
    """Answers that are generated together equal those that are generated alone."""
    cases = [read_case(golden_lira, number) for number in FREE]
    with ThreadPoolExecutor(len(cases)) as pool:
        answers = list(pool.map(lambda case: ask(lira, case), cases))
    for case, (steps, answer) in zip(cases, answers, strict=True):
        assert (list(answer.ids), answer.text) == (case.emitted, case.answer)
        check_masks(steps, case)


def test_an_image_is_encoded_once(lira: Lira, golden_lira: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = lira.network.omg.encode
    monkeypatch.setattr(lira.network.omg, "encode", lambda pixels: (calls.append(1), original(pixels))[1])
    encoded: EncodedImage = lira.encode(read_case(golden_lira, 2).image)
    for _ in range(2):
        for _ in lira.answer(encoded, "Please segment the green circle.", max_new_tokens=3):
            pass
    assert len(calls) == 1


def test_warm_up_and_release(converted_lira: Path) -> None:
    lira = load_lira(converted_lira, LoadOptions(precision="fp32", device="cpu"))
    lira.warm_up()
    assert lira.memory() == DeviceMemory()
    lira.release()
    with pytest.raises(ClosedError, match="was released"):
        list(lira.answer(lira.encode(np.zeros((64, 64, 3), dtype=np.uint8)), "the mug"))
