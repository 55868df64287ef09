# SPDX-License-Identifier: Apache-2.0
"""Sends random valid and invalid messages of all kinds to one lisa_node with the scripted segmenter.

Usage: fuzzing.py [--messages N] [--seed N]. The exit code is 0 if the node stays alive, answers every command exactly
once, answers every service, does not grow after a warm-up, and ends after SIGTERM.
"""

import argparse
import array
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_probe import probing
from ros_harness import Process, scripted_node, started, wait_until
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from lisa_ros.msg import Command
from lisa_ros.nodes.common.conversions import SUPPORTED_ENCODINGS
from lisa_ros.nodes.lisa.process import MAX_END_S
from lisa_ros.srv import GetDialogue, UndoDialogue

NAME = "fuzzed"
SETTINGS = ("-r", f"__node:={NAME}", "-p", "max_dialogue_mib:=8")
"""Turns keep their masks: with the usual 64 MiB, memory may grow by as much, as it should."""
WARM_UP = 0.4
"""Part of the messages after which memory must not grow."""
MAX_GROWTH_MB = 30.0
"""What may be added after that."""
_MEASUREMENTS = 10
_FEW_FRAMES = {"frame_buffer": 0.0, "command_frame": "newest"}
"""While memory is measured: otherwise up to 64 frames are kept, or none, by chance."""
_MAX_OUTSTANDING = 64
_MAX_SERVICE_CALLS = 8
_END_S = 5 * MAX_END_S
"""MAX_END_S on a machine that does nothing else."""

TEXTS = (
    "red", "two", "green", "bright", "unicorn", "invisible", "misshapen", "misplaced", "negative red", "crash",
    "exit system", "exit keyboard", "exit generator", "surrogate", "forbidden", "history", "references", "two nan",
    "", " ", "\x00", "\x1b[31m red", "\u202e red", "[SEG] <image> </s>", "[REF:1] red", "[REF:99] red", "x" * 5000,
)  # fmt: skip
OPERATORS = ("", "ann", "ben", "carl", "\n", "x" * 100, "Ünal", "dora")
FRAME_IDS = ("camera", "depth", "", "/camera", "kamera_öäü", "カメラ", "a b\n", "\x00", "\x1b[31m", "x" * 5000)
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "queue_size": (4, 16, 64, 1, 0, "x"),
    "queue_policy": ("queue", "latest_wins", "random"),
    "max_turns": (0, 1, 8, -1),
    "max_operators": (1, 3, 16, 0),
    "max_text_length": (500, 500, 500, 1, 1.5),
    "max_image_age": (0.0, 0.0, 0.0, 5.0, 0.001, float("nan"), float("inf")),
    "min_score": (0.0, 0.0, 0.5, 2.0),
    "command_frame": ("newest", "nearest"),
    "follow_up_frame": ("newest", "dialogue"),
    "frame_buffer": (0.0, 1.0, 60.0),
    "depth_wait": (0.0, 0.01),
    "sync_tolerance": (0.0, 0.02, 1.0),
    "answer": ("full", "mask_only", ""),
    "track": (True, False),
    "track_again_after": (0.0, 0.05, 5.0),
    "answer_timeout": (0.0, 60.0, 60.0, -1.0),
    "max_new_tokens": (1, 512, 0),
    "max_dialogue_mib": (0, 8, 8),
    "max_operator_rate": (0, 0, 0, 600),
    "max_operator_queue": (0, 0, 2),
    "same_frame_difference": (0.0, 2.0, 255.0),
    "split_objects": ("auto", "never", "x"),
    "grip": ("none", "centroid", "antipodal", "magnet"),
    "target_frame": ("", "", "base_link"),
    "transform_timeout": (0.0, 0.01),
    "no_object_is": ("success", "abort", "x"),
    "use_sim_time": (False, False, True),
    "points_organised": (True, False),
    "image_rectified": (True, False),
    "max_dialogue_idle": (0.0, 1e-6),
    "device": ("cpu", "tpu"),
    "no_such_parameter": (1,),
}
TRANSITIONS = (
    *[Transition.TRANSITION_CONFIGURE] * 3,
    *[Transition.TRANSITION_ACTIVATE] * 6,
    Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_DEACTIVATE,
    200,
)
"""Mostly those that lead to the active state, in which most of the code runs."""
OPTIONS = (
    ("dialogue", ("continue", "none", "new")),
    ("outputs", (1, 2, 4, 7, 255)),
    ("target_frame", ("camera", "base_link", "é", "x" * 5000)),
    ("split_objects", ("auto", "never", "x")),
    ("grip", ("centroid", "top_plane", "antipodal", "magnet")),
)
"""Fields of Command, and their values."""
WEIGHTS = {
    "command": 10,
    "image": 6,
    "depth": 3,
    "info": 3,
    "parameter": 1,
    "service": 1,
    "transition": 0.2,
    "goal": 0.5,
}


class Fuzzer:
    """Sends the messages and counts the answers."""

    def __init__(self, probe: Any, process: Process, seed: int) -> None:
        self._probe, self._process = probe, process
        self._random = np.random.default_rng(seed)
        node = probe.node
        self._depth = node.create_publisher(Image, "depth", 1)
        self._info = node.create_publisher(CameraInfo, "camera_info", 1)
        self._change = node.create_client(ChangeState, f"/{NAME}/change_state")
        self._get = node.create_client(GetDialogue, f"/{NAME}/get_dialogue")
        self._undo = node.create_client(UndoDialogue, f"/{NAME}/undo_dialogue")
        for client in (self._change, self._get, self._undo):
            wait_until(client.service_is_ready, client.srv_name)
        self._sent: list[str] = []
        self._memory_mb: list[int] = []
        self._calls: deque[Any] = deque()
        kinds, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()))
        self._kinds, self._shares = kinds, weights / weights.sum()
        self._send: dict[str, Callable[[], None]] = {kind: getattr(self, f"_send_{kind}") for kind in kinds}

    def run(self, count: int) -> list[str]:
        """Send the messages; returns the problems that were found."""
        for number in range(count):
            if number % (count // _MEASUREMENTS) == 0:
                self._measure()
            self._send[str(self._random.choice(self._kinds, p=self._shares))]()
            self._pace()
        self._measure()
        return [*self._answer_problems(), *self._memory_problems(), *self._end_problems()]

    def _pace(self) -> None:
        """Few commands and service calls are open at a time, as with real operators."""
        wait_until(lambda: len(self._sent) - len(self._probe.answers) < _MAX_OUTSTANDING, "answers")
        while len(self._calls) > _MAX_SERVICE_CALLS or (self._calls and self._calls[0].done()):
            wait_until(self._calls[0].done, "the response of a service")
            self._calls.popleft()
        assert self._process.alive, "the node has ended"

    def _settle_down(self) -> None:
        wait_until(lambda: len(self._probe.answers) >= len(self._sent), "the answers to all commands")
        while self._calls:
            wait_until(self._calls.popleft().done, "the response of a service")

    def _answer_problems(self) -> list[str]:
        time.sleep(1.0)  # a second answer to a command would arrive now
        answered, sent = (Counter(ids) for ids in ((one.id for one in self._probe.answers), self._sent))
        wrong = [identity for identity in answered.keys() | sent.keys() if answered[identity] != sent[identity]]
        return [f"{len(wrong)} of {len(self._sent)} commands have not exactly one answer"] if wrong else []

    def _memory_problems(self) -> list[str]:
        print(f"memory in MB, at the start and after each {100 // _MEASUREMENTS} % of the messages: {self._memory_mb}")
        warm_mb, now_mb = self._memory_mb[int(WARM_UP * _MEASUREMENTS)], self._memory_mb[-1]
        return [f"memory grew from {warm_mb} to {now_mb} MB"] if now_mb > warm_mb + MAX_GROWTH_MB else []

    def _end_problems(self) -> list[str]:
        self._process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        code = self._process.wait()
        took_s = time.monotonic() - began_s
        print(f"end: exit code {code}, {took_s:.1f} s after SIGTERM")
        return [f"it ended with {code} after {took_s:.1f} s"] if code or took_s > _END_S else []

    def _measure(self) -> None:
        """Keeps the node's resident memory, when all commands are answered and few frames are kept."""
        for name, value in _FEW_FRAMES.items():
            self._calls.append(self._probe.set_parameter_async(name, value))
        for _ in range(3):
            self._send_image()
        self._settle_down()
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        self._memory_mb.append(round(pages * 4096 / 1e6))
        print(f"memory: {self._memory_mb[-1]} MB", flush=True)

    def _one(self, values: Any) -> Any:
        return values[int(self._random.integers(len(values)))]

    def _mostly(self, usual: Any, others: Any) -> Any:
        """Seven times of ten the usual value: a message with several unusual values is refused for the first."""
        return usual if self._random.random() < 0.7 else self._one(others)

    def _bytes(self, count: int) -> array.array:
        return array.array("B", self._random.integers(0, 256, count, dtype=np.uint8).tobytes())

    def _header(self, message: Any) -> Any:
        message.header.frame_id = self._mostly("camera", FRAME_IDS)
        stamp = self._probe.stamp_now()
        if self._random.random() < 0.1:
            stamp.sec = int(self._random.integers(-(2**31), 2**31))
        if self._random.random() < 0.05:
            stamp.nanosec = int(self._random.integers(1_000_000_000, 2**32))
        message.header.stamp = stamp
        return message

    def _image_of(self, encodings: Any, sample_bytes: Any) -> Image:
        """Mostly consistent; sometimes with another step, size or amount of data than it states."""
        encoding = self._one(encodings)
        width, height = (self._one((160, 160, 160, 48, 1, 640)) for _ in range(2))
        step = width * self._one(sample_bytes)
        message = Image(width=width, height=height, encoding=encoding, step=step, data=self._bytes(step * height))
        if self._random.random() < 0.2:
            field, values = self._one(
                (("width", (0, 2**32 - 1, width + 1)), ("height", (0, 2**32 - 1)), ("step", (0, 7, 2**32 - 1)),
                 ("encoding", ("", "8UC3", "é")), ("data", (array.array("B"), self._bytes(100))))
            )  # fmt: skip
            setattr(message, field, self._one(values))
        return self._header(message)

    def _send_image(self) -> None:
        if self._random.random() < 0.5:  # a scene that the scripted segmenter finds colours in
            pixels = np.zeros((120, 160, 3), dtype=np.uint8)
            pixels[20:90, 10:60, 0], pixels[20:90, 90:150, 2] = 255, 255
            message = Image(width=160, height=120, encoding="rgb8", step=480, data=array.array("B", pixels.tobytes()))
            self._probe.show(self._header(message))
        else:
            self._probe.show(self._image_of(SUPPORTED_ENCODINGS, (1, 2, 3, 4)))

    def _send_depth(self) -> None:
        depth = self._random.choice([0.0, 0.5, 1.0, 1e38, np.nan, np.inf, -1.0], (120, 160)).astype("<f4")
        message = Image(width=160, height=120, encoding="32FC1", step=640, data=array.array("B", depth.tobytes()))
        if self._random.random() < 0.4:
            message = self._image_of(("16UC1", "32FC1", "rgb8"), (2, 4))
        self._depth.publish(self._header(message))

    def _send_info(self) -> None:
        focal = self._one((200.0, 200.0, 0.0, -1.0, 1e30, float("nan")))
        k = [focal, 0.0, 80.0, 0.0, focal, 60.0, 0.0, 0.0, 1.0]
        message = CameraInfo(width=160, height=self._one((120, 120, 0, 2**31)), k=k)
        message.distortion_model, message.d = self._one((("plumb_bob", [0.0] * 5), ("x", [1e9] * 3), ("", [])))
        self._info.publish(self._header(message))

    def _command(self) -> Command:
        identity = f"fuzz {len(self._sent)}"
        if self._sent and self._random.random() < 0.05:  # commands with the same id are separate commands
            identity = self._one(self._sent[-20:])
        message = Command(id=identity, operator_id=self._mostly("ann", OPERATORS), text="")
        message.text = self._mostly(self._one(("red", "two")), TEXTS)
        message.answer = self._mostly("", ("full", "mask_only", "both"))
        message.references = self._mostly([], ([1], [0], [99], [2**32 - 1] * 50))
        if self._random.random() < 0.1:
            message.points = [Point(x=self._one((5.0, -1.0, float("nan"))), y=5.0)] * self._one((1, 100))
        if self._random.random() < 0.05:
            message.boxes = [RegionOfInterest(width=self._one((0, 10, 2**32 - 1)), height=10)]
        if self._random.random() < 0.3:
            message.stamp.sec = int(self._one((self._probe.stamp_now().sec, 1, 2**31 - 1, -1)))
            message.stamp.nanosec = int(self._mostly(0, (2**32 - 1,)))
        if self._random.random() < 0.3:
            name, values = self._one(OPTIONS)
            setattr(message, name, self._one(values))
        return message

    def _send_command(self) -> None:
        message = self._command()
        self._sent.append(message.id)
        self._probe.publish(message)

    def _send_goal(self) -> None:
        message = self._command()
        self._sent.append(message.id)
        sent = self._probe.send_goal_async(message)
        if self._random.random() < 0.5:
            sent.add_done_callback(lambda done: done.result().accepted and done.result().cancel_goal_async())

    def _send_parameter(self) -> None:
        name = self._one(list(PARAMETERS))
        self._calls.append(self._probe.set_parameter_async(name, self._one(PARAMETERS[name])))

    def _send_service(self) -> None:
        operator = self._one(OPERATORS)
        request = GetDialogue.Request(operator_id=operator)
        call = self._get.call_async(request)
        if self._random.random() < 0.5:
            call = self._undo.call_async(UndoDialogue.Request(operator_id=operator, change=self._one((0, 1, 7))))
        self._calls.append(call)

    def _send_transition(self) -> None:
        request = ChangeState.Request(transition=Transition(id=self._one(TRANSITIONS)))
        self._calls.append(self._change.call_async(request))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with probing(NAME) as probe, started(scripted_node(*SETTINGS)) as process:
        probe.wait_for_node(process)
        began_s = time.monotonic()
        fuzzer = Fuzzer(probe, process, options.seed)
        problems = fuzzer.run(options.messages)
        statuses = Counter(answer.status for answer in probe.answers)
        print(f"{options.messages} messages in {time.monotonic() - began_s:.0f} s, {sum(statuses.values())} answers:")
        print(f"status: number of answers: {dict(sorted(statuses.items()))}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
