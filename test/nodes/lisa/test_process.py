# SPDX-License-Identifier: Apache-2.0
"""Start and end of lisa_node's process, and two nodes in two namespaces."""

import json
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import camera_images
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_probe import Probe, probing
from rclpy.duration import Duration
from ros_harness import ros_context, scripted_node, started, talking_node, wait_at, wait_until
from std_msgs.msg import String

from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.lisa.commands.arrived import take_arrived
from lisa_ros.nodes.lisa.commands.command_topics import COMMAND_QOS
from lisa_ros.nodes.lisa.process import MAX_END_S

SOON_S = 5 * MAX_END_S
"""MAX_END_S on a machine that does nothing else; what is stuck here never ends by itself."""

EACH_OF = """
import json, sys
from lisa_ros.nodes.lisa.node import main
from scripted_node import load
for arguments in json.loads(sys.argv[1]):
    print("next", flush=True)
    ended = main(["lisa_node", "--ros-args", "-p", "dialogue_file:=''", *arguments], load=load)
    print("ended with", ended, flush=True)
"""


def test_commands_that_have_arrived_before_a_sigint_are_answered() -> None:
    with probing("ended") as probe, started(scripted_node("-r", "__node:=ended")) as process:
        probe.wait_for_node(process)
        probe.ask("red")
        before = len(probe.answers)
        sent = [probe.send("red") for _ in range(300)]
        probe.wait_for_arrival()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        wait_until(lambda: len(probe.answers) - before >= len(sent), "an answer to every command")
        assert Counter(a.id for a in probe.answers[before:]) == Counter(sent)
        assert "Traceback" not in process.output


def test_commands_that_wait_in_the_middleware_are_taken_without_an_executor() -> None:
    """When the node ends on a busy machine, its executor has not taken all of them."""
    with ros_context() as context, talking_node("sender") as sender:
        node = rclpy.create_node("receiver", context=context)
        received: list[str] = []
        node.create_subscription(Command, "/waiting/command", lambda message: received.append(message.id), COMMAND_QOS)
        node.create_subscription(String, "/waiting/text", lambda message: received.append(message.data), COMMAND_QOS)
        commands = sender.create_publisher(Command, "/waiting/command", COMMAND_QOS)
        texts = sender.create_publisher(String, "/waiting/text", COMMAND_QOS)
        wait_until(lambda: commands.get_subscription_count() and texts.get_subscription_count(), "the subscribers")
        for number in range(100):
            commands.publish(Command(id=str(number)))
        texts.publish(String(data="last"))
        arrived = lambda: all(one.wait_for_all_acked(Duration(seconds=0)) for one in (commands, texts))  # noqa: E731
        wait_until(arrived, "the arrival")
        assert take_arrived(node) == 101
        assert received == [*map(str, range(100)), "last"]
        assert take_arrived(node) == 0
        node.destroy_node()


def test_commands_that_arrive_while_the_model_loads_wait_for_it_and_for_the_first_image(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    states: list[str] = []

    def diagnosed(message: DiagnosticArray) -> None:
        states.extend(value.value for status in message.status for value in status.values if value.key == "state")

    with probing("early") as probe:
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", diagnosed, 100)
        arguments = ("-r", "__node:=early", "-p", f"checkpoint:=gate {gate}", "-p", "queue_size:=2")
        with started(scripted_node(*arguments)) as process:
            wait_at(gate)
            probe.wait_for_node(process, active=False)
            sent = [probe.send("red") for _ in range(2)]
            assert "configuring" in probe.ask("one too many").detail
            image = camera_images.message("rgb8")
            wait_until(lambda: states.count("configuring") > 2, "three times 'configuring' in diagnostics")
            camera = probe.node.create_timer(0.2, lambda: probe.show(image))  # without a stamp: as old as its arrival
            gate.touch()
            assert [probe.answer_to(one).status for one in sent] == [Segmentation.OK] * 2
            probe.node.destroy_timer(camera)
            wait_until(lambda: "active" in states, "'active' in diagnostics")


def test_sigterm_ends_a_node_whose_model_is_stuck_while_it_loads(tmp_path: Path) -> None:
    assert MAX_END_S < 10.0
    gate = tmp_path / "gate"
    with started(scripted_node("-p", f"checkpoint:=gate {gate}")) as process:
        wait_at(gate)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0


def test_sigterm_ends_a_node_that_a_lifecycle_manager_is_configuring(tmp_path: Path) -> None:
    """Python's own end would wait for the thread that loads the model, or crash with it."""
    gate = tmp_path / "gate"
    arguments = ("-r", "__node:=managed", "-p", "autostart:=false", "-p", f"checkpoint:=gate {gate}")
    with probing("managed") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process, active=False)
        client = probe.node.create_client(ChangeState, "/managed/change_state")
        wait_until(client.service_is_ready, "change_state")
        client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
        wait_at(gate)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0
        assert "A thread of the model still runs; the process ends without it." in process.output
        assert "Traceback" not in process.output


def test_nodes_in_two_namespaces_are_separate_and_end_on_sigterm() -> None:
    with ExitStack() as stack:
        probes: list[Probe] = []
        processes = []
        for side in ("left", "right"):
            probe = stack.enter_context(probing(f"{side}/lisa", f"/{side}/image"))
            process = stack.enter_context(started(scripted_node("-r", f"__ns:=/{side}")))
            probe.wait_for_node(process)
            probes.append(probe)
            processes.append(process)
        left, right = probes
        left.ask_about(camera_images.message("rgb8"), "red")
        assert right.ask("history").status == Segmentation.NO_IMAGE
        right.ask_about(camera_images.message("rgb8"), "blue")
        assert "red" in left.ask("history").answer and "blue" not in left.ask("history").answer
        assert "blue" in right.ask("history").answer and "red" not in right.ask("history").answer
        # Texts from outside are in the log, but cannot add lines to it and are shortened.
        left.ask("red", "eve\nadmin: all is well")
        left.ask("blue" + "e" * 400)
        wait_until(lambda: r"'eve\nadmin: all is well': 'red' -> " in processes[0].output, "the log")
        wait_until(lambda: f"'default': 'blue{'e' * 60}' -> " in processes[0].output, "the log")
        for process in processes:
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "Traceback" not in process.output


def test_a_checkpoint_that_cannot_be_loaded_ends_the_node_with_one_sentence() -> None:
    with started(scripted_node("-p", "checkpoint:=broken")) as process:
        assert process.wait() == 1
        assert "Could not load the checkpoint broken: ValueError: the folder has no config.json" in process.output
        assert "Traceback" not in process.output


def test_an_invalid_parameter_ends_the_node_with_one_sentence() -> None:
    """One process runs `main` with each of them: its imports take the time."""
    parameters = {
        "quantization:=2bit": "quantization is '2bit'; it must be one of auto, none, 8bit, 4bit",
        "queue_size:=0": "queue_size must be a whole number from 1 to 1000",
        "max_image_age:=old": "max_image_age must be a number with a decimal point",
        "operators:=a/b": "an operator with topics of their own needs an id of letters",
        "dialogue_file:=/proc/a.sqlite": "Parameter dialogue_file: Dialogues cannot be kept in /proc/a.sqlite",
        "dialogue_file:=/dev/null/a.sqlite": "Parameter dialogue_file: Dialogues cannot be kept in /dev/null/a.sqlite",
        "qos_overrides./lisa/points.publisher.reliability:=sometimes": "is 'sometimes'; it must be one of ",
        "use_sim_time:=1": "Trying to set parameter 'use_sim_time' to '1'",
        "x": "check the arguments after --ros-args",
    }
    wrong = {("-p", setting): reason for setting, reason in parameters.items()} | {
        ("--nonsense",): "check the arguments after --ros-args",
        ("--params-file", "/no/such/file"): "check the arguments after --ros-args",
    }
    with started([sys.executable, "-c", EACH_OF, json.dumps(list(wrong))]) as process:
        assert process.wait() == 0
    outputs = process.output.split("next\n")[1:]
    for (arguments, reason), output in zip(wrong.items(), outputs, strict=True):
        assert reason in output and arguments[-1].split(":=")[0] in output
        assert output.endswith("ended with 1\n") and "Traceback" not in output
