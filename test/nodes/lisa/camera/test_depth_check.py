# SPDX-License-Identifier: Apache-2.0
"""What is wrong with depth and intrinsics as they arrive, without any command."""

import array
import math
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from depth_camera import info_message, metres_message
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.camera.depth_check import DepthCheck
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer

MS = 1_000_000


def header(ms: int, frame_id: str = "") -> Header:
    return Header(stamp=Time(sec=1000 + ms // 1000, nanosec=ms % 1000 * MS), frame_id=frame_id or "camera")


def check(
    depth_ms: int | None = 0,
    info: tuple[int, int] | None = (16, 12),
    depth: tuple[int, int] = (16, 12),
    tolerance_s: float = 0.02,
    count: int = 6,
    kept_s: float = 0.0,
    depth_every: int = 1,
    depth_from: int = 0,
    depth_frame: str = "",
    info_frame: str = "",
    change: Any = lambda message: message,
    **fields: Any,
) -> DepthCheck:
    """Frames of a camera of 10 Hz, whose depth is stamped `depth_ms` after the image."""
    frames = FrameBuffer(lambda: 1, lambda: kept_s, lambda: tolerance_s)
    for at in range(0, 100 * count, 100):
        frames.add_image(to_image_message(np.zeros((12, 16, 3), np.uint8), "rgb8", header(at)))
        if info is not None:
            frames.add_info(info_message(*info, header(at, info_frame), **fields))
        if depth_ms is not None and at // 100 >= depth_from and at // 100 % depth_every == 0:
            message = metres_message(np.ones(depth[::-1], np.float32), header(at + depth_ms, depth_frame))
            frames.add_depth(change(message))
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
    # K of the sensor, which is binned, or of which a part is read: sensor_msgs/CameraInfo's own words for it.
    assert check(info=(32, 24), binning_x=2, binning_y=2).trouble() == ""
    part = RegionOfInterest(x_offset=3, y_offset=2, width=16, height=12)
    assert check(info=(32, 24), roi=part).trouble() == ""


def test_intrinsics_of_another_camera_of_the_same_size() -> None:
    """They were taken without a word, and every position was wrong."""
    sentence = check(info_frame="camera_depth").trouble()
    assert "The camera_info has frame_id 'camera_depth' and the image has 'camera'" in sentence
    assert "Remap `camera_info`" in sentence and len(check(info_frame=10_000 * "x").trouble()) < 500


def test_depth_and_intrinsics_that_cannot_be_used_are_named_before_any_command() -> None:
    assert "the camera is not calibrated" in check(k=[0.0] * 9).trouble()
    assert "distortion model is 'foo'" in check(distortion_model="foo", d=[0.1] * 5).trouble()
    assert len(check(distortion_model=10_000 * "x", d=[0.1] * 5).trouble()) < 500
    assert "align_depth.enable:=true" in check(depth_frame="camera_depth").trouble()
    assert len(check(depth_frame=10_000 * "x").trouble()) < 600
    assert "The depth image is 16x9 and the image 16x12" in check(depth=(16, 9)).trouble()
    for change, reason in (
        (as_mono8, "encoding 'mono8'; 16UC1 (mm) or 32FC1 (m)"),
        (short, "depth image is truncated"),
    ):
        sentence = check(change=change).trouble()
        assert reason in sentence and "answers have no 3-D position" in sentence


def test_compressed_depth_whose_header_or_format_is_wrong() -> None:
    for format_text in ("16UC1; compressedDepth png", "16UC1; png"):  # the second is accepted, too
        assert check(change=lambda m, text=format_text: compressed(m, text, 1.0)).trouble() == ""
    assert "format 'png'; it must be 16UC1 or 32FC1" in check(change=lambda m: compressed(m, "png", 1.0)).trouble()
    sentence = check(change=lambda m: compressed(m, "32FC1; compressedDepth png", 0.0)).trouble()
    assert "quantization parameters 0 and 0" in sentence and "answers have no 3-D position" in sentence


def compressed(message: Image, format_text: str, a: float) -> CompressedImage:
    _, file = cv2.imencode(".png", np.ones((message.height, message.width), np.uint16))
    data = struct.pack("<iff", 0, a, 0.0) + file.tobytes()
    return CompressedImage(header=message.header, format=format_text, data=array.array("B", data))


def as_mono8(message: Image) -> Image:
    message.encoding = "mono8"
    return message


def short(message: Image) -> Image:
    message.data = message.data[:-4]
    return message


def test_depth_at_a_lower_rate_than_its_images() -> None:
    assert "5 of the newest 8 images have no depth image within sync_tolerance (20 ms)" in (
        check(count=9, depth_every=3, kept_s=60.0).trouble()
    )
    assert check(count=9, depth_every=3, kept_s=60.0, tolerance_s=0.11).trouble() == ""


def test_depth_that_starts_after_the_images_is_no_trouble() -> None:
    assert check(count=9, depth_from=5, kept_s=60.0).trouble() == ""
