# SPDX-License-Identifier: Apache-2.0
"""A camera, an operator and a planner for tests: sends images and commands to a node and keeps its answers."""

import array
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile
from ros_harness import Process, talking_node, wait_until
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.speech.commanding import GoalClient
from lisa_ros.srv import ListDialogues, ResetDialogue

STARTED_S = 240.0
"""A start takes three seconds of processor time; on a machine that others use, a process may get them very slowly."""
_DEEP = QoSProfile(history=HistoryPolicy.KEEP_ALL)


class Probe:
    """Communicates with one node, given by its name and by the topic of its camera."""

    def __init__(self, node: Node, name: str = "lisa", image_topic: str = "image") -> None:
        self.node = node
        self.answers: list[Segmentation] = []
        self.masks: list[Image] = []
        self.explanations: list[String] = []
        self.centroids: list[PointStamped] = []
        self._numbers = count(1)
        self._image = node.create_publisher(Image, image_topic, 1)
        self._compressed = node.create_publisher(CompressedImage, f"{image_topic}/compressed", 1)
        self._command = node.create_publisher(Command, f"/{name}/command", _DEEP)
        self._text = node.create_publisher(String, f"/{name}/command_text", _DEEP)
        node.create_subscription(Segmentation, f"/{name}/segmentation", self.answers.append, _DEEP)
        node.create_subscription(Image, f"/{name}/mask", self.masks.append, _DEEP)
        node.create_subscription(String, f"/{name}/explanation", self.explanations.append, _DEEP)
        node.create_subscription(PointStamped, f"/{name}/centroid_pixel", self.centroids.append, _DEEP)
        self._reset = node.create_client(ResetDialogue, f"/{name}/reset_dialogue")
        self._segment = GoalClient(node, f"/{name}/segment")
        self._list = node.create_client(ListDialogues, f"/{name}/list_dialogues")
        self._set = node.create_client(SetParameters, f"/{name}/set_parameters")
        self._name = name

    def wait_for_node(self, process: Process, *, active: bool = True) -> None:
        """Wait until all topics are connected. A node that is not active does not subscribe to its camera."""
        wait_until(lambda: not process.alive or self._command.get_subscription_count(), "the node", STARTED_S)
        assert process.alive, "the node has ended"
        wait_until(lambda: self._command.get_subscription_count() and self._text.get_subscription_count(), "the node")
        cameras = (self._image, self._compressed)
        wait_until(lambda: not active or sum(topic.get_subscription_count() for topic in cameras), "its camera")
        for topic in ("segmentation", "mask", "explanation", "centroid_pixel"):
            wait_until(lambda topic=topic: self.node.count_publishers(f"/{self._name}/{topic}"), topic)
        for client in (self._reset, self._list, self._set):
            wait_until(client.service_is_ready, client.srv_name)
        wait_until(self._is_known, "the node's knowledge of the probe")

    def _is_known(self) -> bool:
        """Whether the node knows the probe's subscriptions, so that no answer is published before.

        It hears of endpoints in the order in which they were made: of this client's after all subscriptions, and it
        sends a response only to a client that it knows.
        """
        future = self._list.call_async(ListDialogues.Request())
        for _ in range(200):
            if future.done():
                return True
            time.sleep(0.005)
        self._list.remove_pending_request(future)
        return False

    def close(self) -> None:
        """Destroy what the node does not destroy itself.

        An action client that is left keeps its participant. Participants are found by the first 32 ids of a domain:
        after 32 probes in one process, a node that is started anew would not be found.
        """
        self._segment.destroy()

    def send(self, text: str, operator: str = "", **fields: Any) -> str:
        """Publish a command; return its id."""
        identity = f"{operator or 'nobody'}-{next(self._numbers)}"
        self._command.publish(Command(**{"id": identity, "operator_id": operator, "text": text, **fields}))
        return identity

    def publish(self, command: Command) -> None:
        self._command.publish(command)

    def send_goal_async(self, command: Command) -> Any:
        return self._segment.send_goal_async(Segment.Goal(command=command))

    def set_parameter_async(self, name: str, value: Any) -> Any:
        return self._set.call_async(SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()]))

    def wait_for_arrival(self) -> None:
        """Wait until the node's process has received every command."""
        wait_until(lambda: self._command.wait_for_all_acked(Duration(seconds=0)), "the arrival of the commands")

    def send_text(self, text: str) -> None:
        self._text.publish(String(data=text))

    def answer_to(self, identity: str) -> Segmentation:
        def found() -> Segmentation | None:
            return next((answer for answer in list(self.answers) if answer.id == identity), None)

        return wait_until(found, f"the answer to {identity}")

    def ask(self, text: str, operator: str = "", **fields: Any) -> Segmentation:
        return self.answer_to(self.send(text, operator, **fields))

    def stamp_now(self) -> Any:
        return self.node.get_clock().now().to_msg()

    def show(self, image: Image | CompressedImage) -> None:
        (self._image if isinstance(image, Image) else self._compressed).publish(image)

    def show_until(
        self, image: Image | CompressedImage, text: str, accept: Callable[[Segmentation], bool], stamp: Any = None
    ) -> Segmentation:
        """Publish an image and send a command until the answer is accepted: cameras are best effort."""

        def answer() -> Segmentation | None:
            image.header.frame_id = "camera_optical"
            image.header.stamp = stamp or self.stamp_now()
            self.show(image)
            given = self.ask(text)
            return given if accept(given) else None

        return wait_until(answer, f"an accepted answer to {text!r}")

    def show_until_object(self, show: Callable[[], Any], text: str, accept: Callable[[Any], bool]) -> Any:
        """Show an image and send a command until an answer has one object, which is accepted."""

        def found() -> Any:
            show()
            objects = self.ask(text).objects
            return objects[0] if len(objects) == 1 and accept(objects[0]) else None

        return wait_until(found, f"an accepted object of {text!r}")

    def camera_subscriptions(self) -> int:
        """Subscribers of the camera's raw images."""
        return int(self._image.get_subscription_count())

    def ask_about(self, image: Image | CompressedImage, text: str) -> Segmentation:
        """The answer about this image."""
        return self.show_until(image, text, lambda answer: answer.header.stamp == image.header.stamp)

    def reset(self, operator: str) -> ResetDialogue.Response:
        future = self._reset.call_async(ResetDialogue.Request(operator_id=operator))
        wait_until(future.done, "reset_dialogue")
        return future.result()

    def send_goal(self, text: str, operator: str = "", **fields: Any) -> "Goal":
        return Goal(self._segment, Command(text=text, operator_id=operator, **fields))

    @property
    def has_node(self) -> bool:
        """Whether the node is there, as far as the probe knows."""
        return bool(self._list.service_is_ready())

    def dialogues(self) -> dict[str, Any]:
        future = self._list.call_async(ListDialogues.Request())
        wait_until(future.done, "list_dialogues")
        return {one.operator_id: one for one in future.result().dialogues}

    def set_parameter(self, name: str, value: Any) -> Any:
        future = self.set_parameter_async(name, value)
        wait_until(future.done, "set_parameters")
        return future.result().results[0]


class Goal:
    """A command sent as an action goal, and its feedback."""

    def __init__(self, client: ActionClient, command: Command) -> None:
        wait_until(client.server_is_ready, "the action server")
        self.feedback: list[Segment.Feedback] = []
        sent = client.send_goal_async(
            Segment.Goal(command=command), feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        wait_until(sent.done, "the goal's acceptance")
        self._handle = sent.result()
        self.accepted = self._handle.accepted
        self._result = self._handle.get_result_async() if self.accepted else None

    def result(self) -> tuple[int, Segmentation]:
        assert self._result is not None
        wait_until(self._result.done, "the goal's result")
        response = self._result.result()
        return response.status, response.result.segmentation

    def cancel(self) -> int:
        cancelled = self._handle.cancel_goal_async()
        wait_until(cancelled.done, "the cancel's acceptance")
        return len(cancelled.result().goals_canceling)


@contextmanager
def probing(name: str = "lisa", image_topic: str = "image") -> Iterator[Probe]:
    with talking_node(f"probe_of_{name.replace('/', '_')}") as node:
        probe = Probe(node, name, image_topic)
        try:
            yield probe
        finally:
            probe.close()


def pixels(message: Image) -> NDArray[np.bool_]:
    """A mask message as booleans; fails unless it is a mono8 image of 0 and 255 without padding."""
    assert message.encoding == "mono8" and message.step == message.width
    assert isinstance(message.data, array.array)
    values = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width)
    assert set(np.unique(values)) <= {0, 255}
    return values > 0
