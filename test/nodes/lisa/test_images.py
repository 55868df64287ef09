# SPDX-License-Identifier: Apache-2.0
"""Images in, good, malformed, old and compressed ones, with lisa_node as another process."""

import signal
import time
from pathlib import Path

import camera_images
import numpy as np
import pytest
from node_probe import Probe, pixels, probing
from rclpy.duration import Duration
from rclpy.serialization import serialize_message
from ros_harness import scripted_node, started, talking_node, wait_at, wait_until
from scripted_segmenter import bright, pixels_of
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.msg import Segmentation


def assert_masks_correct(answer: Segmentation, encoding: str) -> None:
    truth = camera_images.expected(encoding)
    is_mono = encoding in camera_images.MONO
    expected = [bright(truth)] if is_mono else [pixels_of(truth, "red"), pixels_of(truth, "blue")]
    assert answer.status == Segmentation.OK
    assert len(answer.objects) == len(expected)
    inside = camera_images.inside_blocks()
    for found, mask in zip(answer.objects, expected, strict=True):
        assert np.array_equal(pixels(found.mask)[inside], mask[inside])


@pytest.mark.parametrize(
    ("encoding", "padding"), [("rgb8", 0), ("bgra8", 10), ("mono16", 10), ("bayer_rggb8", 0), ("nv12", 10)]
)
def test_encodings(probe: Probe, encoding: str, padding: int) -> None:
    """test_conversions has all of them."""
    text = "bright" if encoding in camera_images.MONO else "two"
    assert_masks_correct(probe.ask_about(camera_images.message(encoding, padding), text), encoding)


def test_commands_about_one_image_encode_it_once(probe: Probe) -> None:
    first = probe.ask_about(camera_images.message("rgb8"), "frame?").answer
    assert probe.ask("frame?").answer == probe.ask("frame?", "jon").answer == first
    assert probe.ask_about(camera_images.message("mono8"), "frame?").answer != first


def test_images_of_a_still_scene_are_encoded_once(probe: Probe) -> None:
    first = probe.ask_about(camera_images.message("rgb8"), "frame?")
    second = probe.ask_about(camera_images.message("bgr8"), "frame?")
    assert second.answer == first.answer and second.header.stamp != first.header.stamp


def malformed() -> dict[str, Image]:
    bad = {name: camera_images.message("rgb8") for name in ("unknown", "empty", "short", "step", "huge", "none")}
    bad["unknown"].encoding = "rgb12packed"
    bad["empty"].width = bad["empty"].height = 0
    bad["short"].data = bad["short"].data[:50]
    bad["step"].step = 7
    bad["huge"].width = bad["huge"].height = bad["huge"].step = 2**32 - 1
    bad["none"] = Image()
    return bad


@pytest.mark.parametrize("name", malformed())
def test_a_malformed_image_is_answered_with_no_image_and_the_next_one_works(probe: Probe, name: str) -> None:
    answer = probe.show_until(malformed()[name], "red", lambda a: a.status == Segmentation.NO_IMAGE)
    assert "image" in answer.detail and answer.header.frame_id == ""
    assert answer.header.stamp.sec > 0
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK


def test_an_old_image_is_refused_unless_the_command_is_as_old(probe: Probe) -> None:
    assert probe.set_parameter("max_image_age", 5.0).successful
    then = (probe.node.get_clock().now() - Duration(seconds=100)).to_msg()
    answer = probe.show_until(camera_images.message("rgb8"), "red", lambda a: a.status == Segmentation.NO_IMAGE, then)
    assert "max_image_age allows 5 s" in answer.detail and "100" in answer.detail
    assert probe.ask("red", stamp=then).status == Segmentation.OK
    assert probe.set_parameter("max_image_age", 0.0).successful
    assert probe.ask("red").status == Segmentation.OK
    assert probe.set_parameter("max_image_age", 60.0).successful


def test_bytes_that_are_no_message_do_not_end_the_node(probe: Probe) -> None:
    whole = serialize_message(camera_images.message("rgb8"))
    with talking_node("broken_camera") as node:
        for topic in ("image", "depth"):
            publisher = node.create_publisher(Image, topic, 1)
            wait_until(publisher.get_subscription_count, f"the subscriber of {topic}")
            for data in (b"\0\1\0\0", whole[:10], whole[:60], whole[:4] + b"\xff" * 20):
                publisher.publish(data)
                time.sleep(0.05)
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK


def test_no_image_then_compressed_images_then_shutdown_with_waiting_commands(gate: Path) -> None:
    remapped = ("-r", "__node:=other", "-r", "image:=/robot/colour")
    parameters = ("-p", "image_transport:=compressed", "-p", "queue_size:=3")
    with probing("other", "/robot/colour") as probe, started(scripted_node(*remapped, *parameters)) as process:
        probe.wait_for_node(process)
        answer = probe.ask("red")
        assert answer.status == Segmentation.NO_IMAGE and "/robot/colour/compressed" in answer.detail
        bgr = np.ascontiguousarray(camera_images.colours()[:, :, ::-1])
        for suffix in (".jpg", ".png"):
            image = camera_images.compressed(suffix, f"rgb8; {suffix[1:]} compressed bgr8", bgr)
            assert_masks_correct(probe.ask_about(image, "two"), "rgb8")
        invalid = CompressedImage(format="jpeg", data=b"no image")
        probe.show_until(invalid, "red", lambda a: a.status == Segmentation.NO_IMAGE)
        probe.ask_about(camera_images.compressed(".png", "png", bgr), "red")

        held = probe.send(f"gate {gate}")
        wait_at(gate)
        waiting = [probe.send("red") for _ in range(3)]
        assert probe.ask("one too many").status == Segmentation.REJECTED
        process.send_signal(signal.SIGINT)
        for identity in (held, *waiting):
            assert probe.answer_to(identity).status == Segmentation.CANCELLED
        assert process.wait() == 0
        assert "Traceback" not in process.output
