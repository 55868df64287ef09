# SPDX-License-Identifier: Apache-2.0
"""Transforms of tf2 as matrices."""

from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped

from lisa_ros.nodes.lisa.answers.transforms import NoTransformError, Transforms


def transforms(rotation: Quaternion) -> Transforms:
    """With a buffer that knows one transform."""
    found = TransformStamped()
    found.transform.rotation = rotation
    buffer: Any = MagicMock(lookup_transform=MagicMock(return_value=found))
    return Transforms(MagicMock(), lambda node: buffer)


def test_a_quaternion_that_was_typed_with_two_digits_is_a_rotation() -> None:
    """tf2 accepts it, and every answer with a position was FAILED."""
    matrix = transforms(Quaternion(z=0.71, w=0.71)).matrix("map", "camera", Time(), 0.0)
    assert matrix[:3, :3] == pytest.approx(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("w", [0.0, float("nan")])
def test_a_quaternion_that_is_none_is_a_reason(w: float) -> None:
    with pytest.raises(NoTransformError, match="the length of its quaternion is"):
        transforms(Quaternion(w=w)).matrix("map", "camera", Time(), 0.0)


def test_long_names_of_frames_are_cut_in_the_reason() -> None:
    """The reason is in the answer of each object."""
    buffer: Any = MagicMock(lookup_transform=MagicMock(side_effect=LookupError(f"no {100_000 * 'x'}")))
    with pytest.raises(NoTransformError, match=f"from '{64 * 'x'}' to 'map' at") as refused:
        Transforms(MagicMock(), lambda node: buffer).matrix("map", 100_000 * "x", Time(), 0.0)
    assert len(str(refused.value)) < 1000
