# SPDX-License-Identifier: Apache-2.0
"""What the node adds to the model's own time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lisa_ros.benchmark.node.asking import Asker
from lisa_ros.benchmark.node.processor import running_threads_s, waiting_threads_s
from lisa_ros.segmentation.interface import EncodedImage, Segmenter

_REST_S = 0.05
"""After its answer the node publishes what nobody waits for; the model in this process is timed when that is done."""
WARMING_UP = 3
"""Pairs that are not counted: the first commands of a process are slower."""


@dataclass(frozen=True)
class AddedTime:
    """What the node adds to the model's own time, milliseconds; medians over all pairs.

    A pair is one command, given twice in a row: to the node, and to the same model about the same image in this
    process, without ROS. Both get the same commands in the same order, each from a new operator, so that both have the
    same prompts cached; both have encoded the image before. The difference is everything but the model: DDS in both
    directions, the queue, decoding the image and comparing it with the encoded one, the dialogue file, the messages.

    Where other programs use the cores, each of the node's threads waits for a core, and wall time depends more on them
    than on the node; processor time does not.

    Attributes:
        pairs: that were counted.
        wall: from just before the command was published to ~/mask's arrival.
        model: the model's own, in this process.
        added: of the differences of each pair, which is not the difference of the medians.
        added_p95: 95 % of the differences are not larger.
        answer_added: the same until ~/segmentation's arrival, which has the objects' positions and grips.
        queued: time in the node's queue, as reported.
        beside_the_model: the node's work on a command (total_ms) less the model's own time.
        outside: the rest: making and sending messages, DDS in both directions.
        added_processor: processor time of all the node's threads, from before the command to after the answer, less
            that of the model in this process; the images that came meanwhile are included.
    """

    pairs: int
    wall: float
    model: float
    added: float
    added_p95: float
    answer_added: float
    queued: float
    beside_the_model: float
    outside: float
    added_processor: float


@dataclass(frozen=True)
class Pair:
    """One command, milliseconds.

    Attributes:
        wall: until ~/mask's arrival.
        answer: until ~/segmentation's arrival.
        node_waited: for which the node's threads waited for a core, all of them together.
    """

    wall: float
    answer: float
    model: float
    queued: float
    total: float
    node_processor: float
    model_processor: float
    node_waited: float = 0.0


def measure_added_time(
    asker: Asker, process_id: int, model: Model, texts: Sequence[str], pairs: int, timeout_s: float
) -> AddedTime:
    """Gives commands to the node and the model in turn; no other command may be sent meanwhile.

    Args:
        asker: the node's.
        process_id: the node's.
        model: the node's model in this process.
        texts: the commands, used in turn.
        pairs: to count.
        timeout_s: longest wait for an answer.
    """

    def measure(number: int) -> Pair:
        return measure_pair(asker, process_id, model, f"measured_{number}", texts[number % len(texts)], timeout_s)

    return summarise([measure(number) for number in range(WARMING_UP + pairs)][WARMING_UP:])


def measure_pair(asker: Asker, process_id: int, model: Model, operator: str, text: str, timeout_s: float) -> Pair:
    """Gives one command of a new operator to the node, and then to the model."""
    before_s, waited_before_s = running_threads_s(process_id), waiting_threads_s(process_id)
    received, mask = asker.ask(operator, text, timeout_s)
    node_s, waited_s = running_threads_s(process_id) - before_s, waiting_threads_s(process_id) - waited_before_s
    asker.pause(_REST_S)
    model_s, model_processor_s = model.answer(text)
    seconds = (
        mask.came_s - received.sent_s,
        received.came_s - received.sent_s,
        model_s,
        node_s,
        model_processor_s,
        waited_s,
    )
    wall, answer, own, node, model_processor, waited = (1000 * one for one in seconds)
    return Pair(wall, answer, own, received.queued_ms, received.total_ms, node, model_processor, waited)


@dataclass(frozen=True)
class Model:
    """A model without ROS, and the encoded image of the node's camera."""

    segmenter: Segmenter
    frame: EncodedImage

    def answer(self, text: str) -> tuple[float, float]:
        """Answers a command of a new operator; returns wall and processor seconds."""
        began_s, processor_s = time.monotonic(), time.process_time()
        for _ in self.segmenter.session(self.frame, ()).segment(text):
            pass
        return time.monotonic() - began_s, time.process_time() - processor_s


def summarise(pairs: Sequence[Pair]) -> AddedTime:
    """The medians."""
    added = sorted(pair.wall - pair.model for pair in pairs)
    return AddedTime(
        pairs=len(pairs),
        wall=median(pair.wall for pair in pairs),
        model=median(pair.model for pair in pairs),
        added=median(added),
        added_p95=added[-(-95 * len(added) // 100) - 1],
        answer_added=median(pair.answer - pair.model for pair in pairs),
        queued=median(pair.queued for pair in pairs),
        beside_the_model=median(pair.total - pair.model for pair in pairs),
        outside=median(pair.wall - pair.queued - pair.total for pair in pairs),
        added_processor=median(pair.node_processor - pair.model_processor for pair in pairs),
    )
