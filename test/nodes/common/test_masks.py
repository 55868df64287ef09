# SPDX-License-Identifier: Apache-2.0
"""Masks of messages: what a planner or the operators' page decodes, from a node or from a stranger."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_ros.msg import ObjectMask, RunLengthMask
from lisa_ros.nodes.common.conversions import ImageError
from lisa_ros.nodes.common.masks import mask_of, run_length_message


def test_a_mask_there_and_back() -> None:
    mask = np.random.default_rng(2).random((31, 47)) > 0.4
    assert np.array_equal(mask_of(ObjectMask(run_length_mask=run_length_message(mask))), mask)
    assert mask_of(ObjectMask()) is None


@pytest.mark.parametrize(
    ("height", "width", "counts", "said"),
    [
        (2**31, 2**31, "0", "at most 40 million are decoded"),
        (3, 4, "<1", "sum up to 3 x 4"),
        (3, 4, "PPP", "cut off"),
        (3, 4, "\u20ac", "cannot be decoded"),
        (3, 4, "", "sum up to 3 x 4"),
    ],
)
def test_masks_that_do_not_fit_are_refused(height: int, width: int, counts: str, said: str) -> None:
    message = ObjectMask(run_length_mask=RunLengthMask(height=height, width=width, counts=counts))
    with pytest.raises(ImageError, match=said):
        mask_of(message)
