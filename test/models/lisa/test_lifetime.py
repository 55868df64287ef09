# SPDX-License-Identifier: Apache-2.0
"""Encoded images are freed when their last user drops them, not when the garbage collector gets to them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.errors import ClosedError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import EncodedImage, Lisa, load_lisa
from lisa_ros.models.lisa.sam.background import BackgroundWorker
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.turns import turn_of

PATIENCE_S = 60


@pytest.fixture(scope="module")
def lisa() -> Lisa:
    return load_lisa(embedded_checkpoint(), LoadOptions(precision="fp32", device="cpu"))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("in_background", [False, True])
def test_no_image_outlives_its_commands(lisa: Lisa, no_collector: None, in_background: bool) -> None:
    """Two operators, twelve frames, two turns on each, without a garbage collection."""
    lisa.background = BackgroundWorker(torch.device("cpu")) if in_background else None
    segmenter = LisaSegmenter(lisa)
    alive: list[weakref.ref[object]] = []
    most = []

    def operator(number: int) -> None:
        for frame in range(6):
            image = segmenter.encode(noise(100 * number + frame))
            alive.append(weakref.ref(image))
            *_, finished = segmenter.session(image).segment("the red mug", max_new_tokens=4)
            turns = [turn_of("the red mug", finished, 1)]
            list(segmenter.session(image, turns).segment("and the other one", max_new_tokens=4))
            list(segmenter.session(image).segment("a mug", answer="mask_only"))
            del image, finished, turns
            most.append(sum(one() is not None for one in alive))

    threads = [threading.Thread(target=operator, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    if lisa.background is not None:
        lisa.background.close()
        lisa.background = None
    assert len(alive) == 12 and [one for one in alive if one() is not None] == []
    assert max(most) <= 2, "at most the two that are being answered"
    assert lisa.engine.prefixes.nbytes == 0 == lisa.engine.prefixes.running_bytes


class Released(EncodedImage):
    """Another thread releases it as soon as something of it is stored."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in ("_visual_tokens", "_features") and value is not None:
            self.release()


def test_a_release_at_any_moment_takes_nothing_from_a_running_answer(lisa: Lisa) -> None:
    image = Released(noise(2), lisa.network, lisa.clip)
    tokens, state = image.visual_tokens(), torch.zeros(1, lisa.config.language.hidden_size)
    assert len(tokens) and image.mask_logits(state).full.shape == (48, 64)


def test_an_abandoned_answer_frees_its_image(lisa: Lisa, no_collector: None) -> None:
    image = lisa.encode(noise(1))
    alive = weakref.ref(image)
    steps = lisa.answer(image, "the red mug")
    next(steps)
    del image, steps
    assert alive() is None


def test_a_released_model_refuses_and_has_no_thread(golden_lisa: Path) -> None:
    lisa = load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))
    lisa.background = BackgroundWorker(torch.device("cpu"))
    image = lisa.encode(noise(2))
    steps = lisa.answer(image, "the red square")
    next(steps)
    worker = lisa.background
    lisa.release()
    assert worker._thread is None or not worker._thread.is_alive()
    for use in (lambda: list(steps), lambda: list(lisa.answer(lisa.encode(noise(2)), "the red square")), lisa.memory):
        with pytest.raises(ClosedError, match="was released"):
            use()
    lisa.release()
