# SPDX-License-Identifier: Apache-2.0
"""The content of an answer, and the topics that are published with it, by lisa_node as another process."""

from typing import Any

import camera_images
import numpy as np
import pytest
from node_probe import Probe, pixels
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import talking_node, wait_until
from scripted_segmenter import pixels_of
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.answers import answers as answers_module
from lisa_ros.nodes.lisa.answers.answers import Answers
from lisa_ros.nodes.lisa.answers.positions import Positions
from lisa_ros.nodes.lisa.answers.transforms import Transforms
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Processed, Request
from lisa_ros.segmentation.answers import ObjectMask


def test_an_answer_has_the_header_text_masks_and_times(probe: Probe) -> None:
    image = camera_images.message("rgb8")
    answer = probe.ask_about(image, "the two parts")
    assert answer.header == image.header
    assert (answer.status, answer.detail) == (Segmentation.OK, "")
    assert (answer.operator_id, answer.text) == ("default", "the two parts")
    assert answer.answer == "The red [SEG] and the blue [SEG]."
    assert answer.explanation == "The red ① and the blue ②."
    assert [answer.answer[o.span_begin : o.span_end] for o in answer.objects] == ["[SEG]", "[SEG]"]
    red, blue = answer.objects
    assert red.mask.header == blue.mask.header == image.header
    assert (red.bbox.x_offset, red.bbox.y_offset, red.bbox.width, red.bbox.height) == (0, 0, 16, 32)
    assert (blue.bbox.x_offset, blue.pixels) == (32, 16 * 32)
    assert (red.centroid_pixel.x, red.centroid_pixel.y, red.centroid_pixel.z) == (7.5, 15.5, 0.0)
    assert 0 <= answer.first_mask_ms <= answer.total_ms and answer.queued_ms >= 0 and answer.turn > 0


def test_mask_centroid_and_explanation_are_published_with_the_header_of_the_answer(probe: Probe) -> None:
    image = camera_images.message("rgb8")
    answer = probe.ask_about(image, "two")
    union = pixels(answer.objects[0].mask) | pixels(answer.objects[1].mask)
    mask = wait_until(lambda: next((m for m in probe.masks if m.header == answer.header), None), "the mask")
    assert np.array_equal(pixels(mask), union)
    point = wait_until(lambda: next((c for c in probe.centroids if c.header == answer.header), None), "the centroid")
    # The mean lies between the two objects; the point must be the mask pixel nearest to it.
    marked = np.argwhere(union)
    distances = np.hypot(*(marked - marked.mean(axis=0)).T)
    position = [round(point.point.y), round(point.point.x)]
    assert distances[(marked == position).all(axis=1)].tolist() == [distances.min()]
    frame = probe.ask("frame?").explanation  # no other answer has this text
    wait_until(lambda: frame in [text.data for text in list(probe.explanations)], "the explanation")


def test_an_answer_without_an_object_has_an_empty_mask(probe: Probe) -> None:
    answer = probe.ask_about(camera_images.message("rgb8"), "the unicorn")
    assert answer.status == Segmentation.NO_OBJECT
    assert answer.detail and answer.answer == "There is no such object." and answer.turn > 0
    mask = wait_until(lambda: next((m for m in probe.masks if m.header == answer.header), None), "the empty mask")
    assert pixels(mask).shape == (camera_images.HEIGHT, camera_images.WIDTH) and not pixels(mask).any()
    assert not [c for c in probe.centroids if c.header == answer.header]


def test_an_object_with_an_empty_mask_is_not_reported(probe: Probe) -> None:
    answer = probe.ask_about(camera_images.message("rgb8"), "the invisible man")
    assert (answer.status, len(answer.objects), answer.answer) == (Segmentation.NO_OBJECT, 0, "It is [SEG].")


def test_mask_only_by_command_and_by_parameter(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    only = probe.ask("red", "olga", answer="mask_only")
    assert (only.status, only.answer, only.explanation, len(only.objects)) == (Segmentation.OK, "[SEG].", "", 1)
    assert probe.ask("red", "olga").answer == "The red part is [SEG]."
    assert probe.set_parameter("answer", "mask_only").successful
    assert probe.ask("red", "olga").answer == "[SEG]."
    assert probe.ask("red", "olga", answer="full").answer == "The red part is [SEG]."
    assert probe.set_parameter("answer", "full").successful
    assert not probe.set_parameter("answer", "some").successful
    refused = probe.ask("red", "olga", answer="some")
    assert refused.status == Segmentation.REJECTED and "'full', 'mask_only', or empty" in refused.detail


def test_a_late_subscriber_gets_the_newest_answer_and_mask_only(probe: Probe) -> None:
    for text in ("red", "blue", "green"):
        last = probe.ask_about(camera_images.message("rgb8"), text)
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with talking_node("late_subscriber") as node:
        answers: list[Segmentation] = []
        masks: list[Image] = []
        node.create_subscription(Segmentation, "/lisa/segmentation", answers.append, latched)
        node.create_subscription(Image, "/lisa/mask", masks.append, latched)
        wait_until(lambda: answers and masks, "the latched answer")
        assert [a.id for a in answers] == [last.id]
        assert [m.header for m in masks] == [last.header]


def test_the_mask_does_not_wait_for_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking_node("early") as node:
        answers = Answers(node, LiveParameters(node, lambda: False), Transforms(node))
        masks: list[Image] = []
        node.create_subscription(Image, "/early/mask", masks.append, answers_module.LATCHED)
        wait_until(lambda: answers._mask._publisher.get_subscription_count(), "the subscriber")
        encoded = EncodedFrame(Header(frame_id="camera"), camera_images.colours(), None, False)
        red, blue = (ObjectMask(pixels_of(encoded.image, colour), (0, 5)) for colour in ("red", "blue"))
        outcome = Outcome(Segmentation.OK, header=encoded.header, answer="[SEG]", objects=(red, blue))
        real, came_before = answers._positioner.positions, []

        def slow(*given: Any) -> Positions:
            came_before.append(wait_until(lambda: masks and masks[-1], "the mask"))
            return real(*given)

        monkeypatch.setattr(answers._positioner, "positions", slow)
        request = Request("1", "anna", "red")
        answers.register(request)
        assert answers.publish(request, outcome, Processed(outcome, encoded)) is not None
        (mask,) = came_before
        assert mask.header == encoded.header and (pixels(mask) == (red.mask | blue.mask)).all()
        # A command that has its answer already, for example because it took too long, gets no mask any more.
        assert answers.publish(request, outcome, Processed(outcome, encoded)) is None
        answers.close(10)
        assert len(masks) == 1


def test_the_newest_mask_is_that_of_the_newest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are published before their answers: another operator's can come between, or the answer not at all."""
    with talking_node("orderly") as node:
        answers = Answers(node, LiveParameters(node, lambda: False), Transforms(node))
        masks: list[Image] = []
        node.create_subscription(Image, "/orderly/mask", masks.append, answers_module.LATCHED)
        wait_until(lambda: answers._mask._publisher.get_subscription_count(), "the subscriber")
        image = camera_images.colours()
        real, meanwhile = answers._positioner.positions, []

        def busy(*given: Any) -> Positions:
            if meanwhile:
                meanwhile.pop()()
            return real(*given)

        def publish(colour: str, frame_id: str) -> Segmentation | None:
            encoded = EncodedFrame(Header(frame_id=frame_id), image, None, False)
            found = ObjectMask(pixels_of(image, colour), (0, 5))
            outcome = Outcome(Segmentation.OK, header=encoded.header, answer="[SEG]", objects=(found,))
            requests.append(Request(frame_id, frame_id, colour))
            answers.register(requests[-1])
            return answers.publish(requests[-1], outcome, Processed(outcome, encoded))

        def newest(frame_id: str, colour: str | None) -> bool:
            wanted = pixels_of(image, colour) if colour else np.zeros(image.shape[:2], dtype=np.bool_)
            return bool(masks and masks[-1].header.frame_id == frame_id and (pixels(masks[-1]) == wanted).all())

        monkeypatch.setattr(answers._positioner, "positions", busy)
        requests: list[Request] = []
        meanwhile.append(lambda: publish("blue", "ben"))
        assert publish("red", "ann") is not None
        wait_until(lambda: newest("ann", "red"), "ann's mask, because her answer is the newest")
        late = Outcome(Segmentation.FAILED, "It took too long.")
        meanwhile.append(lambda: answers.publish(requests[-1], late))
        assert publish("red", "carl") is None
        wait_until(lambda: newest("carl", None), "an empty mask, because carl's command has failed")

        def fail() -> None:
            raise RuntimeError("the positions broke")

        meanwhile.append(fail)
        with pytest.raises(RuntimeError, match="broke"):
            publish("red", "dora")
        wait_until(lambda: newest("dora", None), "an empty mask, because dora's answer cannot be made")
        answers.close(10)


def test_the_overlay_is_drawn_only_for_a_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    real = answers_module.draw_overlay

    def counted(image: np.ndarray, masks: list[np.ndarray], caption: str, labels: list[str]) -> np.ndarray:
        drawn.append(caption)
        return real(image, masks, caption, labels)

    monkeypatch.setattr(answers_module, "draw_overlay", counted)
    with talking_node("drawer") as node:
        answers = Answers(node, LiveParameters(node, lambda: False), Transforms(node))
        encoded = EncodedFrame(Header(frame_id="camera"), camera_images.colours(), None, False)
        found = ObjectMask(pixels_of(encoded.image, "red"), (0, 5))
        outcome = Outcome(Segmentation.OK, header=encoded.header, answer="[SEG]", objects=(found,))

        def publish() -> None:
            request = Request("1", "anna", "red")
            answers.register(request)
            answers.publish(request, outcome, Processed(outcome, encoded))

        publish()
        assert drawn == []
        overlays: list[Image] = []
        node.create_subscription(Image, "/drawer/overlay", overlays.append, 10)
        wait_until(
            lambda: node.count_subscribers("/drawer/overlay") and answers._overlay.get_subscription_count(),
            "the subscriber",
        )
        publish()
        overlay = wait_until(lambda: overlays and overlays[-1], "the overlay")
        assert len(drawn) == 1 and "anna: red" in drawn[0]
        assert (overlay.encoding, overlay.width, overlay.header) == ("rgb8", camera_images.WIDTH, encoded.header)
        answers.close(10)
