# SPDX-License-Identifier: Apache-2.0
"""The age of an image, by its stamp or its arrival, and which images need to be encoded."""

import array
import dataclasses
import gc
import weakref

import camera_images
import cv2
import numpy as np
import pytest
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.nodes.lisa.camera.camera import NEAREST, Camera, Choice, NoImageError
from lisa_ros.nodes.lisa.camera.frames import MIN_FRAMES, EncodedFrame, FrameBuffer

SECOND = 1_000_000_000
ARRIVAL_S = 1000


def stamped(seconds: int) -> Image:
    message = camera_images.message("rgb8")
    message.header.stamp.sec = seconds
    return message


def camera_at(now_s: float) -> Camera:
    """A camera without images, with a constant clock."""
    now_ns = lambda: int(now_s * SECOND)  # noqa: E731
    return Camera("/image", FrameBuffer(now_ns, lambda: 0.0, lambda: 0.02), now_ns)


def camera_with(message: Image) -> Camera:
    camera = camera_at(ARRIVAL_S)
    camera.frames.add_image(message)
    return camera


def encode(message: Image | None, reference_s: float, max_age_s: float = 5.0) -> EncodedFrame:
    """Encode the image, which arrived at ARRIVAL_S."""
    camera = camera_at(ARRIVAL_S)
    if message is not None:
        camera.frames.add_image(message)
    frame = camera.choose(Choice(int(reference_s * SECOND), max_age_s=max_age_s))
    return camera.encode(ScriptedSegmenter(), frame, 0.0)


def test_an_encoded_frame_is_freed_as_soon_as_newer_ones_take_its_place() -> None:
    """A cycle kept its encoding, on a GPU tens of megabytes, until the garbage collector came."""
    camera = camera_with(stamped(1))
    gc.disable()
    try:
        camera.encode(ScriptedSegmenter(), camera.choose(Choice()), 0.0)
        known = camera.encode(ScriptedSegmenter(), camera.choose(Choice()), 0.0)
        alive = weakref.ref(camera.frames.newest())
        assert known.known and known.source is alive()
        del known
        for seconds in range(2, 3 + MIN_FRAMES):
            camera.frames.add_image(stamped(seconds))
        assert alive() is None
    finally:
        gc.enable()


def test_without_an_image_the_topic_is_named() -> None:
    with pytest.raises(NoImageError, match="No image has arrived on /image yet"):
        encode(None, ARRIVAL_S)


def test_the_stamp_is_used_and_not_the_arrival() -> None:
    assert encode(stamped(500), 504).header.stamp.sec == 500
    with pytest.raises(NoImageError, match=r"500\.0 s older than the command; max_image_age allows 5 s"):
        encode(stamped(500), ARRIVAL_S)


def test_without_a_stamp_the_arrival_is_used_and_the_header_is_unchanged() -> None:
    encoded = encode(stamped(0), ARRIVAL_S + 4)
    assert encoded.header == stamped(0).header
    with pytest.raises(NoImageError, match=r"6\.0 s older than the command"):
        encode(stamped(0), ARRIVAL_S + 6)


def test_a_stamp_in_the_future_is_not_too_old() -> None:
    assert encode(stamped(ARRIVAL_S + 3600), ARRIVAL_S).header.stamp.sec == ARRIVAL_S + 3600


@pytest.mark.parametrize("stamp_s", [-5, 5, 200])
def test_the_nodes_clock_decides_about_an_image_that_is_much_newer_than_the_command(stamp_s: int) -> None:
    """A sender whose clock is slow got answers about an image of a camera that was dead for hours."""
    with pytest.raises(NoImageError, match=r"700\.0 s older than the (command|node's clock)"):
        encode(stamped(300), stamp_s)
    assert encode(stamped(ARRIVAL_S - 1), stamp_s).header.stamp.sec == ARRIVAL_S - 1


def test_an_image_of_another_clock_names_use_sim_time() -> None:
    with pytest.raises(NoImageError, match=r"stamped 27\.0 s and the command 200000\.0 s: .* set use_sim_time"):
        encode(stamped(27), 200_000)
    camera = camera_at(200_000)
    camera.frames.add_image(stamped(27))
    assert "use_sim_time" in camera.trouble(5.0)
    assert "use_sim_time" not in message_of_refusal(500, 700)


def message_of_refusal(image_s: int, command_s: int) -> str:
    with pytest.raises(NoImageError) as raised:
        encode(stamped(image_s), command_s)
    return str(raised.value)


def test_images_of_a_machine_whose_clock_differs() -> None:
    late, early = camera_at(ARRIVAL_S + 3600), camera_at(ARRIVAL_S - 3600)
    for camera in (late, early):
        camera.arrivals.count_arrived()
        camera.frames.add_image(stamped(ARRIVAL_S))
        assert "synchronise them (chrony)" in camera.trouble(5.0)
    assert "3600.0 s old" in late.trouble(5.0) and "3600.0 s in the future" in early.trouble(5.0)
    assert "3600.0 s in the future" in early.trouble(0.0), "also where any age is allowed"
    assert camera_with(stamped(ARRIVAL_S)).trouble(0.0) == ""
    with pytest.raises(NoImageError, match=r"3600\.0 s older .* It arrived [0-4]\.\d s ago with this stamp"):
        late.choose(Choice(max_age_s=5.0))
    assert early.choose(Choice(max_age_s=5.0)) is early.frames.newest()


def test_an_image_that_cannot_be_decoded_is_named_before_any_command() -> None:
    camera = camera_at(ARRIVAL_S)
    camera.frames.add_image(stamped(ARRIVAL_S))
    assert camera.trouble(5.0) == ""
    wrong = stamped(ARRIVAL_S)
    wrong.encoding = "yuv420"
    camera.frames.add_image(wrong)
    assert "The images on /image cannot be used. The image has encoding 'yuv420'; supported" in camera.trouble(5.0)
    camera.frames.add_image(CompressedImage(header=wrong.header, format="jpeg", data=array.array("B", b"GIF89a")))
    assert "a GIF file; it must be JPEG or PNG" in camera.trouble(5.0)
    jpeg = cv2.imencode(".jpg", camera_images.colours())[1].tobytes()
    for data, reason in ((jpeg[:-2], "a truncated JPEG file: it has no end"), (jpeg, "")):
        camera.frames.add_image(CompressedImage(header=wrong.header, format="jpeg", data=array.array("B", data)))
        assert reason in camera.trouble(5.0) and bool(reason) == bool(camera.trouble(5.0))


@pytest.mark.parametrize("big_endian", [False, True])
def test_the_values_of_a_sensor_of_12_bits_are_named_before_any_command(big_endian: bool) -> None:
    """They are scaled by 255/65535, as cv_bridge and image_view do: nearly black."""
    camera, values = camera_at(ARRIVAL_S), np.full((4, 6), 3000, ">u2" if big_endian else "<u2")
    for largest, said in ((4095, "largest value is 4095 of 65535"), (4096, ""), (65535, "")):
        values[1, 2] = largest
        image = stamped(ARRIVAL_S)
        image.encoding, image.is_bigendian, image.height, image.width, image.step = "mono16", big_endian, 4, 6, 12
        image.data = array.array("B", values.tobytes())
        camera.frames.add_image(image)
        assert said in camera.trouble(5.0) and bool(said) == bool(camera.trouble(5.0))


def test_0_allows_any_age() -> None:
    assert encode(stamped(1), ARRIVAL_S, 0.0).header.stamp.sec == 1


def changed(seconds: int, levels: int, pixels: int = camera_images.HEIGHT) -> Image:
    """The image with its upper left `pixels` x `pixels` brighter."""
    message = stamped(seconds)
    image = camera_images.colours()
    image[:pixels, :pixels] += levels
    message.data = array.array("B", image.tobytes())
    return message


def encodings(messages: list[Image], limit: float) -> int:
    """How many of these messages were encoded."""
    camera, segmenter = camera_at(1), ScriptedSegmenter()
    for message in messages:
        camera.frames.add_image(message)
        before = segmenter.encoded
        frame = camera.choose(Choice())
        encoded = camera.encode(segmenter, frame, limit)
        assert encoded.known == (segmenter.encoded == before)
        assert camera.encode(segmenter, frame, limit) == dataclasses.replace(encoded, known=True)
        assert encoded.header.stamp == message.header.stamp
        assert np.array_equal(encoded.image, rgb_image_from(message))
    return segmenter.encoded


def test_an_image_is_encoded_once() -> None:
    assert encodings([stamped(1), changed(2, 40)], 0.0) == 2


def test_a_still_scene_is_encoded_once() -> None:
    assert encodings([stamped(1), changed(2, 3), stamped(3), changed(4, 6)], 6.0) == 1


def test_a_change_is_encoded() -> None:
    assert encodings([stamped(1), changed(2, 7), changed(3, 7)], 6.0) == 2
    assert encodings([stamped(1), changed(2, 30, pixels=4)], 6.0) == 2


def test_a_slow_change_adds_up() -> None:
    assert encodings([changed(seconds, 2 * seconds) for seconds in range(1, 9)], 6.0) == 2


def test_with_0_only_identical_images_are_the_same() -> None:
    assert encodings([stamped(1), stamped(2), changed(3, 1, pixels=1)], 0.0) == 2


def test_an_image_of_another_size_is_encoded() -> None:
    smaller = stamped(2)
    smaller.height = camera_images.HEIGHT // 2
    smaller.data = smaller.data[: smaller.height * smaller.step]
    assert encodings([stamped(1), smaller], 255.0) == 2


def test_an_image_whose_encoding_failed_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, segmenter = camera_at(1), ScriptedSegmenter()
    camera.frames.add_image(stamped(1))
    frame = camera.choose(Choice())
    with monkeypatch.context() as patched:
        patched.setattr(ScriptedSegmenter, "encode", None)
        with pytest.raises(TypeError):
            camera.encode(segmenter, frame, 6.0)
    assert camera.encode(segmenter, frame, 6.0).encoded.number == 1


def test_the_frame_nearest_to_the_command() -> None:
    camera = camera_at(ARRIVAL_S)
    camera.frames._kept_s = lambda: 60.0
    for seconds in (500, 502, 504, 506, 508):
        camera.frames.add_image(stamped(seconds))
    choice = Choice(int(503.2 * SECOND), command_frame=NEAREST, max_age_s=5.0)
    assert camera.choose(choice).image.header.stamp.sec == 504
    assert camera.choose(dataclasses.replace(choice, stamp_ns=0, max_age_s=0.0)).image.header.stamp.sec == 508
    with pytest.raises(NoImageError, match=r"nearest image on /image is 12\.0 s older than the command"):
        camera.choose(dataclasses.replace(choice, stamp_ns=520 * SECOND))
    with pytest.raises(NoImageError, match=r"10\.0 s newer than the command.*frame_buffer"):
        camera.choose(dataclasses.replace(choice, stamp_ns=490 * SECOND))


def test_a_reserved_frame_is_kept_longer_than_the_buffer_keeps_it() -> None:
    camera = camera_at(ARRIVAL_S)
    camera.frames.add_image(stamped(500))
    choice = Choice(500 * SECOND, camera.frames.nearest(500 * SECOND), NEAREST, 5.0)
    for seconds in range(600, 610):
        camera.frames.add_image(stamped(seconds))
    assert camera.frames.nearest(0).image.header.stamp.sec == 607  # type: ignore[union-attr]
    assert camera.choose(choice).image.header.stamp.sec == 500
