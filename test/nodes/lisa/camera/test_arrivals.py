# SPDX-License-Identifier: Apache-2.0
"""Why images are missing: nobody publishes, another type is published, or they were lost on the way."""

import pytest
import rclpy
from rclpy.parameter import Parameter
from ros_harness import ros_context, talking_node, wait_until
from sensor_msgs.msg import Image

from lisa_ros.nodes.lisa.camera.arrivals import Arrivals
from lisa_ros.nodes.lisa.camera.camera_topics import CameraTopics, camera_qos
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.parameters import NodeParameters

KIND = "sensor_msgs/msg/Image"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("published", "lost", "sentence"),
    [
        ([], 0, "Nobody publishes there: start the camera, or remap `image`"),
        ([], 3, "Nobody publishes there"),
        (["sensor_msgs/msg/CompressedImage"], 0, "sends sensor_msgs/msg/CompressedImage, not sensor_msgs/msg/Image"),
        ([KIND], 0, "has 1 publisher, but no image of it arrives"),
        ([KIND, "std_msgs/msg/String"], 4, "has 2 publishers, but 4 of its images were lost on the way"),
    ],
)
def test_which_of_the_reasons_it_is(published: list[str], lost: int, sentence: str) -> None:
    arrivals = Arrivals("/image", KIND, lambda: published)
    arrivals.count_lost(lost)
    assert sentence in arrivals.missing()
    assert ("config/fastdds.xml" in arrivals.missing()) == (KIND in published)


def test_a_camera_with_another_qos_than_the_overrides_demand_is_named() -> None:
    """The advice was Fast DDS's profile, which changes nothing."""
    with talking_node("camera") as camera, ros_context() as context:
        demanded = Parameter("qos_overrides./image.subscription.reliability", value="reliable")
        node = rclpy.create_node("subscriber", context=context, parameter_overrides=[demanded])
        frames = FrameBuffer(lambda: 1, lambda: 0.0, lambda: 0.0)
        topics = CameraTopics(node, frames, NodeParameters(use_depth=False), lambda count: None)
        camera.create_publisher(Image, "/image", camera_qos(1))
        wait_until(lambda: "Nobody" not in topics.arrivals.missing(), "the camera")
        sentence = topics.arrivals.missing()
        camera.create_publisher(Image, "/image", 1)
        wait_until(lambda: "has 2 publishers" in topics.arrivals.missing(), "a camera whose QoS fits")
        topics.close()
        node.destroy_node()
    assert "qos_overrides demand (ERROR: Best effort publisher and reliable subscription)." in sentence


def test_newer_images_that_were_lost_are_named_once_the_image_is_old() -> None:
    clock = Clock()
    arrivals = Arrivals("/image", KIND, now_s=clock)
    assert arrivals.newer_lost() == ""
    arrivals.count_arrived()
    clock.now_s += 3.0
    assert arrivals.newer_lost() == ""  # the camera sends nothing
    arrivals.count_lost(2)
    arrivals.count_lost(1)
    assert "arrived 3.0 s ago; since then 3 images on /image were lost" in arrivals.newer_lost()
    arrivals.count_arrived()
    assert arrivals.newer_lost() == "" and arrivals.lost == 3


def test_losses_count_while_they_outnumber_the_arrivals() -> None:
    clock = Clock()
    arrivals = Arrivals("/image", KIND, now_s=clock)
    for _ in range(10):
        arrivals.count_arrived()
        arrivals.count_lost(1)
        clock.now_s += 0.1
    assert arrivals.trouble() == ""
    arrivals.count_lost(5)
    assert "Of 25 images on /image in 5 s, 15 were lost" in arrivals.trouble()
    clock.now_s += 6.0
    assert arrivals.trouble() == ""


def test_images_that_were_not_taken_are_counted_by_the_numbers_of_one_publisher() -> None:
    published = [KIND]
    arrivals = Arrivals("/image", KIND, lambda: published)
    assert not arrivals.numbered
    assert [arrivals.count_arrived(number) for number in (7, 8, 14)] == [1, 1, 6]
    arrivals.count_lost(4)
    assert arrivals.count_arrived(20) == 2  # 15 to 20 without the lost ones
    assert arrivals.count_arrived(3) == 1 and arrivals.numbered  # the camera was started again
    published.append(KIND)
    assert arrivals.count_arrived(1000) == 1 and not arrivals.numbered
    assert arrivals.count_arrived(None) == 1 and not arrivals.numbered  # a middleware without numbers


def test_numbers_of_two_publishers_are_not_subtracted_when_one_of_them_leaves() -> None:
    published = [KIND, KIND]
    arrivals = Arrivals("/image", KIND, lambda: published)
    assert [arrivals.count_arrived(number) for number in (1_000_000, 5, 1_000_001, 6)] == [1, 1, 1, 1]
    published.pop()
    assert [arrivals.count_arrived(number) for number in (1_000_002, 1_000_004)] == [1, 2]
