# SPDX-License-Identifier: Apache-2.0
"""3-D positions, points and the other topics for planners, with lisa_node as another process."""

from typing import Any

import numpy as np
import pytest
from depth_camera import FOCAL, FRAME_ID, DepthCamera, millimetres_message
from geometry_msgs.msg import PointStamped, PoseStamped
from node_probe import Probe
from numpy.typing import NDArray
from ros_harness import wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from lisa_ros.msg import Segmentation

HEIGHT, WIDTH = 120, 160
RED_BOX, BLUE_BOX = (slice(40, 80), slice(30, 70)), (slice(30, 60), slice(100, 140))
RED_M, BLUE_M, GROUND_M = 0.5, 0.7, 1.0


class PlannerTopics:
    """The newest message of each topic."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self._newest = probe, dict[str, Any]()
        for topic, kind in {
            "centroid": PointStamped,
            "pose": PoseStamped,
            "points": PointCloud2,
            "markers": MarkerArray,
            "labels": Image,
            "frame/image": Image,
            "frame/depth": Image,
            "frame/camera_info": CameraInfo,
        }.items():
            probe.node.create_subscription(kind, f"/lisa/{topic}", lambda m, topic=topic: self._keep(topic, m), 10)

    def _keep(self, topic: str, message: Any) -> None:
        self._newest[topic] = message

    def of(self, topic: str, answer: Segmentation) -> Any:
        """The message of a topic with the header of this answer."""

        def found() -> Any:
            message = self._newest.get(topic)
            header = message.markers[0].header if isinstance(message, MarkerArray) else getattr(message, "header", None)
            return message if header == answer.header else None

        return wait_until(found, f"{topic} of the answer")

    def is_silent_on(self, topic: str, answer: Segmentation) -> bool:
        """Whether the topic has no message with the header of this answer."""
        message = self._newest.get(topic)
        return message is None or message.header != answer.header


@pytest.fixture(scope="module")
def camera(probe: Probe) -> DepthCamera:
    return DepthCamera(probe)


@pytest.fixture(scope="module")
def topics(probe: Probe) -> PlannerTopics:
    return PlannerTopics(probe)


def example_image() -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    image[RED_BOX], image[BLUE_BOX] = (200, 30, 20), (10, 40, 210)
    return image


def example_depth() -> NDArray[np.float32]:
    measured = np.full((HEIGHT, WIDTH), GROUND_M, dtype=np.float32)
    measured[RED_BOX], measured[BLUE_BOX] = RED_M, BLUE_M
    return measured


def position_of(box: tuple[slice, slice], z: float) -> list[float]:
    """The centre of a box in the image, in metres."""
    u, v = (box[1].start + box[1].stop - 1) / 2, (box[0].start + box[0].stop - 1) / 2
    return [(u - (WIDTH - 1) / 2) * z / FOCAL, (v - (HEIGHT - 1) / 2) * z / FOCAL, z]


def numbers(point: Any) -> list[float]:
    return [point.x, point.y, point.z]


def xyz(cloud: PointCloud2) -> NDArray[np.float32]:
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"] and cloud.point_step == 16
    raw = np.frombuffer(cloud.data, dtype="<f4").reshape(cloud.height, cloud.width, 4)
    return raw[..., :3]


def located(answer: Segmentation) -> bool:
    return bool(answer.objects) and all(one.located for one in answer.objects)


@pytest.mark.parametrize("make", [None, millimetres_message], ids=["32FC1", "16UC1 big-endian"])
def test_positions_of_two_objects(camera: DepthCamera, topics: PlannerTopics, make: Any) -> None:
    how = {"make": make} if make else {}
    answer = camera.ask_about("two", located, image=example_image(), depth_m=example_depth(), **how)
    for found, box, z in zip(answer.objects, (RED_BOX, BLUE_BOX), (RED_M, BLUE_M), strict=True):
        assert numbers(found.pose.position) == pytest.approx(position_of(box, z), abs=1e-3)
        assert found.depth_measured == 1.0 and found.location_detail == ""
        assert found.score == -1.0
    pose, centroid = topics.of("pose", answer), topics.of("centroid", answer)
    assert pose.pose == answer.objects[0].pose
    assert centroid.point == pose.pose.position
    assert pose.header.frame_id == FRAME_ID


@pytest.mark.parametrize("info_of_depth", [False, True])
def test_depth_of_half_the_size(camera: DepthCamera, info_of_depth: bool) -> None:
    k = [FOCAL / 2, 0.0, WIDTH / 4 - 0.5, 0.0, FOCAL / 2, HEIGHT / 4 - 0.5, 0.0, 0.0, 1.0]
    info = {"info_size": (WIDTH // 2, HEIGHT // 2), "k": k} if info_of_depth else {}

    def accept(answer: Segmentation) -> bool:
        """False while the intrinsics of the previous frame are still used."""
        return located(answer) and abs(answer.objects[0].pose.position.x - x) < 0.01

    x, y, z = position_of(RED_BOX, RED_M)
    half = np.ascontiguousarray(example_depth()[::2, ::2])
    answer = camera.ask_about("red", accept, image=example_image(), depth_m=half, **info)
    assert numbers(answer.objects[0].pose.position) == pytest.approx([x, y, z], abs=RED_M / (FOCAL / 2))


def test_points_of_the_object_only_and_organised(probe: Probe, camera: DepthCamera, topics: PlannerTopics) -> None:
    answer = camera.ask_about("red", located, image=example_image(), depth_m=example_depth())
    cloud = topics.of("points", answer)
    points = xyz(cloud)
    assert cloud.height == 1 and cloud.is_dense and np.isfinite(points).all()
    assert np.allclose(points[..., 2], RED_M) and 34 * 34 <= cloud.width <= 40 * 40
    packed = np.frombuffer(cloud.data, dtype="<u4").reshape(-1, 4)[:, 3]
    assert set(packed) == {200 << 16 | 30 << 8 | 20}
    assert probe.set_parameter("points_organised", True).successful
    try:
        answer = camera.ask_about("red", located, image=example_image(), depth_m=example_depth())
        organised = topics.of("points", answer)
        points = xyz(organised)
        assert points.shape == (HEIGHT, WIDTH, 3) and not organised.is_dense
        there = np.isfinite(points).all(axis=2)
        assert there[60, 50] and not there[10, 10] and not there[45, 120]
    finally:
        assert probe.set_parameter("points_organised", False).successful


def test_markers_labels_and_the_frame(camera: DepthCamera, topics: PlannerTopics) -> None:
    answer = camera.ask_about("two", located, image=example_image(), depth_m=example_depth())
    markers = topics.of("markers", answer).markers
    assert markers[0].action == Marker.DELETEALL
    assert [one.ns for one in markers[1:]] == ["box", "centroid", "label"] * 2
    assert numbers(markers[2].pose.position) == pytest.approx(position_of(RED_BOX, RED_M), abs=1e-3)
    labels = np.frombuffer(topics.of("labels", answer).data, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    assert set(np.unique(labels)) == {0, 1} and labels[RED_BOX].all() and labels[BLUE_BOX].all()
    assert labels.sum() == 40 * 40 + 30 * 40
    assert bytes(topics.of("frame/image", answer).data) == example_image().tobytes()
    assert bytes(topics.of("frame/depth", answer).data) == example_depth().tobytes()
    assert topics.of("frame/camera_info", answer).k[0] == FOCAL


def test_an_answer_without_an_object_has_its_frame_and_no_position(camera: DepthCamera, topics: PlannerTopics) -> None:
    answer = camera.ask_about("nothing at all", image=example_image(), depth_m=example_depth())
    assert answer.status == Segmentation.NO_OBJECT
    assert len(topics.of("markers", answer).markers) == 1
    assert not any(topics.of("labels", answer).data)
    topics.of("frame/image", answer)
    assert topics.is_silent_on("pose", answer) and topics.is_silent_on("points", answer)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"depth_m": None}, "There is no depth image for this"),
        ({"depth_m": example_depth()[:60]}, "The depth is 160x60 and the image 160x120: depth must be registered"),
        (
            {"depth_m": example_depth(), "depth_frame": "depth_optical"},
            "(RealSense: align_depth.enable:=true; Orbbec: depth_registration:=true), or run depth_image_proc",
        ),
        ({"depth_m": example_depth(), "k": [0.0] * 9}, "The camera_info cannot be used: the camera is not calibrated"),
        ({"depth_m": np.zeros_like(example_depth())}, "Only 0 % of the object has depth"),
        ({"depth_m": example_depth(), "d": [0.1] * 3}, "plumb_bob has 4 or 5 coefficients, not 3"),
    ],
)
def test_without_a_position_the_reason_is_given_and_the_mask_is_published(
    camera: DepthCamera, topics: PlannerTopics, frame: dict[str, Any], reason: str
) -> None:
    def accept(answer: Segmentation) -> bool:
        """False while the intrinsics of the previous frame are still used."""
        return bool(answer.objects) and reason in answer.objects[0].location_detail

    answer = camera.ask_about("red", accept, image=example_image(), **frame)
    (found,) = answer.objects
    assert answer.status == Segmentation.OK and found.pixels == 40 * 40 and not found.located
    assert topics.is_silent_on("pose", answer) and topics.is_silent_on("centroid", answer)


def test_a_rectified_image_uses_p(probe: Probe, camera: DepthCamera) -> None:
    p = [2 * FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, 0.0, 2 * FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    frame = {"image": example_image(), "depth_m": example_depth(), "p": p, "d": [0.3, 0.1, 0.0, 0.0, 0.0]}
    raw = camera.ask_about("red", located, **frame)
    assert probe.set_parameter("image_rectified", True).successful
    try:
        rectified = camera.ask_about("red", located, **frame)
    finally:
        assert probe.set_parameter("image_rectified", False).successful
    x, y, z = position_of(RED_BOX, RED_M)
    assert numbers(rectified.objects[0].pose.position) == pytest.approx([x / 2, y / 2, z], abs=1e-3)
    assert raw.objects[0].pose.position.x != pytest.approx(x, abs=1e-4)


def test_a_command_with_a_stamp_uses_the_frame_nearest_to_it(probe: Probe, camera: DepthCamera) -> None:
    for name, value in (("command_frame", "nearest"), ("frame_buffer", 30.0)):
        assert probe.set_parameter(name, value).successful
    try:
        then = camera.ask_about(
            "red", lambda answer: bool(answer.objects), image=example_image(), depth_m=example_depth()
        ).header
        grey = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        now = camera.ask_about("red", lambda answer: not answer.objects, image=grey, depth_m=example_depth()).header
        about_then, about_now = probe.ask("red", stamp=then.stamp), probe.ask("red")
        assert (about_then.header, about_then.status) == (then, Segmentation.OK)
        assert (about_now.header, about_now.status) == (now, Segmentation.NO_OBJECT)
    finally:
        assert probe.set_parameter("command_frame", "newest").successful


def test_with_follow_up_frame_dialogue_later_commands_use_the_first_frame(probe: Probe, camera: DepthCamera) -> None:
    assert probe.set_parameter("follow_up_frame", "dialogue").successful

    def arrived(image: NDArray[np.uint8]) -> bool:
        """Publish the image; whether the node has it."""
        probe.reset("")
        header = camera.show(image, example_depth())
        return bool(probe.ask("red").header == header)

    try:
        probe.reset("fay")
        wait_until(lambda: arrived(example_image()), "the first image")
        first = probe.ask("red", "fay")
        wait_until(lambda: arrived(np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)), "the second image")
        second = probe.ask("two", "fay")
        assert (second.header, second.turn, second.frame_known) == (first.header, 2, True)
        assert located(second)
        probe.reset("fay")
        assert probe.ask("red", "fay").header != first.header
    finally:
        assert probe.set_parameter("follow_up_frame", "newest").successful
