# SPDX-License-Identifier: Apache-2.0
"""Signals to a node's process: it ends, whenever they come."""

import subprocess
import sys

import pytest
from ros_harness import private_environment

from lisa_ros.nodes.common.starting import MAX_END_S, Stop

IN_THE_WAIT = """
import signal, sys
{program}
waits = (("Condition.wait", "wait", "run"), ("Stop.wait", "run", "main"), ("Stop.wait", "run_node", "main"))

def begins(frame, event, _):
    if event == "call" and frame.f_back is not None and frame.f_back.f_back is not None:
        callers = frame.f_back.f_code.co_name, frame.f_back.f_back.f_code.co_name
        return (frame.f_code.co_qualname, *callers) in waits

def waits_on_a_lock(frame, event, called):
    # In threading.Event or queue.Queue, whose lock is held then, or the C function that is used in their place.
    if event == "c_call":
        return frame.f_code.co_qualname == "Stop.wait" and called.__name__ == "get"
    callers = [one.f_code.co_qualname for one in (frame.f_back, frame.f_back and frame.f_back.f_back) if one]
    return event == "call" and frame.f_code.co_qualname == "Condition.wait" and "Stop.wait" in callers

def signalled(*where):
    if {moment}(*where):
        signal.raise_signal(signal.SIGTERM)

sys.setprofile(signalled)
sys.exit(main())
"""
IN_THE_EXECUTOR = """
import os, signal, sys, time
from rclpy.executors import Executor
import rclpy
{program}

real, calls = Executor.get_nodes, []

def signalled(executor):
    calls.append(executor)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.{name})
        deadline = time.monotonic() + 0.5
        while rclpy.ok() and time.monotonic() < deadline:
            time.sleep(0.01)
    return real(executor)

Executor.get_nodes = signalled
sys.exit(main())
"""
STUCK = """
import os, signal, sys, threading, time
import rclpy
from rclpy.signals import SignalHandlerOptions
from lisa_ros.nodes.common.starting import Stop, run_node, start_ros

stop = Stop()
stop.at_signals()
start_ros([], SignalHandlerOptions.NO)
run_node({make}, stop, {close})
"""
CAMERA = "from lisa_ros.nodes.sim_camera.node import main"
SPEECH = "from lisa_ros.nodes.speech.node import run as main"
SPEECH_CLOSED = """
import sys
from lisa_ros.nodes.speech.node import Speech, run
close = Speech.close
Speech.close = lambda self: (print("closed"), close(self))[1]
sys.exit(run())
"""


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, "--ros-args", *arguments],
        env=private_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("program", [CAMERA, "from lisa_ros.nodes.lisa.node import main"])
@pytest.mark.parametrize("moment", ["begins", "waits_on_a_lock"])
def test_a_signal_in_the_wait_for_signals_ends_the_process(program: str, moment: str) -> None:
    """threading.Event.set waited for the lock of the wait that it interrupted, for ever."""
    code = IN_THE_WAIT.format(program=program, moment=moment)
    ended = run(code, "-p", "dialogue_file:=''" if "lisa.node" in program else "seed:=1")
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("program", [CAMERA, SPEECH])
def test_a_signal_while_the_executor_works_ends_the_node_without_a_traceback(program: str, name: str) -> None:
    """rclpy's handlers shut ROS down at once; the executor then failed with an RCLError."""
    ended = run(IN_THE_EXECUTOR.format(program=program, name=name))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("make", "close", "sentence"),
    [
        (
            "lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(600))",
            "None",
            f"The node did not end within {MAX_END_S:g} s.",
        ),
        (
            "lambda: (rclpy.create_node('left'), stop.set())[0]",
            "lambda node: False",
            "A thread of the node still runs; the process ends without it.",
        ),
    ],
)
def test_a_node_that_is_stuck_does_not_keep_its_process(make: str, close: str, sentence: str) -> None:
    ended = run(STUCK.format(make=make, close=close))
    assert ended.returncode == 0
    assert ended.stderr.strip().endswith(sentence)


def test_a_failure_is_said_also_where_a_thread_is_left() -> None:
    failing = "setattr(rclpy.executors.Executor, 'get_nodes', lambda self: 1 / 0)"
    make = f"lambda: [rclpy.create_node('left'), {failing}][0]"
    ended = run(STUCK.format(make=make, close="lambda node: False"))
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_speech_stops_listening_where_a_parameter_is_misspelt() -> None:
    ended = run(SPEECH_CLOSED, "-p", "end_silense:=0.5")
    assert ended.returncode == 1, ended.stderr
    assert "is 'end_silence' meant?" in ended.stderr
    assert ended.stdout.strip() == "closed"


def test_a_stop_is_set_once_and_for_all() -> None:
    stop = Stop()
    assert not stop.wait(0.01)
    assert not stop.is_set()
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait(5)
    assert stop.wait()
