# SPDX-License-Identifier: Apache-2.0
"""What is wrong with depth and intrinsics as they arrive, without any command."""

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from depth_camera import info_message, metres_message
from std_msgs.msg import Header

from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.camera.depth_check import DepthCheck
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer

MS = 1_000_000


def header(ms: int) -> Header:
    return Header(stamp=Time(sec=1000 + ms // 1000, nanosec=ms % 1000 * MS))


def check(
    depth_ms: int | None = 0,
    info: tuple[int, int] | None = (16, 12),
    depth: tuple[int, int] = (16, 12),
    tolerance_s: float = 0.02,
    count: int = 6,
) -> DepthCheck:
    """Frames of a camera of 10 Hz, whose depth is stamped `depth_ms` after the image."""
    frames = FrameBuffer(lambda: 1, lambda: 0.0, lambda: tolerance_s)
    for at in range(0, 100 * count, 100):
        frames.add_image(to_image_message(np.zeros((12, 16, 3), np.uint8), "rgb8", header(at)))
        if info is not None:
            frames.add_info(info_message(*info, header(at)))
        if depth_ms is not None:
            frames.add_depth(metres_message(np.ones(depth[::-1], np.float32), header(at + depth_ms)))
    return DepthCheck(frames)


def test_depth_that_fits_and_no_depth_are_no_trouble() -> None:
    assert check().trouble() == "" and check().offset_s() == 0.0
    assert check(None).trouble() == "" and math.isnan(check(None).offset_s())
    assert check(None, None).trouble() == ""
    assert check(12).trouble() == "" and check(12).offset_s() == pytest.approx(0.012)
    assert check(33, count=1).trouble() == ""  # the depth of the newest image may still be on its way


def test_an_offset_beyond_the_tolerance_is_measured_and_the_right_tolerance_named() -> None:
    sentence = check(33).trouble()
    assert "stamped 33 ms from the images and sync_tolerance allows 20 ms" in sentence
    assert "set sync_tolerance to 0.050" in sentence
    assert check(33, tolerance_s=0.05).trouble() == ""
    assert "4999.6 s from the images" in check(5_000_000).trouble() and "one clock" in check(5_000_000).trouble()


def test_intrinsics_that_are_missing_or_of_another_size() -> None:
    assert "No camera_info arrives" in check(info=None).trouble()
    assert "The camera_info is 8x6 and the image 16x12" in check(info=(8, 6)).trouble()
    assert check(info=(8, 6), depth=(8, 6)).trouble() == ""  # those of depth of half the size
