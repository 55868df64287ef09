# SPDX-License-Identifier: Apache-2.0
"""Checks of points and boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.pointing import Pointing

SIZE = (90, 160)


def test_numbers_of_python_and_numpy_are_taken() -> None:
    Pointing(((3, 4.5), (np.float32(3), np.int64(4))), ((0, 0, 160, 90),)).check(SIZE)
    Pointing([np.array([3, 4])], []).check(SIZE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("points", "boxes", "said"),
    [
        ((3, 4), (), r"The points must be a tuple of \(u, v\) in pixels; they are \(3, 4\)\."),
        (((3, 4, 5),), (), r"they are \(\(3, 4, 5\),\)"),
        (((True, 4),), (), r"they are \(\(True, 4\),\)"),
        ((("3", "4"),), (), "they are"),
        (None, (), "they are None"),
        ((), ((0, 0, 9),), r"The boxes must be a tuple of \(x, y, width, height\) in pixels; they are"),
        (((160, 4),), (), r"The point \(160, 4\) is outside the image of 160 x 90 pixels"),
        (((float("nan"), 4),), (), "is outside the image"),
    ],
)
def test_what_is_no_point_in_the_image_is_refused(points: Any, boxes: Any, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        Pointing(points, boxes).check(SIZE)
