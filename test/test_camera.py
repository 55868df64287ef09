# SPDX-License-Identifier: Apache-2.0
"""How old a picture is: by its stamp, or by its arrival where it has none."""

import pictures
import pytest
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import Image

from lisa_ros.nodes.camera import Camera, NoPictureError, Seen

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
    return camera.look(ScriptedSegmenter(), int(reference_s * SECOND), max_age_s)


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


def test_a_picture_is_looked_at_once() -> None:
    camera, segmenter = Camera("/image", lambda: 0), ScriptedSegmenter()
    for message in (stamped(1), stamped(2)):
        camera.take(message)
        assert camera.look(segmenter, SECOND, 5.0) is camera.look(segmenter, 2 * SECOND, 5.0)
    assert segmenter.looks == 2
