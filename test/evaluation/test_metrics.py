# SPDX-License-Identifier: Apache-2.0
"""gIoU and cIoU against numbers worked out by hand, and against upstream's arithmetic done again with torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lisa_ros.evaluation.metrics import (
    Overlap,
    box_around,
    boxes_iou,
    overlap,
    score,
    score_round,
)
from lisa_ros.segmentation.masks import intersection_over_union


def mask(rows: list[str]) -> NDArray[np.uint8]:
    """'.' background, '#' object, '?' ignored."""
    return np.array([[{".": 0, "#": 1, "?": 255}[letter] for letter in row] for row in rows], dtype=np.uint8)


TRUTH = mask(["##..", "##..", "..??"])


def test_a_mask_and_its_truth() -> None:
    found = mask([".##.", ".##.", "...."]) == 1
    assert overlap(found, TRUTH) == Overlap(2, 6)
    assert overlap(found, TRUTH).iou == pytest.approx(2 / 6, abs=1e-6)


def test_ignored_pixels_count_nowhere() -> None:
    found = mask(["##..", "##..", ".###"]) == 1
    assert overlap(found, TRUTH) == Overlap(4, 5)


def test_both_empty_is_right() -> None:
    assert overlap(np.zeros((3, 4), bool), np.zeros((3, 4), np.uint8)) == Overlap(0, 0)
    assert Overlap(0, 0).iou == 1.0


def test_a_truth_that_is_all_ignored_is_right_whatever_was_found() -> None:
    everything = np.ones((3, 4), bool)
    assert overlap(everything, np.full((3, 4), 255, np.uint8)) == Overlap(0, 0)


def test_a_mask_where_nothing_is_counts_nothing() -> None:
    found = mask(["#...", "....", "...."]) == 1
    assert overlap(found, np.zeros((3, 4), np.uint8)) == Overlap(0, 1)
    assert overlap(found, np.zeros((3, 4), np.uint8)).iou == 0.0


def test_no_mask_where_something_is_counts_nothing() -> None:
    assert overlap(np.zeros((3, 4), bool), TRUTH) == Overlap(0, 4)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(3, 4\)"):
        overlap(np.zeros((4, 3), bool), TRUTH)


def test_giou_is_a_mean_and_ciou_a_share() -> None:
    # 1/2, 1 (nothing there, nothing found) and 30/40: gIoU 0.75; cIoU (10 + 30) / (20 + 40).
    found = score([[Overlap(10, 20)], [Overlap(0, 0)], [Overlap(30, 40)]])
    assert found.giou == pytest.approx((0.5 + 1 + 0.75) / 3, abs=5e-6)
    assert found.ciou == pytest.approx(40 / 60, abs=1e-6)


def test_each_mask_of_an_image_counts_equally() -> None:
    # Upstream takes the mean of the masks of an image and weighs it with their number.
    found = score([[Overlap(1, 2), Overlap(0, 5), Overlap(0, 0)], [Overlap(4, 4)]])
    assert found.giou == pytest.approx((0.5 + 0 + 1 + 1) / 4, abs=5e-6)
    assert found.ciou == pytest.approx(5 / 11, abs=1e-6)


def test_upstreams_epsilons() -> None:
    assert Overlap(1, 1).iou == np.float32(1) / np.float32(1.00001)
    assert score([[Overlap(1, 1)]]).giou == pytest.approx(1 / 1.00001 / 1.00001, abs=1e-7)


def test_nothing_scored_is_no_score() -> None:
    assert math.isnan(score([]).giou) and math.isnan(score([[], []]).ciou)
    assert math.isnan(score_round([], []).mean_iou)


def test_only_absent_things_well_refused() -> None:
    found = score([[Overlap(0, 0)], [Overlap(0, 0)]])
    assert found.giou == pytest.approx(1, abs=1e-4) and found.ciou == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_against_upstreams_arithmetic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(20):
        size = tuple(rng.integers(2, 60, 2))
        truths = [rng.choice([0, 1, 255], size, p=[0.6, 0.3, 0.1]).astype(np.uint8) for _ in range(rng.integers(1, 5))]
        truths[0][:] *= rng.random() < 0.7
        images.append([(rng.random(size) < rng.random() * (rng.random() < 0.8), truth) for truth in truths])
    ours = score([[overlap(found, truth) for found, truth in masks] for masks in images])
    giou, ciou = upstream(images)
    assert ours.giou == pytest.approx(giou, rel=1e-6)
    assert ours.ciou == pytest.approx(ciou, rel=1e-6)


def upstream(images: list[list[tuple[NDArray[np.bool_], NDArray[np.uint8]]]]) -> tuple[float, float]:
    """(gIoU, cIoU) as lisa_in_practice.md, section F, describes them, in torch: histograms of two classes."""
    intersections, unions, ious, count = torch.zeros(2), torch.zeros(2), torch.zeros(2), 0
    for masks in images:
        accuracy = torch.zeros(2)
        for found, truth in masks:
            output, target = torch.tensor(found).float().ravel(), torch.tensor(truth).float().ravel()
            output[target == 255] = 255
            shared = torch.histc(output[output == target], bins=2, min=0, max=1)
            both = torch.histc(output, bins=2, min=0, max=1) + torch.histc(target, bins=2, min=0, max=1)
            intersections, unions = intersections + shared, unions + both - shared
            accuracy += shared / (both - shared + 1e-5)
            accuracy[(both - shared) == 0] += 1.0
        ious += accuracy / len(masks) * len(masks)
        count += len(masks)
    return float(ious[1] / (count + 1e-5)), float((intersections / (unions + 1e-10))[1])


def test_boxes() -> None:
    def iou(*masks: list[str]) -> float:
        one, other = (box_around(mask(rows) == 1) for rows in masks)
        return boxes_iou(one, other)

    assert iou(["##..", "...."], [".##.", "...."]) == pytest.approx(1 / 3)
    assert iou(["#...", "...."], ["...#", "...."]) == 0
    assert iou(["....", "...."], ["#...", "...."]) == 0
    assert iou(["....", "...."], ["....", "...."]) == 0
    assert boxes_iou((-1.0, 0.0, 1.0, 2.0), (0.0, 0.0, 1.0, 2.0)) == pytest.approx(1 / 2)


def test_rounds() -> None:
    found = score_round([Overlap(1, 2), Overlap(0, 0), Overlap(3, 3)], [0.4, 0.6, 1.0])
    assert found.mean_iou == pytest.approx((0.5 + 0 + 1) / 3, abs=1e-4)
    assert found.overall_iou == pytest.approx(4 / 5)
    assert found.box_precision == pytest.approx(2 / 3)


def test_plain_iou() -> None:
    a, b = np.zeros((2, 2), bool), np.zeros((2, 2), bool)
    assert intersection_over_union(a, b) == 1.0
    a[0], b[0, 0] = True, True
    assert intersection_over_union(a, b) == 0.5
