# SPDX-License-Identifier: Apache-2.0
"""Spoken commands over ROS: sound -> node `speech` -> lisa_node -> mask, compared with the typed command's mask."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from lisa_ros.benchmark.speech.commands import HEIGHT, WIDTH, Table
from lisa_ros.demo.processes import Child, node_command, running
from lisa_ros.demo.spun_node import spun_node
from lisa_ros.msg import Audio, Command, Heard, Segmentation
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.speech.audio.samples import RATE, Samples

_NAMESPACE = "/spoken"
_BLOCK_S = 0.05
_QOS = QoSProfile(depth=400, reliability=ReliabilityPolicy.RELIABLE)
_TICKS = os.sysconf("SC_CLK_TCK")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Spoken:
    """What became of one spoken command.

    Attributes:
        heard, used: texts; empty where nothing was heard in time.
        iou: of its mask with the typed command's.
        latency_s: from the last sample that is sent to the command; with a held button its release.
        after_speech_s: from the last sample of speech to the command, with the silence that follows it.
        work_s: processor time of the speech node from the last sample to the command; on a busy machine the lower
            bound of latency_s.
        sound_s: length of its sound.
    """

    text: str
    heard: str
    used: str
    iou: float
    latency_s: float
    after_speech_s: float
    work_s: float
    sound_s: float


class Operators:
    """Types and speaks commands, and collects the answers."""

    def __init__(self, node: Node, speech: int, timeout_s: float) -> None:
        """Creates the topics on a node that another thread spins; `speech` is the speech node's process."""
        self._speech, self._timeout_s = speech, timeout_s
        self._answers: dict[str, Segmentation] = {}
        self._heard: dict[str, tuple[Heard, float]] = {}
        self._sent: dict[str, float] = {}
        self._node = node
        self._typing = node.create_publisher(Command, f"{_NAMESPACE}/lisa/command", 10)
        self._speaking = node.create_publisher(Audio, f"{_NAMESPACE}/speech/audio", _QOS)
        node.create_subscription(Segmentation, f"{_NAMESPACE}/lisa/segmentation", self._on_answer, _QOS)
        node.create_subscription(Heard, f"{_NAMESPACE}/speech/heard", self._on_heard, _QOS)
        node.create_subscription(Command, f"{_NAMESPACE}/speech/command", self._on_sent, _QOS)

    def wait_until_ready(self) -> None:
        """Waits for both nodes.

        Raises:
            TimeoutError: one did not start.
        """
        ready = lambda: self._speaking.get_subscription_count() and self._typing.get_subscription_count()  # noqa: E731
        _wait(ready, 6 * self._timeout_s, "the nodes")
        # Until an image has come, a command has no frame.
        until_s = time.monotonic() + 6 * self._timeout_s
        while self.type("the table").status in (Segmentation.NO_IMAGE, Segmentation.REJECTED):
            if time.monotonic() > until_s:
                raise TimeoutError("lisa_node gets no image")
            time.sleep(0.5)

    def type(self, text: str) -> Segmentation:
        """A typed command's answer.

        Raises:
            TimeoutError: none came.
        """
        name = uuid.uuid4().hex
        self._typing.publish(Command(id=name, operator_id=name[:12], text=text))
        return _wait(lambda: self._answers.pop(name, None), self._timeout_s, f"the answer to {text!r}")

    def speak(self, text: str, sound: Samples, typed: Mask, mode: int, tail_s: float) -> Spoken:
        """A spoken command, sent in real time.

        Args:
            text: what is said.
            sound: it, 16 kHz.
            typed: the mask of the typed command.
            mode: of Audio.msg: LISTENING, or PUSH_TO_TALK, which is released after the last sample.
            tail_s: of the sound's end, seconds, that are no speech any more.
        """
        operator = uuid.uuid4().hex[:12]
        last_s, used_s = self._send(operator, sound, mode)
        sound_s = len(sound) / RATE
        try:
            heard, at_s = _wait(lambda: self._heard.pop(operator, None), self._timeout_s, "the text")
        except TimeoutError:
            return Spoken(text, "", "", 0.0, float("nan"), float("nan"), float("nan"), sound_s)
        used_s = processor_s(self._speech) - used_s
        at_s = self._sent.pop(heard.command_id, at_s)
        iou = 0.0
        if heard.command_id:
            answer = _wait(lambda: self._answers.pop(heard.command_id, None), self._timeout_s, "the answer")
            iou = _iou(mask_of(answer, typed.shape), typed)
        late_s = at_s - last_s
        return Spoken(text, heard.heard, heard.used, iou, late_s, late_s + tail_s, used_s, sound_s)

    def listen(self, sound: Samples) -> None:
        """Sends sound of an open microphone in real time and waits for nothing."""
        self._send("idle", sound, Audio.LISTENING)

    def _send(self, operator: str, sound: Samples, mode: int) -> tuple[float, float]:
        """Sends the blocks at the times at which a microphone would have recorded them.

        Returns:
            when the last one was recorded, and the processor time that the speech node had used before it was sent.
        """
        pcm = (np.clip(sound, -1, 1) * 32767).astype("<i2")
        step, begin_s, used_s = round(_BLOCK_S * RATE), time.monotonic(), 0.0
        begin_ns = self._node.get_clock().now().nanoseconds
        for start in range(0, len(pcm), step):
            block = pcm[start : start + step]
            time.sleep(max(0.0, begin_s + (start + len(block)) / RATE - time.monotonic()))
            message = Audio(operator_id=operator, mode=mode, sample_rate=RATE, channels=1)
            if mode == Audio.PUSH_TO_TALK and start + step >= len(pcm):
                message.mode = Audio.RELEASED
            message.samples.frombytes(block.tobytes())
            seconds, rest = divmod(begin_ns + round(start * 1e9 / RATE), 1_000_000_000)
            message.header.stamp.sec, message.header.stamp.nanosec = seconds, rest
            used_s = processor_s(self._speech)
            self._speaking.publish(message)
        return begin_s + len(pcm) / RATE, used_s

    def _on_answer(self, message: Segmentation) -> None:
        self._answers[message.id] = message

    def _on_heard(self, message: Heard) -> None:
        if message.final:
            self._heard[message.operator_id] = (message, time.monotonic())

    def _on_sent(self, message: Command) -> None:
        self._sent[message.id] = time.monotonic()


@contextmanager
def spoken_to(
    table: Table, folder: Path, *, listen: str = "push_to_talk", timeout_s: float = 60.0
) -> Iterator[tuple[Operators, Child]]:
    """Runs the camera, lisa_node and speech in processes of their own; the operators, and the speech process.

    Args:
        table: what the camera shows.
        folder: for the processes' output.
        listen: the parameter of `speech`.
        timeout_s: longest wait for a text or an answer.
    """
    camera = {"seed": table.seed, "width": WIDTH, "height": HEIGHT, "rate_hz": 2.0}
    commands = {
        "sim_camera": node_command("sim_camera", _NAMESPACE, camera),
        "lisa_node": node_command("lisa_node", _NAMESPACE, {"dialogue_file": "''", "use_depth": False}),
    }
    # The bars are for one core.
    one_core = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    commands["speech"] = [*one_core, *node_command("speech", _NAMESPACE, {"audio": "topic", "listen": listen})]
    with running(commands, folder) as children, spun_node("speaking_operators") as node:
        speech = children[-1]
        operators = Operators(node, speech.process.pid, timeout_s)
        operators.wait_until_ready()
        yield operators, speech


def mask_of(answer: Segmentation, shape: tuple[int, ...]) -> Mask:
    """(H, W): all objects of an answer together."""
    union: Mask = np.zeros(shape, dtype=np.bool_)
    for found in answer.objects:
        union |= rgb_image_from(found.mask)[:, :, 0] > 0
    return union


def processor_s(process: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _iou(one: Mask, other: Mask) -> float:
    union = int(np.count_nonzero(one | other))
    return float(np.count_nonzero(one & other)) / union if union else 1.0


def _wait(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    until_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > until_s:
            raise TimeoutError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.002)
    return value
