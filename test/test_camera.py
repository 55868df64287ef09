# SPDX-License-Identifier: Apache-2.0
"""How old a picture is, by its stamp or its arrival, and which pictures need a look of their own."""

import array

import numpy as np
import pictures
import pytest
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import Image

from lisa_ros.nodes.camera import Camera, NoPictureError, Seen
from lisa_ros.nodes.conversions import picture_from

SECOND = 1_000_000_000
ARRIVAL_S = 1000


def stamped(seconds: int) -> Image:
    message = pictures.message("rgb8")
    message.header.stamp.sec = seconds
    return message


def look(message: Image | None, reference_s: float, max_age_s: float = 5.0) -> Seen:
    """The picture came at ARRIVAL_S."""
    camera = Camera("/image", lambda: ARRIVAL_S * SECOND)
    if message is not None:
        camera.take(message)
    return camera.look(ScriptedSegmenter(), int(reference_s * SECOND), max_age_s, 0.0)


def test_without_a_picture_the_topic_is_named() -> None:
    with pytest.raises(NoPictureError, match="No picture has come on /image yet"):
        look(None, ARRIVAL_S)


def test_a_stamp_counts_and_not_the_arrival() -> None:
    assert look(stamped(500), 504).header.stamp.sec == 500
    with pytest.raises(NoPictureError, match=r"500\.0 s before the command; max_image_age allows 5 s"):
        look(stamped(500), ARRIVAL_S)


def test_without_a_stamp_the_arrival_counts_and_the_header_stays() -> None:
    seen = look(stamped(0), ARRIVAL_S + 4)
    assert seen.header == stamped(0).header
    with pytest.raises(NoPictureError, match=r"6\.0 s before the command"):
        look(stamped(0), ARRIVAL_S + 6)


def test_a_stamp_in_the_future_is_not_too_old() -> None:
    assert look(stamped(ARRIVAL_S + 3600), ARRIVAL_S).header.stamp.sec == ARRIVAL_S + 3600


def test_any_age_will_do_with_0() -> None:
    assert look(stamped(1), ARRIVAL_S, 0.0).header.stamp.sec == 1


def changed(seconds: int, levels: int, pixels: int = pictures.HEIGHT) -> Image:
    """The picture with its upper left `pixels` x `pixels` brighter."""
    message = stamped(seconds)
    shown = pictures.colours()
    shown[:pixels, :pixels] += levels
    message.data = array.array("B", shown.tobytes())
    return message


def looks(messages: list[Image], limit: float) -> int:
    """How often a camera that got these messages was looked at."""
    camera, segmenter = Camera("/image", lambda: 0), ScriptedSegmenter()
    for message in messages:
        camera.take(message)
        seen = camera.look(segmenter, SECOND, 0.0, limit)
        assert camera.look(segmenter, 2 * SECOND, 0.0, limit) is seen
        assert seen.header.stamp == message.header.stamp
        assert np.array_equal(seen.picture, picture_from(message))
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
    camera, segmenter = Camera("/image", lambda: 0), ScriptedSegmenter()
    camera.take(stamped(1))
    with monkeypatch.context() as patched:
        patched.setattr(ScriptedSegmenter, "look", None)
        with pytest.raises(TypeError):
            camera.look(segmenter, SECOND, 0.0, 6.0)
    assert camera.look(segmenter, SECOND, 0.0, 6.0).frame.number == 1
