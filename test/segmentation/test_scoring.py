# SPDX-License-Identifier: Apache-2.0
"""From mask logits to a score: the evidence, the calibration and its file, and how good scores are."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.evaluation.calibrate import fit_line
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.reliability import auroc, diagram, limit_rows, reliability
from lisa_ros.segmentation.scoring import (
    FILE,
    UNCALIBRATED,
    Calibration,
    Evidence,
    Line,
    ScoreFileError,
    features,
    pixel_probability,
    read_calibration,
    weigh,
)


def test_evidence_by_hand() -> None:
    """Two pixels inside with probabilities 3/4 and 9/10, one outside with 1/4, one far outside."""
    logits = np.array([[math.log(3), math.log(9)], [-math.log(3), -100.0]], dtype=np.float32)
    found = weigh(logits, -0.5)
    assert found is not None
    assert found.firmness == pytest.approx((math.log(3) + math.log(9)) / 2)
    assert found.expected_iou == pytest.approx((0.75 + 0.9) / (2 + 0.25))
    assert found.log_prob == -0.5


def test_a_sure_mask_is_worth_more_than_a_vague_one() -> None:
    shape = np.where(np.arange(64).reshape(8, 8) < 20, 1.0, -1.0).astype(np.float32)
    vague, sure = weigh(0.3 * shape, 0.0), weigh(9 * shape, 0.0)
    assert vague is not None and sure is not None
    assert vague.expected_iou < 0.4 and sure.expected_iou > 0.99 and sure.firmness > vague.firmness


@pytest.mark.parametrize("value", [0.0, -3.0, -np.inf])
def test_an_empty_mask_has_no_evidence_and_the_score_0(value: float) -> None:
    assert weigh(np.full((4, 5), value, dtype=np.float32), 0.0) is None
    line = Calibration({"full": Line(9.0, (0.0, 0.0, 0.0))}, {})
    assert UNCALIBRATED.score(None, "full") == line.score(None, "full") == 0.0


def test_extreme_logits_are_finite() -> None:
    logits = np.array([[1e30, np.inf], [-1e30, -np.inf]], dtype=np.float32)
    with np.errstate(all="raise"):
        found = weigh(logits, -1e30)
    assert found is not None
    assert found.expected_iou == pytest.approx(1)
    assert np.isfinite([found.firmness, *features(found)]).all()


def test_pixel_probability() -> None:
    logits = np.array([[0.0, 2.0], [-2.0, 300.0]], dtype=np.float32)
    probability = pixel_probability(logits)
    assert probability.dtype == np.float32
    assert probability == pytest.approx(np.array([[0.5, 0.880797], [0.119203, 1.0]]), abs=1e-6)
    assert np.array_equal(probability > 0.5, logits > 0)


EVIDENCE = Evidence(firmness=4.0, expected_iou=0.8, log_prob=-0.1)


def test_a_score_by_hand() -> None:
    line = Line(-1.0, (0.5, 2.0, -0.25))
    odds = -1.0 + 0.5 * 4.0 + 2.0 * math.log(0.8 / 0.2) - 0.25 * math.log(0.1)
    assert Calibration({"full": line}, {}).score(EVIDENCE, "full") == pytest.approx(1 / (1 + math.exp(-odds)))


def test_without_a_calibration_the_score_is_the_expected_iou() -> None:
    assert UNCALIBRATED.score(EVIDENCE, "full") == 0.8
    assert Calibration({"full": Line(0.0, (0.0, 0.0, 0.0))}, {}).score(EVIDENCE, "mask_only") == 0.8


def test_the_file_holds_all_of_a_calibration(tmp_path: Path) -> None:
    written = Calibration({"full": Line(-1.5, (0.5, 2.0, -0.25))}, {"dataset": "tabletop"})
    (tmp_path / FILE).write_text(written.text())
    assert read_calibration(tmp_path) == written


def test_a_folder_without_a_file_is_uncalibrated(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is UNCALIBRATED


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(format=2),
        lambda told: told.update(right_iou=0.7),
        lambda told: told.pop("answers"),
        lambda told: told["answers"]["full"].pop("bias"),
        lambda told: told["answers"]["full"]["weights"].pop("firmness"),
        lambda told: told["answers"]["full"].update(bias=math.nan),
        lambda told: told["answers"].update(full=3),
        lambda told: told.update(answers=[]),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, change: object) -> None:
    told = json.loads(Calibration({"full": Line(-1.5, (0.5, 2.0, -0.25))}, {}).text())
    change(told)  # type: ignore[operator]
    (tmp_path / FILE).write_text(json.dumps(told))
    with pytest.raises(ScoreFileError, match=r"score\.json is no calibration .*`lisa calibrate`"):
        read_calibration(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "{}"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ScoreFileError, match="lisa calibrate"):
        read_calibration(tmp_path)


def masks(count: int, seed: int = 0) -> tuple[list[Evidence], np.ndarray]:
    """Evidence, and outcomes that come of a line known."""
    rng = np.random.default_rng(seed)
    told = [
        Evidence(float(firmness), float(iou), float(-np.exp(surprise)))
        for firmness, iou, surprise in zip(
            rng.normal(4, 1, count), rng.uniform(0.3, 0.98, count), rng.normal(-4, 2, count), strict=True
        )
    ]
    return told, rng.random(count) < [TRUE_LINE.probability(one) for one in told]


TRUE_LINE = Line(-4.5, (0.8, 1.0, -0.3))


def test_a_fit_finds_the_line_that_made_the_outcomes() -> None:
    line = fit_line(*masks(20_000))
    assert line.bias == pytest.approx(TRUE_LINE.bias, abs=0.3)
    assert line.weights == pytest.approx(TRUE_LINE.weights, abs=0.1)


def test_fitted_scores_are_reliable_on_other_masks() -> None:
    line = fit_line(*masks(2000))
    others, right = masks(20_000, seed=1)
    found = reliability(
        Item(str(i), 1, found_pixels=1, score=line.probability(one), iou=0.9 * hit)
        for i, (one, hit) in enumerate(zip(others, right, strict=True))
    )
    assert found is not None
    assert found.ece < 0.02 and abs(found.score - found.right) < 0.02
    assert found.auroc is not None and found.auroc > 0.7


def test_a_fit_stays_finite_where_a_line_parts_right_from_wrong() -> None:
    told = [Evidence(float(i), 0.5, -0.1) for i in range(60)]
    line = fit_line(told, np.arange(60) >= 30)
    assert np.isfinite([line.bias, *line.weights]).all()
    assert line.probability(told[0]) < 0.05 and line.probability(told[-1]) > 0.95


def scored(score: float | None, iou: float, true_pixels: int = 5, found_pixels: int = 5) -> Item:
    name = f"{score} {iou} {true_pixels} {found_pixels}"
    return Item(name, 1, score=score, iou=iou, true_pixels=true_pixels, found_pixels=found_pixels)


def test_reliability_by_hand() -> None:
    items = [scored(0.95, 0.9), scored(0.91, 0.2), scored(0.85, 0.5), scored(0.15, 0.0, true_pixels=0)]
    ignored = [scored(None, 0.9), scored(0.0, 1.0, found_pixels=0)]
    found = reliability([*items, *ignored])
    assert found is not None
    assert (found.masks, found.right) == (4, 0.5)
    assert found.score == pytest.approx((0.95 + 0.91 + 0.85 + 0.15) / 4)
    assert found.brier == pytest.approx((0.05**2 + 0.91**2 + 0.15**2 + 0.15**2) / 4)
    assert found.ece == pytest.approx((2 * abs(0.93 - 0.5) + 0.15 + 0.15) / 4)
    assert found.auroc == pytest.approx(3 / 4), "of four pairs one is the wrong way round"
    assert [one.masks for one in found.bins] == [1, 1, 2]
    limit = next(one for one in found.limits if one.min_score == 0.9)
    assert (limit.right_lost, limit.wrong_dropped, limit.absent_dropped) == (0.5, 0.5, 1.0)
    assert limit_rows(found.limits)[-1] == ["0.9", "50.0%", "50.0%", "100.0%"]


def test_reliability_without_scores_or_without_a_wrong_mask() -> None:
    assert reliability([scored(None, 0.9)]) is None
    found = reliability([scored(0.9, 0.9)])
    assert found is not None
    assert found.auroc is None and limit_rows(found.limits)[1][2:] == ["-", "-"]
    assert "AUROC -" in found.line()


def test_ties_count_half() -> None:
    assert auroc(np.array([0.5, 0.5, 0.5]), np.array([True, False, True])) == 0.5


def test_the_diagram_is_an_svg_with_a_dot_for_each_bin() -> None:
    found = reliability([scored(0.95, 0.9), scored(0.15, 0.0)])
    assert found is not None
    root = ElementTree.fromstring(diagram(found))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2
