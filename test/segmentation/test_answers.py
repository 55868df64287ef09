# SPDX-License-Identifier: Apache-2.0
"""Checks of what a model has computed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lisa_ros.segmentation.answers import ObjectMask, Region, check_objects
from lisa_ros.segmentation.turns import Turn

MASK = np.ones((4, 6), dtype=np.bool_)


@pytest.mark.parametrize("score", [None, 0.0, 0.5, 1.0])
def test_valid_objects_pass(score: float | None) -> None:
    check_objects([ObjectMask(MASK, (0, 5), score=score)], (4, 6))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e300, 1.01, -0.01])
def test_a_score_that_is_no_probability_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="a score lies between 0 and 1"):
        check_objects([ObjectMask(MASK, (0, 5)), ObjectMask(MASK, (6, 11), score=score)], (4, 6))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a mask of shape \(4, 6\) for an image of shape \(6, 4\)"):
        check_objects([ObjectMask(MASK, (0, 5))], (6, 4))


def test_objects_and_turns_can_be_compared_and_hashed() -> None:
    """Arrays have no truth value and no hash, so objects are compared by identity."""
    one, other = (ObjectMask(MASK, (0, 5), region=Region(MASK, (0, 0, 1, 1))) for _ in range(2))
    assert one == one and one != other
    assert len({one, other, one}) == 2
    assert Turn("a", "[SEG]", (one,)) == Turn("a", "[SEG]", (one,)) != Turn("a", "[SEG]", (other,))
