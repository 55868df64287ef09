# SPDX-License-Identifier: Apache-2.0
"""Answers from several crops: when they are asked for, which one they support, and that nothing of them stays."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import Answer, MaskStep, Reason
from lisa_ros.models.common.errors import ClosedError, DeviceMemoryError, MemoryLimitError, NotFiniteError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.image.crop_voting import Step, best_supported, confidence
from lisa_ros.models.lisa.image.crops import CHANGES, other_crops
from lisa_ros.models.lisa.segmenter import MOST_CROPS
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.region import Region
from lisa_ros.segmentation.scoring import NAMES, UNCALIBRATED, Calibration, LogisticRegression

CPU = LoadOptions(device="cpu", precision="fp32")
NOISE = np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8)


def marked(column: int, log_prob: float = 0.0, shown: float = 1.0) -> MaskStep:
    """A mask of ten columns of twenty rows from `column` on."""
    logits = np.full((20, 40), -8.0, dtype=np.float32)
    logits[:, column : column + 10] = 8.0
    return MaskStep(logits, logits, "[SEG]", log_prob, shown=shown)


def answer(*columns: int, name: str = "", reason: Reason = "end", log_prob: float = 0.0) -> list[Step]:
    """The steps of an answer with a mask at each of the columns."""
    return [*map(marked, columns), Answer(name, (), (), reason, log_prob)]


class Crops:
    """Answers from several crops, each with its confidence; counts those that are computed."""

    def __init__(self, *given: tuple[list[Step] | Exception, float]) -> None:
        self.computed = 0
        self._given = [(self._as(number, steps), value) for number, (steps, value) in enumerate(given)]

    def _as(self, number: int, steps: list[Step] | Exception) -> list[Step] | Exception:
        """The steps with an Answer whose text is the number of the crop."""
        if isinstance(steps, Exception):
            return steps
        assert isinstance(steps[-1], Answer)
        return [*steps[:-1], dataclasses.replace(steps[-1], text=str(number))]

    def _computed(self, steps: list[Step] | Exception) -> Iterator[Step]:
        self.computed += 1
        if isinstance(steps, Exception):
            raise steps
        yield from steps

    def confidence(self, steps: Sequence[Step]) -> float:
        return next(value for given, value in self._given if isinstance(given, list) and given[-1] is steps[-1])

    def chosen(self, cancelled: Callable[[], bool] = lambda: False) -> int:
        """The number of the crop whose answer counts."""
        answers = (self._computed(steps) for steps, _ in self._given)
        *_, last = best_supported(answers, self.confidence, cancelled)
        assert isinstance(last, Answer)
        return int(last.text)


HERE, THERE = answer(0), answer(20)
REFUSED = answer()


@pytest.mark.parametrize("first", [HERE, REFUSED])
def test_a_certain_answer_stands_alone(first: list[Step]) -> None:
    crops = Crops((first, 0.9), (THERE, 0.99), (THERE, 0.99))
    assert (crops.chosen(), crops.computed) == (0, 1)
    crops = Crops((first, 0.899), (THERE, 0.99), (THERE, 0.99))
    assert (crops.chosen(), crops.computed) == (1, 3)


@pytest.mark.parametrize(("second", "computed"), [(0.6, 3), (0.59, 4)])
@pytest.mark.parametrize("first", [HERE, REFUSED])
def test_two_that_agree_are_enough(first: list[Step], second: float, computed: int) -> None:
    crops = Crops((first, 0.5), (THERE, 0.6), (THERE, second), (answer(10), 0.1))
    assert crops.chosen() == 1
    assert crops.computed == computed


def test_where_none_agree_the_most_confident_answer_counts() -> None:
    assert Crops((HERE, 0.4), (answer(10), 0.3), (THERE, 0.5)).chosen() == 2
    assert Crops((HERE, 0.4), (THERE, 0.4)).chosen() == 0, "of equal ones the first"


def test_an_answer_without_a_mask_counts_seven_tenths() -> None:
    assert Crops((HERE, 0.43), (REFUSED, 0.6)).chosen() == 0
    assert Crops((HERE, 0.41), (REFUSED, 0.6)).chosen() == 1
    assert Crops((HERE, 0.8), (REFUSED, 0.6), (REFUSED, 0.65)).chosen() == 1, "two of them outvote a mask"


def test_an_answer_counts_for_another_as_far_as_their_masks_agree() -> None:
    third, half = answer(5), answer(2)  # IoU with HERE: 1/3 and 2/3
    assert Crops((THERE, 0.6), (HERE, 0.45), (half, 0.25)).chosen() == 1
    assert Crops((THERE, 0.6), (HERE, 0.45), (third, 0.40)).chosen() == 0
    assert Crops((THERE, 0.6), (HERE, 0.45), (third, 0.48)).chosen() == 2, "0.48 + 0.45 / 3 = 0.63, 0.61 the other way"


def test_all_masks_of_an_answer_count_as_one() -> None:
    assert Crops((HERE, 0.6), (answer(0, 20), 0.4), (THERE, 0.3)).chosen() == 1, "both are half of it: 0.85 against 0.8"


@pytest.mark.parametrize("error", [MemoryError, MemoryLimitError, DeviceMemoryError, NotFiniteError])
def test_a_crop_that_fails_does_not_count(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    """The complete first answer was lost."""
    crops = Crops((HERE, 0.5), (error("too large"), 0.0), (THERE, 0.8))
    assert crops.chosen() == 0
    assert crops.computed == 2, "it would fail again"
    assert "does not count: too large" in caplog.text


def test_other_errors_are_those_of_the_command() -> None:
    with pytest.raises(ClosedError):
        Crops((HERE, 0.5), (ClosedError("released"), 0.0)).chosen()
    with pytest.raises(MemoryLimitError):
        Crops((MemoryLimitError("too large"), 0.0), (HERE, 0.5)).chosen()


def test_an_answer_that_does_not_end_is_not_asked_for_again() -> None:
    """It was, four times, each as long as the first."""
    crops = Crops((answer(0, reason="length"), 0.2), (THERE, 0.8))
    assert (crops.chosen(), crops.computed) == (0, 1)
    crops = Crops((HERE, 0.2), (answer(20, reason="length"), 0.8), (THERE, 0.8))
    assert (crops.chosen(), crops.computed) == (0, 2)


def test_cancelled() -> None:
    crops = Crops((HERE, 0.5), (answer(reason="cancelled"), 0.9), (HERE, 0.9))
    assert (crops.chosen(), crops.computed) == (1, 2)
    crops = Crops((answer(reason="cancelled"), 0.0), (HERE, 0.9))
    assert (crops.chosen(), crops.computed) == (0, 1)
    crops = Crops((HERE, 0.3), (THERE, 0.5), (HERE, 0.9))
    assert crops.chosen(lambda: crops.computed == 2) == 1, "between two crops what is complete counts"
    assert crops.computed == 2


def test_the_logits_of_the_other_answers_are_freed_before_the_first_step_is_taken() -> None:
    kept: list[weakref.ref[NDArray[np.float32]]] = []

    def answers() -> Iterator[Iterator[Step]]:
        for column in (0, 10, 20):
            steps = answer(column)
            kept.append(weakref.ref(steps[0].logits))  # type: ignore[union-attr]
            yield iter(steps)

    gc.disable()
    try:
        chosen = best_supported(answers(), lambda steps: 0.3)
        next(chosen)
        assert [one() is None for one in kept] == [False, True, True]
    finally:
        gc.enable()


def test_confidence() -> None:
    assert confidence(UNCALIBRATED, answer(0)) > 0.99, "the expected IoU of a firm mask"
    assert confidence(UNCALIBRATED, answer(log_prob=-0.5)) == pytest.approx(np.exp(-0.5))
    empty = np.full((4, 4), -1.0, dtype=np.float32)
    no_pixel = [MaskStep(empty, empty, "[SEG]", 0.0), Answer("[SEG]", (), (), "end")]
    assert confidence(UNCALIBRATED, no_pixel) == 0.0
    assert confidence(UNCALIBRATED, [*no_pixel[:1], *answer(0)]) == pytest.approx(0.5, abs=0.01), "the mean"


@pytest.mark.parametrize(("name", "feature"), [("log_prob", np.log(0.5)), ("share", np.log(0.25 * 0.3))])
def test_the_confidence_is_the_score_of_a_full_answer(name: str, feature: float) -> None:
    weights = tuple(float(one == name) for one in NAMES)
    other = LogisticRegression(5.0, (0.0,) * len(NAMES))
    calibration = Calibration({"mask_only": other, "full": LogisticRegression(0.0, weights)}, {})
    steps = [marked(0, -0.5, shown=0.3), Answer("[SEG]", (), (), "end", -0.7)]
    assert confidence(calibration, steps) == pytest.approx(1 / (1 + np.exp(-feature)))


@pytest.mark.parametrize("size", [(480, 640), (1, 1), (1, 900), (900, 7)])
def test_other_crops_are_inside_the_image(size: tuple[int, int]) -> None:
    height, width = size
    parts = [Region(0, 0, height, width), Region(height // 3, width // 4, height - height // 3, max(1, width // 2))]
    for region in parts:
        for other in other_crops(region, size):
            assert other.height > 0
            assert other.width > 0
            assert 0 <= other.top <= other.top + other.height <= height
            assert 0 <= other.left <= other.left + other.width <= width


def test_other_crops() -> None:
    assert list(other_crops(Region(100, 200, 100, 200), (480, 640))) == [
        Region(103, 206, 100, 200),  # 3 % down and to the right
        Region(95, 190, 110, 220),  # 5 % larger at each side
        Region(97, 194, 100, 200),
        Region(104, 208, 92, 184),
    ]
    whole = Region(0, 0, 100, 200)
    assert list(other_crops(whole, (100, 200))) == [
        Region(3, 6, 97, 194),
        Region(0, 0, 97, 194),
        Region(4, 8, 92, 184),
    ], "none is the region itself"


class Counted:
    """The images that the embedded model answers about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: list[weakref.ref[EncodedImage]] = []
        self.complete = 0
        original = Lisa.answer_prompt

        def answer_prompt(lisa: Lisa, image: EncodedImage, *more: object, **options: object) -> Iterator[Step]:
            self.images.append(weakref.ref(image))
            yield from original(lisa, image, *more, **options)  # type: ignore[arg-type]
            self.complete += 1

        monkeypatch.setattr(Lisa, "answer_prompt", answer_prompt)


def asked(segmenter: Segmenter, image: object, command: str = "the red mug", **options: object) -> Finished:
    *_, finished = segmenter.session(image).segment(command, **options)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    return finished


@pytest.mark.parametrize(
    ("options", "most"),
    [((), MOST_CROPS), (("crops=3",), 3), (("crops=1",), 1), (("region=whole",), 1)],
)
def test_the_embedded_model_answers_from_more_crops_where_it_is_not_certain(
    options: tuple[str, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.ENOUGH", 9.0)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.CERTAIN", 1.1)
    segmenter = load_segmenter(embedded_checkpoint(), dataclasses.replace(CPU, model_options=options))
    image = segmenter.encode(NOISE)
    first, again = asked(segmenter, image), asked(segmenter, image)
    assert (first.answer, len(first.objects)) == (again.answer, len(again.objects))
    assert len(counted.images) == 2 * most
    assert len(set(counted.images)) == most, "each crop is encoded once"


def test_a_point_and_a_forced_mask_need_no_second_crop(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "lisa_ros_point_prompts": True}))
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.CERTAIN", 1.1)
    segmenter = load_segmenter(source, CPU)
    image = segmenter.encode(NOISE)
    region = image._part.region
    middle = (region.left + region.width / 2, region.top + region.height / 2)
    asked(segmenter, image, pointing=Pointing((middle,)))
    asked(segmenter, image, answer="mask_only")
    assert len(counted.images) == 2


def test_a_command_is_cancelled_in_its_second_crop_or_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.CERTAIN", 1.1)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.ENOUGH", 9.0)
    segmenter = load_segmenter(embedded_checkpoint(), CPU)
    image = segmenter.encode(NOISE)
    whole = asked(segmenter, image)
    counted.images.clear()
    finished = asked(segmenter, image, cancelled=lambda: len(counted.images) == 2)
    assert (finished.reason, len(counted.images)) == ("cancelled", 2)
    assert asked(segmenter, image).answer == whole.answer
    counted.images.clear()
    counted.complete = 0
    finished = asked(segmenter, image, cancelled=lambda: counted.complete == 1)
    assert (finished.reason, len(counted.images)) == ("end", 1)
    crops = list(image.other_crops())
    assert all(crop._visual_tokens is not None for crop in crops)
    image.release()
    assert all(crop._visual_tokens is None for crop in crops), "also while another command still answers from them"


def test_crops_end_with_their_image(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr("lisa_ros.models.lisa.image.crop_voting.CERTAIN", 1.1)
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
def test_a_wrong_number_of_crops_is_named(value: str) -> None:
    with pytest.raises(LisaError, match=rf"^the model option crops is '{value}'; it can be 1 to {MOST_CROPS}$"):
        load_segmenter(embedded_checkpoint(), dataclasses.replace(CPU, model_options=(f"crops={value}",)))


def test_as_many_changes_as_crops() -> None:
    assert len(CHANGES) + 1 == MOST_CROPS
