# SPDX-License-Identifier: Apache-2.0
"""Places in metres, points and the rest that planners take, from lisa_node as a process of its own."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from depth_camera import FOCAL, FRAME_ID, DepthCamera, millimetres_message
from geometry_msgs.msg import PointStamped, PoseStamped
from node_probe import Probe, probing
from numpy.typing import NDArray
from ros_harness import scripted_node, started, wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from lisa_ros.msg import Segmentation

HEIGHT, WIDTH = 120, 160
RED_BOX, BLUE_BOX = (slice(40, 80), slice(30, 70)), (slice(30, 60), slice(100, 140))
RED_M, BLUE_M, GROUND_M = 0.5, 0.7, 1.0


class Heard:
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
        """What came on a topic with this answer."""

        def found() -> Any:
            message = self._newest.get(topic)
            header = message.markers[0].header if isinstance(message, MarkerArray) else getattr(message, "header", None)
            return message if header == answer.header else None

        return wait_until(found, f"{topic} of the answer")

    def is_silent_on(self, topic: str, answer: Segmentation) -> bool:
        """Whether nothing came on it, though the explanation, which is sent after it, did."""
        message = self._newest.get(topic)
        return message is None or message.header != answer.header


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing() as probe, started(scripted_node()) as process:
        probe.wait_for_node(process)
        yield probe


@pytest.fixture(scope="module")
def camera(probe: Probe) -> DepthCamera:
    return DepthCamera(probe)


@pytest.fixture(scope="module")
def heard(probe: Probe) -> Heard:
    return Heard(probe)


def picture() -> NDArray[np.uint8]:
    shown = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    shown[RED_BOX], shown[BLUE_BOX] = (200, 30, 20), (10, 40, 210)
    return shown


def depth() -> NDArray[np.float32]:
    measured = np.full((HEIGHT, WIDTH), GROUND_M, dtype=np.float32)
    measured[RED_BOX], measured[BLUE_BOX] = RED_M, BLUE_M
    return measured


def place_of(box: tuple[slice, slice], z: float) -> list[float]:
    """The middle of a box in the picture, in metres."""
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
def test_places_of_two_objects(camera: DepthCamera, heard: Heard, make: Any) -> None:
    how = {"make": make} if make else {}
    answer = camera.ask_about("two", located, picture=picture(), depth_m=depth(), **how)
    for found, box, z in zip(answer.objects, (RED_BOX, BLUE_BOX), (RED_M, BLUE_M), strict=True):
        assert numbers(found.pose.position) == pytest.approx(place_of(box, z), abs=1e-3)
        assert found.depth_measured == 1.0 and found.location_detail == ""
        assert found.score == -1.0
    pose, centroid = heard.of("pose", answer), heard.of("centroid", answer)
    assert pose.pose == answer.objects[0].pose
    assert centroid.point == pose.pose.position
    assert pose.header.frame_id == FRAME_ID


def test_points_alone_and_organised(probe: Probe, camera: DepthCamera, heard: Heard) -> None:
    answer = camera.ask_about("red", located, picture=picture(), depth_m=depth())
    cloud = heard.of("points", answer)
    points = xyz(cloud)
    assert cloud.height == 1 and cloud.is_dense and np.isfinite(points).all()
    assert np.allclose(points[..., 2], RED_M) and 34 * 34 <= cloud.width <= 40 * 40
    packed = np.frombuffer(cloud.data, dtype="<u4").reshape(-1, 4)[:, 3]
    assert set(packed) == {200 << 16 | 30 << 8 | 20}
    assert probe.set_parameter("points_organised", True).successful
    try:
        answer = camera.ask_about("red", located, picture=picture(), depth_m=depth())
        organised = heard.of("points", answer)
        points = xyz(organised)
        assert points.shape == (HEIGHT, WIDTH, 3) and not organised.is_dense
        there = np.isfinite(points).all(axis=2)
        assert there[60, 50] and not there[10, 10] and not there[45, 120]
    finally:
        assert probe.set_parameter("points_organised", False).successful


def test_markers_labels_and_the_frame_itself(camera: DepthCamera, heard: Heard) -> None:
    answer = camera.ask_about("two", located, picture=picture(), depth_m=depth())
    markers = heard.of("markers", answer).markers
    assert markers[0].action == Marker.DELETEALL
    assert [one.ns for one in markers[1:]] == ["box", "centroid", "label"] * 2
    assert numbers(markers[2].pose.position) == pytest.approx(place_of(RED_BOX, RED_M), abs=1e-3)
    labels = np.frombuffer(heard.of("labels", answer).data, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    assert set(np.unique(labels)) == {0, 1} and labels[RED_BOX].all() and labels[BLUE_BOX].all()
    assert labels.sum() == 40 * 40 + 30 * 40
    assert bytes(heard.of("frame/image", answer).data) == picture().tobytes()
    assert bytes(heard.of("frame/depth", answer).data) == depth().tobytes()
    assert heard.of("frame/camera_info", answer).k[0] == FOCAL


def test_nothing_found_is_an_answer_with_its_frame_and_no_place(camera: DepthCamera, heard: Heard) -> None:
    answer = camera.ask_about("nothing at all", picture=picture(), depth_m=depth())
    assert answer.status == Segmentation.NO_OBJECT
    assert len(heard.of("markers", answer).markers) == 1
    assert not any(heard.of("labels", answer).data)
    heard.of("frame/image", answer)
    assert heard.is_silent_on("pose", answer) and heard.is_silent_on("points", answer)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ({"depth_m": None}, "There is no depth image for this picture."),
        ({"depth_m": depth()[:60, :80]}, "The depth is 80x60 and the image 160x120: depth must be registered"),
        ({"depth_m": depth(), "depth_frame": "depth_optical"}, "in the frame 'depth_optical'"),
        ({"depth_m": depth(), "k": [0.0] * 9}, "The camera_info cannot be used: the camera is not calibrated"),
        ({"depth_m": np.zeros_like(depth())}, "Depth measured 0 % of the object"),
        ({"depth_m": depth(), "d": [0.1] * 3}, "plumb_bob has 4 or 5 coefficients, not 3"),
    ],
)
def test_without_a_place_it_is_said_why_and_the_mask_still_comes(
    camera: DepthCamera, heard: Heard, moment: dict[str, Any], said: str
) -> None:
    def fits(answer: Segmentation) -> bool:
        """Not yet while the intrinsics of the moment before count."""
        return bool(answer.objects) and said in answer.objects[0].location_detail

    answer = camera.ask_about("red", fits, picture=picture(), **moment)
    (found,) = answer.objects
    assert answer.status == Segmentation.OK and found.pixels == 40 * 40 and not found.located
    assert heard.is_silent_on("pose", answer) and heard.is_silent_on("centroid", answer)


def test_a_rectified_picture_goes_by_p(probe: Probe, camera: DepthCamera) -> None:
    p = [2 * FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, 0.0, 2 * FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    moment = {"picture": picture(), "depth_m": depth(), "p": p, "d": [0.3, 0.1, 0.0, 0.0, 0.0]}
    raw = camera.ask_about("red", located, **moment)
    assert probe.set_parameter("image_rectified", True).successful
    try:
        rectified = camera.ask_about("red", located, **moment)
    finally:
        assert probe.set_parameter("image_rectified", False).successful
    x, y, z = place_of(RED_BOX, RED_M)
    assert numbers(rectified.objects[0].pose.position) == pytest.approx([x / 2, y / 2, z], abs=1e-3)
    assert raw.objects[0].pose.position.x != pytest.approx(x, abs=1e-4)


def test_a_command_with_a_time_is_about_the_picture_of_that_time(probe: Probe, camera: DepthCamera) -> None:
    for name, value in (("command_frame", "nearest"), ("frame_buffer", 30.0)):
        assert probe.set_parameter(name, value).successful
    try:
        then = camera.ask_about("red", lambda answer: bool(answer.objects), picture=picture(), depth_m=depth()).header
        grey = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        now = camera.ask_about("red", lambda answer: not answer.objects, picture=grey, depth_m=depth()).header
        about_then, about_now = probe.ask("red", stamp=then.stamp), probe.ask("red")
        assert (about_then.header, about_then.status) == (then, Segmentation.OK)
        assert (about_now.header, about_now.status) == (now, Segmentation.NO_OBJECT)
    finally:
        assert probe.set_parameter("command_frame", "newest").successful


def test_a_follow_up_may_stay_with_the_dialogues_picture(probe: Probe, camera: DepthCamera) -> None:
    assert probe.set_parameter("follow_up_frame", "dialogue").successful

    def taken(shown: NDArray[np.uint8]) -> bool:
        """Whether the node has a picture that is shown now."""
        probe.reset("")
        header = camera.show(shown, depth())
        return bool(probe.ask("red").header == header)

    try:
        probe.reset("fay")
        wait_until(lambda: taken(picture()), "the first picture")
        first = probe.ask("red", "fay")
        wait_until(lambda: taken(np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)), "the second")
        second = probe.ask("two", "fay")
        assert (second.header, second.turn, second.frame_known) == (first.header, 2, True)
        assert located(second)
        probe.reset("fay")
        assert probe.ask("red", "fay").header != first.header
    finally:
        assert probe.set_parameter("follow_up_frame", "newest").successful
