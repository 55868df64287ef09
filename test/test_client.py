# SPDX-License-Identifier: Apache-2.0
"""LisaClient with lisa_node as another process."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import camera_images
import numpy as np
import pytest
import rclpy
from node_probe import Probe, probing
from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from ros_harness import private_domain, scripted_node, started, talking_node, wait_at, wait_until
from scripted_segmenter import pixels_of

from lisa_ros import client as client_module
from lisa_ros.action import Segment
from lisa_ros.client import LisaClient, Status
from lisa_ros.msg import ObjectMask, Segmentation

pytestmark = pytest.mark.ros

KILLED_S = 15.0
"""By config/fastdds.xml, others notice after 4 s that a process was killed; by Fast DDS's own settings after 20 s."""


@pytest.fixture(scope="module")
def probe(scripted_probe: Probe) -> Iterator[Probe]:
    scripted_probe.ask_about(camera_images.message("rgb8"), "red")
    assert scripted_probe.set_parameter("max_image_age", 0.0).successful
    yield scripted_probe
    assert scripted_probe.set_parameter("max_image_age", 60.0).successful


@pytest.fixture
def client() -> Iterator[LisaClient]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=private_domain())
    with LisaClient("/lisa", context=context) as client:
        yield client
    rclpy.shutdown(context=context)


def finish(client: LisaClient) -> None:
    wait_until(client.is_complete, "the answer")


def test_nothing_is_kept_of_commands_that_were_rejected(probe: Probe, client: LisaClient) -> None:
    """rclpy keeps a feedback callback until a result comes; a planner may repeat a rejected command for days."""
    assert not any(client.segment(" ") for _ in range(3))
    assert client.result().status is Status.REJECTED
    assert len(client._action._feedback_callbacks) <= 1


def test_what_a_planner_wants_of_the_answer(probe: Probe, client: LisaClient) -> None:
    truth = pixels_of(camera_images.expected("rgb8"), "red")

    def shown() -> bool:
        """Feedback is a topic: it may come after the result, or before the node knows of the subscription."""
        assert client.segment("the red mug", operator="client_b", dialogue="none", masks="rle", feedback_masks=False)
        finish(client)
        client._spin_until(lambda: client.feedback().objects, 1.0)
        return bool(client.feedback().objects)

    wait_until(shown, "feedback")
    (found,) = client.result().objects
    assert found.mask is not None and (found.mask == truth).all()
    assert found.name == "red mug" and client.result().segmentation.turn == 0
    assert client.feedback().objects[0].mask is None
    assert not found.score_calibrated and found.score is None
    assert client.segment(
        "the red mug 0.25 calibrated", masks="none", frame="base_link", grip="centroid", split_objects="never"
    )
    finish(client)
    (found,) = client.result().objects
    assert found.mask is None and found.bbox[2] > 0
    assert (found.score, found.score_calibrated) == (0.25, True)
    assert client.result().frame == "base_link" and found.pose is None and found.grip is None
    assert client.segment("the red mug 0.25", masks="none")
    finish(client)
    (found,) = client.result().objects
    assert (found.score, found.score_calibrated) == (0.25, False)
    with pytest.raises(ValueError, match="'image', 'rle', 'none'"):
        client.segment("red", masks="png")  # type: ignore[arg-type]
    assert not client.segment("red", grip="magnet") and "grip" in client.result().message


def test_a_command_and_its_masks(probe: Probe, client: LisaClient) -> None:
    assert client.segment("two", operator="client_a")
    finish(client)
    result = client.result()
    assert (result.status, result.message, result.explanation) == (Status.OK, "", "The red ① and the blue ②.")
    red, blue = result.objects
    assert np.array_equal(red.mask, pixels_of(camera_images.colours(), "red"))
    assert np.array_equal(blue.mask, pixels_of(camera_images.colours(), "blue"))
    assert red.centroid_pixel == (7.5, 15.5) and red.bbox == (0, 0, 16, 32)
    assert result.segmentation is not None and result.segmentation.turn == 1
    assert all(any(np.array_equal(f.mask, o.mask) for o in result.objects) for f in client.feedback().objects)


def test_one_client_sends_several_commands(probe: Probe, client: LisaClient) -> None:
    for text, status in (("red", Status.OK), ("unicorn", Status.NO_OBJECT), ("crash", Status.FAILED)):
        assert client.segment(text, operator="client_b")
        finish(client)
        assert client.result().status is status
    assert "the model broke" in client.result().message


def test_a_rejected_command_has_a_reason(probe: Probe, client: LisaClient) -> None:
    assert not client.segment(" ")
    assert client.is_complete()
    assert client.result().status is Status.REJECTED and "empty" in client.result().message


def test_a_command_can_be_cancelled_and_no_other_sent_meanwhile(
    probe: Probe, client: LisaClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    assert client.segment(f"gate {gate}", operator="client_c")
    wait_at(gate)
    assert not client.is_complete(0.0) and client.result().status is Status.UNFINISHED
    with pytest.raises(RuntimeError, match="cancel"):
        client.segment("red")
    assert client.cancel()
    assert client.result().status is Status.CANCELLED
    assert not client.cancel(), "there is nothing left to cancel"
    assert client.segment("history", operator="client_c")
    finish(client)
    assert client.result().explanation == "History:"


def test_without_a_node_the_status_is_no_node_and_a_closed_client_leaves_nothing() -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=private_domain())
    with LisaClient("/nobody", context=context) as client:
        assert not client.segment("red", timeout_s=0.2)
        assert client.result().status is Status.NO_NODE and "/nobody/segment" in client.result().message
        name = client._node.get_name()
        observer = rclpy.create_node("observer", context=context)
        wait_until(lambda: name in observer.get_node_names(), "the client's node")
    wait_until(lambda: name not in observer.get_node_names(), "the end of the client's node")
    observer.destroy_node()
    rclpy.shutdown(context=context)


def test_a_renamed_planner_shares_neither_its_name_nor_its_parameters_with_the_client() -> None:
    """`-r __node:=` is of all nodes of a process: two had one name, and both answered `ros2 param get`."""
    context = rclpy.Context()
    arguments = ["planner", "--ros-args", "-r", "__node:=planner", "-r", "__ns:=/robot"]
    rclpy.init(args=arguments, context=context, domain_id=private_domain())
    with LisaClient(context=context) as client:
        planner = rclpy.create_node("any", context=context)
        names = planner.get_node_names_and_namespaces()
        services = client._node.get_service_names_and_types_by_node(client._node.get_name(), "/robot")
        planner.destroy_node()
    rclpy.shutdown(context=context)
    assert names.count(("planner", "/robot")) == 1 and any(name.startswith("lisa_client_") for name, _ in names)
    assert not [name for name, _ in services if "parameter" in name]


def test_a_killed_node_ends_the_wait(tmp_path: Path) -> None:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=private_domain())
    gate = tmp_path / "gate"
    with probing("mortal") as probe, started(scripted_node("-r", "__node:=mortal")) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        with LisaClient("/mortal", context=context) as client:
            assert client.segment(f"gate {gate}")
            wait_at(gate)
            process.send_signal(signal.SIGKILL)
            wait_until(client.is_complete, "the end of the wait", deadline_s=KILLED_S)
            assert (client.result().status, client.result().message) == (
                Status.NO_NODE,
                "The node ended before it answered.",
            )
            assert not client.segment("red", timeout_s=0.1)
    rclpy.shutdown(context=context)


class Silent:
    """An action server that accepts every goal and ends none."""

    def __init__(self, node: Node) -> None:
        self.goals: dict[str, ServerGoalHandle] = {}
        self._answers = node.create_publisher(Segmentation, "/silent/segmentation", 1)
        self._server = ActionServer(
            node,
            Segment,
            "/silent/segment",
            lambda goal: Segment.Result(),
            handle_accepted_callback=lambda goal: self.goals.update({goal.request.command.text: goal}),
        )

    def show(self, text: str) -> None:
        """Feedback to the command with this text: an object of this name."""
        wait_until(lambda: text in self.goals, "the end of rclpy's acceptance")
        self.goals[text].publish_feedback(Segment.Feedback(answer=text, found=[ObjectMask(name=text)]))


@contextmanager
def silent_server(name: str) -> Iterator[Silent]:
    with talking_node(name) as node:
        server = Silent(node)
        yield server
        server._server.destroy()


@contextmanager
def client_of(lisa: str) -> Iterator[LisaClient]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=private_domain())
    with LisaClient(lisa, context=context) as client:
        yield client
    rclpy.shutdown(context=context)


def test_feedback_of_a_command_that_was_given_up_is_not_that_of_the_next() -> None:
    with silent_server("giving_up") as server, client_of("/silent") as client:
        assert client.segment("the old one")
        assert not client.cancel(timeout_s=0.1)
        assert client.segment("the new one")

        def shown() -> bool:
            """The first feedback may come before the server knows of the subscription."""
            server.show("the old one")
            server.show("the new one")
            return client.is_complete(0.3) or bool(client.feedback().objects)

        wait_until(shown, "feedback")
        client.is_complete(0.3)
        assert {found.name for found in client.feedback().objects} == {"the new one"}
        assert client.feedback().answer == "the new one"


def test_a_node_that_was_started_anew_at_once_ends_the_wait() -> None:
    with client_of("/silent") as client, ExitStack() as second:
        count = lambda: client._node.count_publishers("/silent/segmentation")  # noqa: E731
        with silent_server("first"):
            wait_until(lambda: count() == 1, "the topic by which the node is known again")
            assert client.segment("red")
            second.enter_context(silent_server("second"))
            wait_until(lambda: not client.is_complete() and count() == 2, "the second node")
        wait_until(client.is_complete, "the end of the wait")
        assert client.result().status is Status.NO_NODE and "ended before" in client.result().message
        assert client.segment("red"), "the new node takes commands"


def test_a_topic_that_is_discovered_after_its_action_ends_the_wait_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of("/silent") as client, ExitStack() as second:
        with silent_server("first"):
            with monkeypatch.context() as undiscovered:
                undiscovered.setattr(client_module.endpoints, "publishers_of", lambda node, topic: frozenset())
                assert client.segment("red")
            wait_until(lambda: not client.is_complete() and bool(client._processes), "the topic")
            second.enter_context(silent_server("second"))
        wait_until(client.is_complete, "the end of the wait")
        assert client.result().message == "The node ended before it answered."


def test_before_the_first_command_there_is_no_result() -> None:
    with client_of("/silent") as client:
        assert client.is_complete() and not client.cancel()
        assert (client.result().status, client.result().message) == (Status.UNFINISHED, "No command was sent yet.")


def test_a_closed_client_waits_for_nothing() -> None:
    with silent_server("closing"), client_of("/silent") as client:
        assert client.segment("red")
        ends = threading.Thread(target=lambda: (time.sleep(0.5), client.close()))  # type: ignore[func-returns-value]
        ends.start()
        began_s = time.monotonic()
        assert client.is_complete(20.0) and time.monotonic() - began_s < 10.0
        ends.join()
        assert client.is_complete() and not client.cancel() and not client.wait_until_ready()
        assert client.result().status is Status.UNFINISHED and "closed before" in client.result().message
        with pytest.raises(RuntimeError, match="closed"):
            client.segment("red")
        client.close()


def test_a_command_is_cancelled_while_another_thread_waits(probe: Probe, client: LisaClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    assert client.segment(f"gate {gate}", operator="client_t")
    wait_at(gate)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(client.is_complete, 20.0) for _ in range(2)]
        assert client.cancel()
        assert all(one.result() for one in waiting)
    assert client.result().status is Status.CANCELLED


def test_a_goal_that_the_node_does_not_know_is_no_answer() -> None:
    """rclpy sends an empty result for it, whose status is OK: the node was started anew with the same name."""
    with client_of("/silent") as client:
        client._result_future = MagicMock()
        client._result_future.result.return_value = Segment.Impl.GetResultService.Response()
        assert client.result().status is Status.NO_NODE and "does not know the command" in client.result().message


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"text": None}, TypeError),
        ({"text": 5}, TypeError),
        ({"operator": None}, TypeError),
        ({"frame": 1}, TypeError),
        ({"references": ["1"]}, TypeError),
        ({"stamp": 12.5}, TypeError),
        ({"references": [-1]}, ValueError),
        ({"text": "red \ud800"}, ValueError),
    ],
)
def test_arguments_that_rclpy_would_abort_the_process_for(
    client: LisaClient, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.segment(**({"text": "red"} | arguments))  # type: ignore[arg-type]
