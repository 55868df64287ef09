# SPDX-License-Identifier: Apache-2.0
"""The node's lifecycle, managed through its services, with lisa_node as another process."""

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import camera_images
import pytest
import rclpy
from golden import read_case
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_probe import Probe, probing
from paths import PROCESSES
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.waitable import NumberOfEntities, Waitable
from ros_harness import Process, ros_context, scripted_node, started, wait_at, wait_until
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.msg import ModelInfo, Segmentation
from lisa_ros.nodes.lisa.lifecycle import NodeExecutor
from lisa_ros.nodes.lisa.node import LisaNode
from lisa_ros.nodes.lisa.parameters import NodeParameters

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Manager:
    """A lifecycle manager."""

    def __init__(self, probe: Probe) -> None:
        self._change = probe.node.create_client(ChangeState, "/managed/change_state")
        self._get = probe.node.create_client(GetState, "/managed/get_state")
        wait_until(self._get.service_is_ready, "get_state")

    def change(self, transition: int) -> bool:
        return bool(self._call(self._change, ChangeState.Request(transition=Transition(id=transition))).success)

    def begin(self, transition: int) -> Any:
        return self._change.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def state(self) -> int:
        return int(self._call(self._get, GetState.Request()).current_state.id)

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        wait_until(future.done, "the answer of a lifecycle service")
        return future.result()


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[Probe, Manager, Process]]:
    arguments = ("-r", "__node:=managed", "-p", "autostart:=false")
    with probing("managed") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process, active=False)
        yield probe, Manager(probe), process


@pytest.fixture
def managed(node: tuple[Probe, Manager, Process]) -> Iterator[tuple[Probe, Manager, Process]]:
    """The module's node, unconfigured and without dialogues and errors of an earlier test."""
    probe, manager, process = node
    yield node
    manager.change(Transition.TRANSITION_DEACTIVATE)
    manager.change(Transition.TRANSITION_CLEANUP)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    for name, value in {"checkpoint": "", "max_turns": 8}.items():
        assert probe.set_parameter(name, value).successful
    for operator in list(probe.dialogues()):
        assert probe.reset(operator).success
    assert "Traceback" not in process.output


def rejected(probe: Probe) -> str:
    answer = probe.ask("red")
    assert answer.status == Segmentation.REJECTED
    return str(answer.detail)


def test_an_active_node_answers_and_another_one_rejects_with_its_state(managed: tuple[Probe, Manager, Process]) -> None:
    probe, manager, _ = managed
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert "unconfigured" in rejected(probe)
    assert not manager.change(Transition.TRANSITION_ACTIVATE)
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert "inactive" in rejected(probe)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK
    assert manager.change(Transition.TRANSITION_DEACTIVATE)
    assert "inactive" in rejected(probe)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert probe.ask("red").status == Segmentation.NO_IMAGE, "an image from before the deactivation is not used"
    answer = probe.ask_about(camera_images.message("rgb8"), "history")
    assert answer.answer == "History: red", "the dialogue continues"


def test_the_model_can_be_changed_between_cleanup_and_configure(managed: tuple[Probe, Manager, Process]) -> None:
    probe, manager, process = managed
    infos: list[ModelInfo] = []
    listening = probe.node.create_subscription(ModelInfo, "/managed/model_info", infos.append, LATCHED)
    assert probe.set_parameter("checkpoint", "broken").successful
    assert not manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    wait_until(lambda: "the folder has no config.json" in process.output, "the reason in the log")
    assert probe.set_parameter("checkpoint", "/models/first").successful
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    refused = probe.set_parameter("checkpoint", "/models/second")
    assert not refused.successful and "clean the node up first" in refused.reason
    assert manager.change(Transition.TRANSITION_CLEANUP)
    assert "unconfigured" in rejected(probe)
    assert probe.set_parameter("checkpoint", "/models/second").successful
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    info = wait_until(lambda: next((one for one in infos if one.checkpoint == "/models/second"), None), "model_info")
    assert info.model == "scripted" and not info.demonstration and info.note == ""
    probe.node.destroy_subscription(listening)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK


def test_a_model_that_cannot_be_released_does_not_end_the_node(managed: tuple[Probe, Manager, Process]) -> None:
    probe, manager, process = managed
    assert probe.set_parameter("checkpoint", "stubborn").successful
    assert manager.change(Transition.TRANSITION_CONFIGURE) and manager.change(Transition.TRANSITION_ACTIVATE)
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK
    assert manager.change(Transition.TRANSITION_DEACTIVATE) and manager.change(Transition.TRANSITION_CLEANUP)
    wait_until(
        lambda: "The model could not be released: SystemExit: the licence server is gone" in process.output, "the log"
    )
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert probe.set_parameter("checkpoint", "/models/first").successful
    assert manager.change(Transition.TRANSITION_CONFIGURE) and manager.change(Transition.TRANSITION_ACTIVATE)
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK
    assert "Traceback" not in process.output


def test_commands_that_wait_at_a_deactivation_are_cancelled(
    managed: tuple[Probe, Manager, Process], tmp_path: Path
) -> None:
    probe, manager, _ = managed
    gate = tmp_path / "gate"
    assert manager.change(Transition.TRANSITION_CONFIGURE) and manager.change(Transition.TRANSITION_ACTIVATE)
    probe.ask_about(camera_images.message("rgb8"), "red")
    held = probe.send(f"gate {gate}", "anna")
    wait_at(gate)
    waiting = probe.send("red", "anna")
    assert manager.change(Transition.TRANSITION_DEACTIVATE)
    answer = probe.answer_to(waiting)
    assert answer.status == Segmentation.CANCELLED and "deactivated" in answer.detail
    gate.touch()
    assert probe.answer_to(held).status == Segmentation.NO_OBJECT, "a command in progress is answered"


def test_cleanup_cancels_a_command_in_progress(managed: tuple[Probe, Manager, Process], tmp_path: Path) -> None:
    probe, manager, _ = managed
    gate = tmp_path / "gate"
    assert manager.change(Transition.TRANSITION_CONFIGURE) and manager.change(Transition.TRANSITION_ACTIVATE)
    probe.ask_about(camera_images.message("rgb8"), "red")
    held = probe.send(f"gate {gate}", "anna")
    wait_at(gate)
    assert manager.change(Transition.TRANSITION_DEACTIVATE) and manager.change(Transition.TRANSITION_CLEANUP)
    assert probe.answer_to(held).status == Segmentation.CANCELLED


def test_an_invalid_transition_is_refused_without_a_traceback(managed: tuple[Probe, Manager, Process]) -> None:
    _, manager, process = managed
    for transition in (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CLEANUP, 200):
        assert not manager.change(transition)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    wait_until(lambda: "is not possible in the node's state; refused." in process.output, "the log")
    assert "Traceback" not in process.output
    assert manager.change(Transition.TRANSITION_CONFIGURE)


class DestroyedWaitable(Waitable):
    """Destroyed by another thread while the executor builds its wait set, as by deactivate."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.default_callback_group)
        self.used = 0

    def is_ready(self, wait_set: Any) -> bool:
        return False

    def get_num_entities(self) -> NumberOfEntities:
        return NumberOfEntities()

    def add_to_wait_set(self, wait_set: Any) -> None:
        self.used += 1
        if self.used == 1:
            raise InvalidHandle("cannot use Destroyable because destruction was requested")


def test_the_executor_survives_an_entity_that_is_destroyed_meanwhile() -> None:
    with ros_context() as context:
        node, executor = rclpy.create_node("restless", context=context), NodeExecutor(None, context=context)
        executor.add_node(node)
        waitable, called = DestroyedWaitable(node), threading.Event()
        node.add_waitable(waitable)
        node.create_timer(0.001, called.set)
        wait_until(lambda: executor.spin_once(timeout_sec=0.1) or called.is_set(), "a callback")
        assert waitable.used > 1
        executor.shutdown()
        node.destroy_node()


def test_the_executor_may_be_shut_down_while_it_collects_what_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the main thread, at the end: what the executor then uses is gone, and the node ended as FAILED."""
    with ros_context() as context:
        node, executor = rclpy.create_node("ending", context=context), NodeExecutor(None, context=context)
        executor.add_node(node)
        get_nodes = executor.get_nodes
        monkeypatch.setattr(executor, "get_nodes", lambda: (get_nodes(), executor.shutdown())[0])
        executor.spin()
        node.destroy_node()


def test_other_callbacks_run_while_a_model_loads(managed: tuple[Probe, Manager, Process], tmp_path: Path) -> None:
    probe, manager, _ = managed
    gate = tmp_path / "gate"
    assert probe.set_parameter("checkpoint", f"gate {gate}").successful
    configured = manager.begin(Transition.TRANSITION_CONFIGURE)
    wait_at(gate)
    assert manager.state() == State.TRANSITION_STATE_CONFIGURING
    assert "configuring" in rejected(probe)
    assert probe.dialogues() == {} and probe.set_parameter("max_turns", 5).successful
    refused = probe.set_parameter("checkpoint", "/models/other")
    assert not refused.successful and "clean the node up first" in refused.reason, "another model is being loaded"
    assert not configured.done()
    gate.touch()
    wait_until(configured.done, "the end of configure")
    assert configured.result().success


NodeHere = Callable[..., AbstractContextManager[LisaNode]]


def test_a_parameter_that_is_set_while_configure_begins_is_used_or_refused(node_here: NodeHere) -> None:
    """`configure` read the value before, and the change was accepted all the same."""
    loaded: list[NodeParameters] = []

    def load(parameters: NodeParameters) -> ScriptedSegmenter:
        loaded.append(parameters)
        return ScriptedSegmenter()

    with node_here(load) as node:
        configuring = threading.Thread(target=node.trigger_configure)

        def begin(_: list[Parameter]) -> None:  # the change was checked, and is not in use yet
            if configuring.ident is None:
                configuring.start()
                configuring.join(0.3)  # it waits for the end of the change

        node.add_post_set_parameters_callback(begin)
        assert node.set_parameters_atomically([Parameter("checkpoint", value="/models/new")]).successful
        configuring.join()
        assert [one.checkpoint for one in loaded] == ["/models/new"]
        refused = node.set_parameters_atomically([Parameter("checkpoint", value="/models/other")])
        assert not refused.successful and "clean the node up first" in refused.reason
        assert node.close()


def test_a_model_that_is_loaded_after_the_node_was_asked_to_end_ends_with_it(node_here: NodeHere) -> None:
    """Its idle threads counted as a model that hangs: the process ended without its clean-up, 3 s later."""
    begun, gate = threading.Event(), threading.Event()

    def load(_: NodeParameters) -> ScriptedSegmenter:
        begun.set()
        gate.wait()
        return ScriptedSegmenter()

    with node_here(load) as node:
        configuring = threading.Thread(target=node.trigger_configure)
        configuring.start()
        begun.wait()
        node.stop(lambda: False)
        gate.set()
        configuring.join()
        assert node.close()


def test_a_released_model_is_freed(golden_lisa: Path) -> None:
    segmenter: Any = load_segmenter(golden_lisa, LoadOptions(device="cpu"))
    case = read_case(golden_lisa, 0)
    frame = segmenter.encode(case.image)
    list(segmenter.session(frame).segment(case.command))
    weights = weakref.ref(segmenter._lisa.network)
    del frame
    segmenter.release()
    gc.collect()
    assert weights() is None


def test_cleanup_frees_the_weights_of_a_node_that_has_answered(golden_lisa: Path) -> None:
    with started([sys.executable, str(PROCESSES / "releasing_node.py"), str(golden_lisa)]) as process:
        assert process.wait() == 0, process.output
