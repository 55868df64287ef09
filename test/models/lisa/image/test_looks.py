# SPDX-License-Identifier: Apache-2.0
"""Further looks at an image: when they are taken, which answer they support, and that nothing of them stays."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.models.common.answers.steps import Answer, MaskStep, Reason, TextStep
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.image.looks import Step, best_supported, confidence
from lisa_ros.models.lisa.image.object_region import OTHERS, other_region
from lisa_ros.models.lisa.segmenter import MOST_LOOKS
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.region import Region
from lisa_ros.segmentation.scoring import UNCALIBRATED

CPU = LoadOptions(device="cpu", precision="fp32")
NOISE = np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def answer(column: int | None, name: str = "", reason: Reason = "end", log_prob: float = 0.0) -> list[Step]:
    """The steps of an answer that marks ten columns from `column` on; None: it has no mask."""
    if column is None:
        return [TextStep(name), Answer(name, (), (), reason, log_prob)]
    logits = np.full((20, 40), -8.0, dtype=np.float32)
    logits[:, column : column + 10] = 8.0
    return [MaskStep(logits, logits, "[SEG]", log_prob), Answer(name, (), (), reason, log_prob)]


class Looks:
    """Answers of several looks, with their confidence; counts those that are computed."""

    def __init__(self, *looks: tuple[list[Step], float]) -> None:
        self.looks, self.computed = looks, 0

    def __iter__(self) -> Iterator[Iterator[Step]]:
        for steps, _ in self.looks:
            self.computed += 1
            yield iter(steps)

    def confidence(self, steps: Sequence[Step]) -> float:
        return next(value for given, value in self.looks if given[-1] is steps[-1])

    def chosen(self) -> str:
        *_, last = best_supported(self, self.confidence)
        assert isinstance(last, Answer)
        return last.text


@pytest.mark.parametrize(("first", "confidence"), [(answer(0, "a"), 0.91), (answer(None, "a"), 0.91)])
def test_a_certain_answer_stands_alone(first: list[Step], confidence: float) -> None:
    looks = Looks((first, confidence), (answer(20, "b"), 0.99), (answer(20, "c"), 0.99))
    assert looks.chosen() == "a"
    assert looks.computed == 1


@pytest.mark.parametrize("first", [answer(0, "a"), answer(None, "a")])
def test_two_that_agree_are_enough(first: list[Step]) -> None:
    looks = Looks((first, 0.7), (answer(20, "b"), 0.7), (answer(21, "c"), 0.7), (answer(0, "d"), 0.7))
    assert looks.chosen() == "b"
    assert looks.computed == 3


def test_where_none_agree_the_most_confident_answer_counts() -> None:
    looks = Looks((answer(0, "a"), 0.4), (answer(None, "b"), 0.6), (answer(20, "c"), 0.5))
    assert looks.chosen() == "c", "an answer without a mask counts seven tenths"
    assert looks.computed == 3


def test_two_refusals_outvote_a_mask() -> None:
    looks = Looks((answer(0, "a"), 0.8), (answer(None, "b"), 0.6), (answer(None, "c"), 0.65))
    assert looks.chosen() == "b"


def test_a_cancelled_answer_is_the_last() -> None:
    looks = Looks((answer(0, "a"), 0.5), (answer(None, "b", "cancelled"), 0.9), (answer(0, "c"), 0.9))
    assert looks.chosen() == "b"
    assert looks.computed == 2


def test_confidence() -> None:
    assert confidence(UNCALIBRATED, answer(0)) > 0.99, "the expected IoU of a firm mask"
    assert confidence(UNCALIBRATED, answer(None, log_prob=-0.5)) == pytest.approx(np.exp(-0.5))
    empty = np.full((4, 4), -1.0, dtype=np.float32)
    no_pixel = [MaskStep(empty, empty, "[SEG]", 0.0), Answer("[SEG]", (), (), "end")]
    assert confidence(UNCALIBRATED, no_pixel) == 0.0


@pytest.mark.parametrize("size", [(480, 640), (1, 1), (1, 900), (900, 7)])
def test_other_regions_are_inside_the_image(size: tuple[int, int]) -> None:
    height, width = size
    parts = [Region(0, 0, height, width), Region(height // 3, width // 4, height - height // 3, max(1, width // 2))]
    for region in parts:
        for number in range(len(OTHERS)):
            other = other_region(region, size, number)
            assert other.height > 0
            assert other.width > 0
            assert 0 <= other.top <= other.top + other.height <= height
            assert 0 <= other.left <= other.left + other.width <= width
    assert len({other_region(Region(100, 100, 90, 120), (480, 640), number) for number in range(len(OTHERS))}) == 4


class Counted:
    """The images that the embedded model answers about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: list[weakref.ref[EncodedImage]] = []
        original = Lisa.answer_prompt

        def answer_prompt(lisa: Lisa, image: EncodedImage, *more: object, **options: object) -> Iterator[Step]:
            self.images.append(weakref.ref(image))
            return original(lisa, image, *more, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Lisa, "answer_prompt", answer_prompt)


def asked(segmenter: Segmenter, image: object, command: str = "the red mug", **options: object) -> Finished:
    *_, finished = segmenter.session(image).segment(command, **options)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    return finished


@pytest.mark.parametrize(
    ("options", "most"),
    [((), MOST_LOOKS), (("looks=3",), 3), (("looks=1",), 1), (("region=whole",), 1)],
)
def test_the_embedded_model_looks_again_at_what_it_does_not_know(
    options: tuple[str, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.looks.ENOUGH", 9.0)
    monkeypatch.setattr("lisa_ros.models.lisa.image.looks.CERTAIN", 1.1)
    segmenter = load_segmenter(embedded_checkpoint(), dataclasses.replace(CPU, model_options=options))
    image = segmenter.encode(NOISE)
    first, again = asked(segmenter, image), asked(segmenter, image)
    assert (first.answer, len(first.objects)) == (again.answer, len(again.objects))
    assert len(counted.images) == 2 * most
    assert len(set(counted.images)) == most, "each look is encoded once"


def test_a_point_and_a_forced_mask_need_no_second_look(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "lisa_ros_point_prompts": True}))
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.looks.CERTAIN", 1.1)
    segmenter = load_segmenter(source, CPU)
    image = segmenter.encode(NOISE)
    region = image._part.region
    middle = (region.left + region.width / 2, region.top + region.height / 2)
    asked(segmenter, image, pointing=Pointing((middle,)))
    asked(segmenter, image, answer="mask_only")
    assert len(counted.images) == 2


def test_looks_end_with_their_image(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.looks.CERTAIN", 1.1)
    segmenter = load_segmenter(embedded_checkpoint(), CPU)
    gc.collect()
    gc.disable()
    try:
        for is_released in (True, False):
            image = segmenter.encode(NOISE)
            asked(segmenter, image)
            assert len(counted.images) > 1
            first, *others = counted.images
            if is_released:
                image.release()
                assert [one() for one in others] == [None] * len(others)
            del image
            assert first() is None
            assert [one() for one in others] == [None] * len(others)
            counted.images.clear()
    finally:
        gc.enable()


@pytest.mark.parametrize("value", ["0", "6", "two", "", "-1", "1.5", "01"])
def test_a_wrong_number_of_looks_is_named(value: str) -> None:
    with pytest.raises(LisaError, match=rf"^the model option looks is '{value}'; it can be 1 to {MOST_LOOKS}$"):
        load_segmenter(embedded_checkpoint(), dataclasses.replace(CPU, model_options=(f"looks={value}",)))


def test_as_many_regions_as_looks() -> None:
    assert len(OTHERS) + 1 == MOST_LOOKS
