# SPDX-License-Identifier: Apache-2.0
"""Transforms of tf2 as matrices."""

import sys
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped
from rclpy.clock import ClockType, ROSClock
from rclpy.time import Time as RosTime
from ros_harness import private_domain

from lisa_ros.nodes.lisa.answers.transforms import NoTransformError, Transforms, open_tf2_buffer
from lisa_ros.nodes.lisa.parameters import NodeParameters


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


def test_a_translation_that_is_not_finite_is_a_reason() -> None:
    """tf2 refuses NaN, but not infinity."""
    found = TransformStamped()
    found.transform.rotation.w, found.transform.translation.x = 1.0, float("inf")
    buffer: Any = MagicMock(lookup_transform=MagicMock(return_value=found))
    with pytest.raises(NoTransformError, match="translation"):
        Transforms(MagicMock(), lambda node: buffer).matrix("map", "camera", Time(), 0.0)


@pytest.mark.parametrize(
    ("target", "source", "sentence"),
    [
        ("/base_link", "camera", "'/base_link' is no frame of tf2.*: use 'base_link'"),
        ("map", "//camera", "'//camera' is no frame of tf2.*: use 'camera'"),
        ("/", "camera", "'/' is no frame of tf2, whose names do not begin with \"/\"\\.$"),
    ],
)
def test_names_that_no_frame_can_have_are_refused_without_a_wait(target: str, source: str, sentence: str) -> None:
    """tf2 refuses a leading "/", but only after the whole transform_timeout."""
    opened = MagicMock()
    with pytest.raises(NoTransformError, match=sentence):
        Transforms(MagicMock(), opened).matrix(target, source, Time(), 0.5)
    assert not opened.called


def test_long_names_of_frames_are_cut_in_the_reason() -> None:
    """The reason is in the answer of each object."""
    buffer: Any = MagicMock(lookup_transform=MagicMock(side_effect=LookupError(f"no {100_000 * 'x'}")))
    with pytest.raises(NoTransformError, match=f"from '{64 * 'x'}' to 'map' at") as refused:
        Transforms(MagicMock(), lambda node: buffer).matrix("map", 100_000 * "x", Time(), 0.0)
    assert len(str(refused.value)) < 1000


def test_tf_is_listened_to_as_soon_as_target_frame_is_set() -> None:
    """The first command after `ros2 param set` had no position: its image was older than the subscription."""
    opened: Any = MagicMock(return_value=MagicMock(lookup_transform=MagicMock(side_effect=LookupError("too old"))))
    parameters: Any = MagicMock(current=NodeParameters())
    transforms = Transforms(MagicMock(), opened)
    transforms.follow(parameters)
    assert not opened.called
    (changed,) = parameters.on_change.call_args.args
    changed(NodeParameters(target_frame="map"))
    assert opened.call_count == 1
    with pytest.raises(NoTransformError, match=r"too old\.$"):
        transforms.matrix("map", "camera", Time(), 0.0)
    with pytest.raises(NoTransformError, match=r"too old\. The node has listened to /tf since this command only"):
        Transforms(MagicMock(), opened).matrix("map", "camera", Time(), 0.0)


def test_a_clock_that_goes_back_empties_the_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bag or a simulation had begun again, tf2 took no transform until its time came to the old ones."""
    tf2_ros = MagicMock()
    monkeypatch.setitem(sys.modules, "tf2_ros", tf2_ros)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=private_domain())
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    buffer: Any = open_tf2_buffer(MagicMock(get_clock=lambda: clock))
    buffer.clear.reset_mock()
    for seconds, times in ((100, 0), (101, 0), (1, 1), (2, 1)):
        clock.set_ros_time_override(RosTime(seconds=seconds, clock_type=ClockType.ROS_TIME))
        assert buffer.clear.call_count == times
    rclpy.shutdown(context=context)
