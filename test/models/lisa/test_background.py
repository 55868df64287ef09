# SPDX-License-Identifier: Apache-2.0
"""SAM looks beside LLaMA only as long as somebody may need what it sees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import MAX_NEW_TOKENS, read_case

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, MaskStep, load_lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.sam.background import Ahead

PATIENCE_S = 60
CPU = torch.device("cpu")


class Looks:
    """A look of two steps; the second waits for a gate."""

    def __init__(self) -> None:
        self.begun, self.gate, self.given_up = threading.Semaphore(0), threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, wanted: Callable[[], bool]) -> str | None:
        self.count += 1
        self.begun.release()
        assert self.gate.wait(PATIENCE_S)
        if not wanted():
            self.given_up.set()
            return None
        return "seen"


def test_one_look_serves_all_who_want_it() -> None:
    looks = Looks()
    ahead = Ahead(looks, CPU)
    ahead.begin()
    ahead.begin()
    assert looks.begun.acquire(timeout=PATIENCE_S)
    ahead.end()  # the other one still wants it
    looks.gate.set()
    assert ahead.result() == "seen" and ahead.result() == "seen"
    ahead.end()
    ahead.begin()
    assert ahead.result() == "seen" and looks.count == 1


def test_a_look_that_nobody_wants_any_more_is_given_up_and_begun_again_when_needed() -> None:
    looks = Looks()
    ahead = Ahead(looks, CPU)
    ahead.begin()
    assert looks.begun.acquire(timeout=PATIENCE_S)
    ahead.end()
    looks.gate.set()
    assert looks.given_up.wait(PATIENCE_S)
    ahead.begin()
    assert ahead.result() == "seen" and looks.count == 2


def test_who_begins_while_a_look_is_given_up_gets_a_new_one() -> None:
    looks = Looks()
    ahead = Ahead(looks, CPU)
    ahead.begin()
    assert looks.begun.acquire(timeout=PATIENCE_S)
    ahead.end()
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(ahead.result()))
    ahead.begin()
    thread.start()
    looks.gate.set()
    thread.join(PATIENCE_S)
    assert results == ["seen"]


def test_an_error_reaches_who_asks_and_the_next_one_tries_again() -> None:
    tried = []

    def look(wanted: Callable[[], bool]) -> str | None:
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError("out of memory")
        return "seen"

    ahead = Ahead(look, CPU)
    ahead.begin()
    with pytest.raises(RuntimeError, match="out of memory"):
        ahead.result()
    assert ahead.result() == "seen"


def test_masks_are_the_same_when_sam_looks_ahead(golden_lisa: Path) -> None:
    lisa = load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))
    case = read_case(golden_lisa, 0)
    logits = []
    for ahead in (False, True):
        picture = EncodedImage(case.image, lisa.network, lisa.clip, ahead=ahead)
        *steps, answer = lisa.answer(picture, case.command, max_new_tokens=MAX_NEW_TOKENS)
        assert isinstance(answer, Answer) and answer.text == case.answer
        logits += [step.logits for step in steps if isinstance(step, MaskStep)]
    assert len(logits) == 2 and np.array_equal(*logits)
