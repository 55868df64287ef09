# SPDX-License-Identifier: Apache-2.0
"""How old a picture is, by its stamp or its arrival, and which pictures need a look of their own."""

import array
import dataclasses

import numpy as np
import pictures
import pytest
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import Image

from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.nodes.lisa.camera.camera import NEAREST, Camera, Choice, NoImageError
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame, FrameBuffer

SECOND = 1_000_000_000
ARRIVAL_S = 1000


def stamped(seconds: int) -> Image:
    message = pictures.message("rgb8")
    message.header.stamp.sec = seconds
    return message


def camera_at(now_s: float) -> Camera:
    """A camera without pictures, whose clock stands still."""
    now_ns = lambda: int(now_s * SECOND)  # noqa: E731
    return Camera("/image", FrameBuffer(now_ns, lambda: 0.0, lambda: 0.02), now_ns)


def encode(message: Image | None, reference_s: float, max_age_s: float = 5.0) -> EncodedFrame:
    """The picture came at ARRIVAL_S."""
    camera = camera_at(ARRIVAL_S)
    if message is not None:
        camera.frames.take_image(message)
    frame = camera.choose(Choice(int(reference_s * SECOND), max_age_s=max_age_s))
    return camera.encode(ScriptedSegmenter(), frame, 0.0)


def test_without_a_picture_the_topic_is_named() -> None:
    with pytest.raises(NoImageError, match="No picture has come on /image yet"):
        encode(None, ARRIVAL_S)


def test_a_stamp_counts_and_not_the_arrival() -> None:
    assert encode(stamped(500), 504).header.stamp.sec == 500
    with pytest.raises(NoImageError, match=r"500\.0 s before the command; max_image_age allows 5 s"):
        encode(stamped(500), ARRIVAL_S)


def test_without_a_stamp_the_arrival_counts_and_the_header_stays() -> None:
    encoded = encode(stamped(0), ARRIVAL_S + 4)
    assert encoded.header == stamped(0).header
    with pytest.raises(NoImageError, match=r"6\.0 s before the command"):
        encode(stamped(0), ARRIVAL_S + 6)


def test_a_stamp_in_the_future_is_not_too_old() -> None:
    assert encode(stamped(ARRIVAL_S + 3600), ARRIVAL_S).header.stamp.sec == ARRIVAL_S + 3600


def test_any_age_will_do_with_0() -> None:
    assert encode(stamped(1), ARRIVAL_S, 0.0).header.stamp.sec == 1


def changed(seconds: int, levels: int, pixels: int = pictures.HEIGHT) -> Image:
    """The picture with its upper left `pixels` x `pixels` brighter."""
    message = stamped(seconds)
    shown = pictures.colours()
    shown[:pixels, :pixels] += levels
    message.data = array.array("B", shown.tobytes())
    return message


def looks(messages: list[Image], limit: float) -> int:
    """How often a camera that got these messages was looked at."""
    camera, segmenter = camera_at(1), ScriptedSegmenter()
    for message in messages:
        camera.frames.take_image(message)
        looked = segmenter.looks
        frame = camera.choose(Choice())
        encoded = camera.encode(segmenter, frame, limit)
        assert encoded.known == (segmenter.looks == looked)
        assert camera.encode(segmenter, frame, limit) == dataclasses.replace(encoded, known=True)
        assert encoded.header.stamp == message.header.stamp
        assert np.array_equal(encoded.picture, rgb_image_from(message))
    return segmenter.looks


def test_a_picture_is_looked_at_once() -> None:
    assert looks([stamped(1), changed(2, 40)], 0.0) == 2


def test_while_the_scene_is_still_it_is_looked_at_once() -> None:
    assert looks([stamped(1), changed(2, 3), stamped(3), changed(4, 6)], 6.0) == 1


def test_a_change_is_looked_at() -> None:
    assert looks([stamped(1), changed(2, 7), changed(3, 7)], 6.0) == 2
    assert looks([stamped(1), changed(2, 30, pixels=4)], 6.0) == 2


def test_a_slow_change_adds_up() -> None:
    assert looks([changed(seconds, 2 * seconds) for seconds in range(1, 9)], 6.0) == 2


def test_only_an_identical_picture_is_the_same_with_0() -> None:
    assert looks([stamped(1), stamped(2), changed(3, 1, pixels=1)], 0.0) == 2


def test_a_picture_of_another_size_is_looked_at() -> None:
    smaller = stamped(2)
    smaller.height = pictures.HEIGHT // 2
    smaller.data = smaller.data[: smaller.height * smaller.step]
    assert looks([stamped(1), smaller], 255.0) == 2


def test_what_could_not_be_looked_at_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, segmenter = camera_at(1), ScriptedSegmenter()
    camera.frames.take_image(stamped(1))
    frame = camera.choose(Choice())
    with monkeypatch.context() as patched:
        patched.setattr(ScriptedSegmenter, "encode", None)
        with pytest.raises(TypeError):
            camera.encode(segmenter, frame, 6.0)
    assert camera.encode(segmenter, frame, 6.0).frame.number == 1


def test_nearest_to_the_command() -> None:
    camera = camera_at(ARRIVAL_S)
    camera.frames._kept_s = lambda: 60.0
    for seconds in (500, 502, 504, 506, 508):
        camera.frames.take_image(stamped(seconds))
    wanted = Choice(int(503.2 * SECOND), command_frame=NEAREST, max_age_s=5.0)
    assert camera.choose(wanted).image.header.stamp.sec == 504
    assert camera.choose(dataclasses.replace(wanted, stamp_ns=0, max_age_s=0.0)).image.header.stamp.sec == 508
    with pytest.raises(NoImageError, match=r"nearest picture on /image is from 12\.0 s before the command"):
        camera.choose(dataclasses.replace(wanted, stamp_ns=520 * SECOND))
    with pytest.raises(NoImageError, match=r"from 10\.0 s after the command.*frame_buffer"):
        camera.choose(dataclasses.replace(wanted, stamp_ns=490 * SECOND))


def test_a_picture_that_was_set_aside_outlasts_the_buffer() -> None:
    camera = camera_at(ARRIVAL_S)
    camera.frames.take_image(stamped(500))
    wanted = Choice(500 * SECOND, camera.frames.nearest(500 * SECOND), NEAREST, 5.0)
    for seconds in range(600, 610):
        camera.frames.take_image(stamped(seconds))
    assert camera.frames.nearest(0).image.header.stamp.sec == 607  # type: ignore[union-attr]
    assert camera.choose(wanted).image.header.stamp.sec == 500
