# SPDX-License-Identifier: Apache-2.0
"""From mask logits to a score: the evidence, the calibration and its file, and how good scores are."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.evaluation.calibrate import fit_line
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.reliability import auroc, diagram, limit_rows, reliability
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.scoring import (
    FILE,
    UNCALIBRATED,
    Calibration,
    Evidence,
    LogisticRegression,
    ScoreFileError,
    carry_calibration,
    evidence_for,
    features,
    pixel_probability,
    read_calibration,
)


def test_evidence_by_hand() -> None:
    """Two pixels inside with probabilities 3/4 and 9/10, one outside with 1/4, one far outside."""
    logits = np.array([[math.log(3), math.log(9)], [-math.log(3), -100.0]], dtype=np.float32)
    found = evidence_for(logits, -0.5)
    assert found is not None
    assert found.firmness == pytest.approx((math.log(3) + math.log(9)) / 2)
    assert found.expected_iou == pytest.approx((0.75 + 0.9) / (2 + 0.25))
    assert found.log_prob == -0.5


def test_a_confident_mask_has_more_evidence_than_a_vague_one() -> None:
    shape = np.where(np.arange(64).reshape(8, 8) < 20, 1.0, -1.0).astype(np.float32)
    vague, clear = evidence_for(0.3 * shape, 0.0), evidence_for(9 * shape, 0.0)
    assert vague is not None and clear is not None
    assert vague.expected_iou < 0.4 and clear.expected_iou > 0.99 and clear.firmness > vague.firmness


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_an_empty_mask_has_no_evidence_and_the_score_0(value: float) -> None:
    assert evidence_for(np.full((4, 5), value, dtype=np.float32), 0.0) is None
    line = Calibration({"full": LogisticRegression(9.0, (0.0, 0.0, 0.0))}, {})
    assert UNCALIBRATED.score(None, "full") == line.score(None, "full") == 0.0


def test_extreme_logits_give_finite_evidence() -> None:
    logits = np.array([[1e30, 3e38], [-1e30, -3e38]], dtype=np.float32)
    with np.errstate(all="raise"):
        found = evidence_for(logits, -1e30)
    assert found is not None
    assert found.expected_iou == pytest.approx(1)
    assert np.isfinite([found.firmness, *features(found)]).all()


@pytest.mark.parametrize(("logit", "log_prob"), [(np.nan, 0.0), (np.inf, 0.0), (-np.inf, 0.0), (1.0, np.nan)])
def test_a_network_that_computes_nonsense_is_an_error(logit: float, log_prob: float) -> None:
    """Otherwise NaN logits look like an empty mask, and NaN probabilities like a score."""
    with pytest.raises(ValueError, match="NaN or infinite"):
        evidence_for(np.array([[1.0, logit]], dtype=np.float32), log_prob)


def test_pixel_probability() -> None:
    logits = np.array([[0.0, 2.0], [-2.0, 300.0]], dtype=np.float32)
    probability = pixel_probability(logits)
    assert probability.dtype == np.float32
    assert probability == pytest.approx(np.array([[0.5, 0.880797], [0.119203, 1.0]]), abs=1e-6)
    assert np.array_equal(probability > 0.5, logits > 0)


EVIDENCE = Evidence(firmness=4.0, expected_iou=0.8, log_prob=-0.1, share=0.02)


def test_a_score_by_hand() -> None:
    line = LogisticRegression(-1.0, (0.5, 2.0, -0.25, 0.3))
    odds = -1.0 + 0.5 * 4.0 + 2.0 * math.log(0.8 / 0.2) - 0.25 * math.log(0.1) + 0.3 * math.log(0.02)
    assert Calibration({"full": line}, {}).score(EVIDENCE, "full") == pytest.approx(1 / (1 + math.exp(-odds)))


def test_without_a_calibration_the_score_is_the_expected_iou() -> None:
    assert UNCALIBRATED.score(EVIDENCE, "full") == 0.8
    assert Calibration({"full": LogisticRegression(0.0, (0.0, 0.0, 0.0, 0.0))}, {}).score(EVIDENCE, "mask_only") == 0.8


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    (folder / "clip").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "clip" / "model.safetensors").write_bytes(b"clip")
    return folder


def calibrated(folder: Path) -> Calibration:
    """A calibration that was fitted to the folder's weights and is written there."""
    about = {"dataset": "tabletop", "weights_sha256": one_hash(weights_of(folder))}
    calibration = Calibration({"full": LogisticRegression(-1.5, (0.5, 2.0, -0.25, 0.1))}, about)
    (folder / FILE).write_text(calibration.text())
    return calibration


def test_a_calibration_without_the_masks_share_keeps_its_scores(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")
    calibrated(folder)
    content = json.loads((folder / FILE).read_text())
    del content["answers"]["full"]["weights"]["share"]
    (folder / FILE).write_text(json.dumps(content))
    assert read_calibration(folder).regressions["full"] == LogisticRegression(-1.5, (0.5, 2.0, -0.25, 0.0))


def test_the_file_holds_all_of_a_calibration(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")
    assert calibrated(folder) == read_calibration(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "clip/model.safetensors"])
def test_a_calibration_of_other_weights_is_ignored_with_a_warning(
    tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint(tmp_path / "a")
    calibrated(folder)
    (folder / file).write_bytes(b"finetuned")
    assert read_calibration(folder) is UNCALIBRATED
    assert "fitted to other weights" in caplog.text and str(folder / FILE) in caplog.text


def test_a_calibration_that_names_no_weights_is_ignored(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")
    (folder / FILE).write_text(replace(calibrated(folder), about={}).text())
    assert read_calibration(folder) is UNCALIBRATED


def test_a_converted_checkpoint_keeps_the_calibration(tmp_path: Path) -> None:
    source, target = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b", b"quantized")
    original = calibrated(source)
    carry_calibration(source, target)
    carried = read_calibration(target)
    assert carried.regressions == original.regressions and carried.about["dataset"] == "tabletop"
    (source / "model.safetensors").write_bytes(b"finetuned")
    carry_calibration(source, target)
    assert not (target / FILE).exists(), "the source's own calibration was not valid"


def test_a_folder_without_a_file_is_uncalibrated(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is UNCALIBRATED


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=2),
        lambda content: content.update(right_iou=0.7),
        lambda content: content.pop("answers"),
        lambda content: content["answers"]["full"].pop("bias"),
        lambda content: content["answers"]["full"]["weights"].pop("firmness"),
        lambda content: content["answers"]["full"].update(bias=math.nan),
        lambda content: content["answers"].update(full=3),
        lambda content: content.update(answers=[]),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, change: object) -> None:
    content = json.loads(Calibration({"full": LogisticRegression(-1.5, (0.5, 2.0, -0.25, 0.1))}, {}).text())
    change(content)  # type: ignore[operator]
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(ScoreFileError, match=r"score\.json is not a calibration .*`lisa calibrate`"):
        read_calibration(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "{}"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ScoreFileError, match="lisa calibrate"):
        read_calibration(tmp_path)


def masks(count: int, seed: int = 0) -> tuple[list[Evidence], np.ndarray]:
    """Evidence, and outcomes drawn with the probabilities of TRUE_REGRESSION."""
    rng = np.random.default_rng(seed)
    evidence = [
        Evidence(float(firmness), float(iou), float(-np.exp(surprise)), float(np.exp(share)))
        for firmness, iou, surprise, share in zip(
            rng.normal(4, 1, count),
            rng.uniform(0.3, 0.98, count),
            rng.normal(-4, 2, count),
            rng.normal(-4, 1, count),
            strict=True,
        )
    ]
    return evidence, rng.random(count) < [TRUE_REGRESSION.probability(one) for one in evidence]


TRUE_REGRESSION = LogisticRegression(-2.5, (0.8, 1.0, -0.3, 0.5))


def test_a_fit_recovers_the_regression_that_drew_the_outcomes() -> None:
    line = fit_line(*masks(20_000))
    assert line.bias == pytest.approx(TRUE_REGRESSION.bias, abs=0.3)
    assert line.weights == pytest.approx(TRUE_REGRESSION.weights, abs=0.1)


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


def test_a_fit_stays_finite_where_right_and_wrong_are_separable() -> None:
    evidence = [Evidence(float(i), 0.5, -0.1, 0.01) for i in range(60)]
    line = fit_line(evidence, np.arange(60) >= 30)
    assert np.isfinite([line.bias, *line.weights]).all()
    assert line.probability(evidence[0]) < 0.05 and line.probability(evidence[-1]) > 0.95


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
