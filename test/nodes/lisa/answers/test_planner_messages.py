# SPDX-License-Identifier: Apache-2.0
"""What planners get, from a plain subscriber in another process: standard messages, frames, masks, separate objects."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from depth_camera import FOCAL, DepthCamera
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped, PoseStamped
from node_probe import Probe, pixels, probing
from numpy.typing import NDArray
from paths import PROCESSES
from pycocotools import mask as coco
from ros_harness import started, wait_until
from scripted_segmenter import pixels_of
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from lisa_ros.msg import Command, Segmentation

HEIGHT, WIDTH = 120, 160
GROUND_M = 1.0
LEFT, MIDDLE, RIGHT = slice(20, 50), slice(50, 90), slice(90, 120)
ROWS = slice(40, 80)
HAS_VISION_MSGS = importlib.util.find_spec("vision_msgs") is not None


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    command = [sys.executable, str(PROCESSES / "scripted_tf_node.py"), "--ros-args", "-p", "dialogue_file:=''"]
    with probing("planned") as probe, started([*command, "-r", "__node:=planned"]) as process:
        probe.wait_for_node(process)
        yield probe


@pytest.fixture(scope="module")
def camera(probe: Probe) -> DepthCamera:
    return DepthCamera(probe)


class Topics:
    """The newest message of each topic."""

    def __init__(self, probe: Probe, kinds: dict[str, Any]) -> None:
        self._newest = dict[str, Any]()
        for topic, kind in kinds.items():
            probe.node.create_subscription(
                kind, f"/planned/{topic}", lambda m, t=topic: self._newest.update({t: m}), 10
            )
            wait_until(lambda t=topic: probe.node.count_publishers(f"/planned/{t}"), topic)

    def of(self, topic: str, answer: Segmentation, accept: Callable[[Any], bool] = lambda message: True) -> Any:
        """The newest message about the answer's frame that is accepted: several answers may be about one frame."""

        def found() -> Any:
            message = self._newest.get(topic)
            same = message is not None and message.header.stamp == answer.header.stamp
            return message if same and accept(message) else None

        return wait_until(found, topic)


@pytest.fixture(scope="module")
def topics(probe: Probe) -> Topics:
    kinds: dict[str, Any] = {"instances": Image, "centroid": PointStamped, "pose": PoseStamped, "points": PointCloud2}
    kinds["grip_point"] = PoseStamped
    if HAS_VISION_MSGS:
        from vision_msgs.msg import Detection2DArray, Detection3DArray

        kinds |= {"detections_2d": Detection2DArray, "detections": Detection3DArray}
    return Topics(probe, kinds)


def scene(*red: slice, blue_m: float = 0.0) -> dict[str, NDArray[Any]]:
    """Red boxes of 0.8 m distance on the ground and, if blue_m is above 0, a blue one between them."""
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    depth_m = np.full((HEIGHT, WIDTH), GROUND_M, dtype=np.float32)
    for columns in red:
        image[ROWS, columns], depth_m[ROWS, columns] = (200, 30, 20), 0.8
    if blue_m:
        image[ROWS, MIDDLE], depth_m[ROWS, MIDDLE] = (10, 40, 210), blue_m
    return {"image": image, "depth_m": depth_m}


def ask(
    probe: Probe, camera: DepthCamera, frame: dict[str, NDArray[Any]], text: str, *operator: str, **fields: Any
) -> Segmentation:
    """The answer to a command about a frame; fields are of the Command."""
    shown = camera.ask_about("red", lambda answer: answer.objects and answer.objects[0].located, **frame)
    answer = probe.ask(text, *operator, **fields)
    assert answer.header == shown.header
    return answer


def test_objects_as_standard_messages_with_names_and_numbers(probe: Probe, camera: DepthCamera, topics: Topics) -> None:
    answer = ask(probe, camera, scene(LEFT, blue_m=0.7), "Can you find two cups on the table?", "ann")
    red, blue = answer.objects
    assert (red.name, blue.name, red.phrase) == ("cups", "cups", "")
    numbers = topics.of("instances", answer, lambda message: set(np.unique(numbers_of(message))) == {0, 1, 2})
    assert (numbers.encoding, numbers.is_bigendian, numbers.step) == ("mono16", 0, 2 * WIDTH)
    values = numbers_of(numbers)
    assert ((values == 1) == pixels(red.mask)).all() and ((values == 2) == pixels(blue.mask)).all()
    if HAS_VISION_MSGS:
        check_detections(answer, topics)
    else:
        assert "vision_msgs is not installed" in diagnosed(probe)["standard messages"]


def numbers_of(message: Image) -> NDArray[np.uint16]:
    return np.frombuffer(message.data, dtype="<u2").reshape(HEIGHT, WIDTH)


def in_base_link(message: Any) -> bool:
    return bool(message.header.frame_id == "base_link")


def check_detections(answer: Segmentation, topics: Topics) -> None:
    flat, solid = (topics.of(t, answer, lambda m: len(m.detections) == 2) for t in ("detections_2d", "detections"))
    assert flat.header == answer.header
    for number, (found, in_pixels, in_metres) in enumerate(
        zip(answer.objects, flat.detections, solid.detections, strict=True), start=1
    ):
        assert in_pixels.id == in_metres.id == f"{answer.id}/{number}"
        assert (in_pixels.results[0].hypothesis.class_id, in_pixels.results[0].hypothesis.score) == ("cups", 1.0)
        box = in_pixels.bbox
        assert (box.size_x, box.size_y) == (found.bbox.width, found.bbox.height)
        assert box.center.position.x == found.bbox.x_offset + found.bbox.width / 2
        assert in_metres.bbox.size == found.box_size and in_metres.bbox.center.position == found.box_centre
        assert in_metres.results[0].pose.pose == found.pose


def diagnosed(probe: Probe) -> dict[str, str]:
    """The values of the node's newest diagnostics."""
    messages: list[DiagnosticArray] = []
    subscription = probe.node.create_subscription(DiagnosticArray, "/diagnostics", messages.append, 10)
    wait_until(lambda: any(m.status[0].name.startswith("planned") for m in list(messages)), "diagnostics")
    probe.node.destroy_subscription(subscription)
    newest = next(m.status[0] for m in reversed(messages) if m.status[0].name.startswith("planned"))
    assert newest.level == b"\x00"
    return {value.key: value.value for value in newest.values}


def test_an_answer_without_objects_empties_the_standard_messages(
    probe: Probe, camera: DepthCamera, topics: Topics
) -> None:
    answer = ask(probe, camera, scene(LEFT), "the unicorn")
    topics.of("instances", answer, lambda message: not numbers_of(message).any())
    if HAS_VISION_MSGS:
        topics.of("detections_2d", answer, lambda message: not message.detections)


def test_masks_as_images_as_run_lengths_or_not_at_all(probe: Probe, camera: DepthCamera) -> None:
    frame = scene(LEFT)
    truth = pixels_of(frame["image"], "red")
    answer = ask(probe, camera, frame, "red", outputs=Command.OUTPUT_RUN_LENGTH_MASKS)
    (found,) = answer.objects
    runs = found.run_length_mask
    decoded = coco.decode({"size": [runs.height, runs.width], "counts": runs.counts})
    assert (decoded == truth).all() and not found.mask.data and found.pixels == truth.sum()
    (found,) = probe.ask("red", outputs=Command.OUTPUT_NO_MASKS).objects
    assert not found.mask.data and not found.run_length_mask.counts and found.located
    goal = probe.send_goal("red", outputs=Command.OUTPUT_NO_FEEDBACK_MASKS)
    (found,) = goal.result()[1].objects
    assert (pixels(found.mask) == truth).all()
    (early,) = wait_until(lambda: [one for part in goal.feedback for one in part.found], "the object in the feedback")
    assert not early.mask.data and early.bbox == found.bbox and early.name == "red"


def test_an_independent_command_neither_sees_nor_leaves_a_turn(probe: Probe, camera: DepthCamera) -> None:
    ask(probe, camera, scene(LEFT), "red", "dora")
    alone = probe.ask("history", "dora", dialogue="none")
    assert (alone.answer, alone.turn) == ("History: ", 0)
    assert probe.ask("history", "dora", dialogue="continue").answer == "History: red"
    assert "nobody_else" not in probe.dialogues()
    probe.ask("red", "nobody_else", dialogue="none")
    assert "nobody_else" not in probe.dialogues()


REFUSED = {
    "dialogue": ({"dialogue": "perhaps"}, "'continue', 'none'"),
    "references without dialogue": ({"dialogue": "none", "references": [1]}, "no earlier turn"),
    "outputs": ({"outputs": 64}, "at most 7"),
    "split_objects": ({"split_objects": "always"}, "'auto', 'never'"),
    "grip": ({"grip": "magnet"}, "'top_plane'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_command_with_an_unknown_option_is_rejected_with_the_known_ones(probe: Probe, case: str) -> None:
    fields, reason = REFUSED[case]
    answer = probe.ask("red", **fields)
    assert answer.status == Segmentation.REJECTED and reason in answer.detail


def test_separate_objects_under_one_mask_become_objects(probe: Probe, camera: DepthCamera, topics: Topics) -> None:
    both = ask(probe, camera, scene(RIGHT, LEFT), "all the red mugs")
    assert both.explanation == "The red part is ① ②."
    assert [one.bbox.x_offset for one in both.objects] == [LEFT.start, RIGHT.start]
    assert all(one.located and one.name == "red mugs" for one in both.objects)
    topics.of("instances", both, lambda message: len(np.unique(numbers_of(message))) == 3)
    (whole,) = probe.ask("all the red mugs", split_objects="never").objects
    assert whole.pixels == sum(one.pixels for one in both.objects)
    hidden = ask(probe, camera, scene(LEFT, RIGHT, blue_m=0.5), "the red thing behind the blue one")
    assert len(hidden.objects) == 1, "something nearer hides the middle of one thing"


def test_positions_in_the_planners_frame(probe: Probe, camera: DepthCamera, topics: Topics) -> None:
    here = ask(probe, camera, scene(LEFT), "red")
    assert here.position_frame == here.header.frame_id == "camera_optical"
    answer = probe.ask("red", target_frame="base_link")
    (found,), (seen,) = answer.objects, here.objects
    assert answer.position_frame == "base_link" and answer.header.frame_id == "camera_optical"
    point, camera_point = found.pose.position, seen.pose.position
    # The camera faces straight down from 1 m: see scripted_tf_node.
    expected = (0.2 - camera_point.y, -0.1 - camera_point.x, 1.0 - camera_point.z)
    assert np.allclose((point.x, point.y, point.z), expected, atol=1e-6)
    for name, place in (("centroid", "point"), ("pose", "pose")):
        message = topics.of(name, answer, in_base_link)
        value = message.point if place == "point" else message.pose.position
        assert np.allclose((value.x, value.y, value.z), expected, atol=1e-6)
    cloud = topics.of("points", answer, in_base_link)
    z = np.frombuffer(cloud.data, dtype="<f4").reshape(-1, 4)[:, 2]
    assert np.allclose(z, 0.2, atol=1e-3)
    grip = topics.of("grip_point", answer, in_base_link).pose
    assert grip == found.grip.pose and found.grip.found
    assert abs(grip.position.z - 0.2) < 2e-3
    if HAS_VISION_MSGS:
        topics.of("detections", answer, in_base_link)
        assert topics.of("detections_2d", answer).header.frame_id == "camera_optical"


def test_labels_stand_above_the_boxes_in_the_image_and_in_the_planners_frame(probe: Probe, camera: DepthCamera) -> None:
    """In a frame with z up, labels stood beside the boxes."""
    received: list[MarkerArray] = []
    probe.node.create_subscription(MarkerArray, "/planned/markers", received.append, 10)
    wait_until(lambda: probe.node.count_publishers("/planned/markers"), "the markers")
    ask(probe, camera, scene(LEFT), "red")
    for frame, along, sign in (("camera_optical", "y", -1), ("base_link", "z", 1)):
        answer = probe.ask("red", target_frame=frame)
        (found,) = answer.objects
        of_answer = Header(stamp=answer.header.stamp, frame_id=frame)
        markers = wait_until(
            lambda header=of_answer: next((one for one in received if one.markers[1].header == header), None),
            "the markers of the answer",
        )
        box, label = markers.markers[1].pose.position, markers.markers[3]
        assert label.header.frame_id == frame and label.text == "red"
        away = {axis: getattr(label.pose.position, axis) - getattr(box, axis) for axis in "xyz"}
        assert away.pop(along) * sign > 0.02 and list(away.values()) == pytest.approx([0.0, 0.0], abs=1e-9)
        assert box == found.box_centre


def test_an_unknown_frame_leaves_no_position_and_says_why(probe: Probe, camera: DepthCamera) -> None:
    ask(probe, camera, scene(LEFT), "red")
    assert probe.set_parameter("transform_timeout", 0.05).successful
    assert probe.set_parameter("target_frame", "moon").successful
    answer = probe.ask("red")
    assert probe.set_parameter("target_frame", "").successful
    (found,) = answer.objects
    assert answer.status == Segmentation.OK and not found.located and not found.grip.found
    assert "no transform from 'camera_optical' to 'moon'" in found.location_detail
    assert "0.05 s (transform_timeout)" in found.location_detail and "does not exist" in found.location_detail


def test_a_grip_by_each_strategy(probe: Probe, camera: DepthCamera) -> None:
    frame = scene(LEFT)
    ask(probe, camera, frame, "red")
    for strategy in ("centroid", "top_plane"):
        (found,) = probe.ask("red", grip=strategy).objects
        point = found.grip.pose.position
        assert (found.grip.strategy, found.grip.found) == (strategy, True)
        u, v = FOCAL * point.x / point.z + (WIDTH - 1) / 2, FOCAL * point.y / point.z + (HEIGHT - 1) / 2
        assert pixels(found.mask)[round(v), round(u)] and abs(point.z - 0.8) < 2e-3
    (found,) = probe.ask("red", grip="antipodal").objects
    assert not found.grip.found and "it opens 80 mm at most" in found.grip.detail
    assert probe.set_parameter("gripper_opening", 0.2).successful
    (found,) = probe.ask("red", grip="antipodal").objects
    assert found.grip.found and found.grip.opening == pytest.approx(30 * 0.8 / FOCAL + 0.01, abs=0.02)
    assert probe.ask("red", grip="none").objects[0].grip.strategy == ""
