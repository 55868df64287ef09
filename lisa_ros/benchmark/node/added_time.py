# SPDX-License-Identifier: Apache-2.0
"""What the node adds to the model's own time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lisa_ros.benchmark.node.asking import Asker
from lisa_ros.benchmark.node.processor import running_threads_s
from lisa_ros.segmentation.interface import EncodedImage, Segmenter

WARMING_UP = 3
"""Pairs that are not counted: the first commands of a process are slower."""


@dataclass(frozen=True)
class AddedTime:
    """What the node adds to the model's own time, milliseconds; medians over all pairs.

    A pair is one command, asked twice, one after the other: the node, and the same model on the same picture in this
    process, without ROS. Both do so with the same commands in the same order, each from an operator who has not spoken
    before, so that both have read and cached the same; the picture is one that both have looked at. So the difference
    holds all that is not the model: the way there and back over DDS, the queue, the picture's decoding and its
    comparison with the one looked at, the dialogue's file, the messages.

    Where other programs keep the cores busy, each of the node's threads waits for a core, and the time on the clock
    says more of them than of the node; the processor time does not.

    Attributes:
        pairs: that were counted.
        wall: from just before the command was published to ~/mask's arrival.
        model: the model's own, in this process.
        added: of the differences of each pair, which is not the difference of the medians.
        added_p95: 95 % of the differences are not larger.
        queued: what the node said of waiting in its queue.
        beside_the_model: the node's work on a command (total_ms) less the model's own time.
        outside: the rest: messages made and sent, the thread they go through, DDS both ways.
        added_processor: processor time of all the node's threads, from before the command to after the answer, less
            that of the model in this process; the pictures that came meanwhile are in it.
    """

    pairs: int
    wall: float
    model: float
    added: float
    added_p95: float
    queued: float
    beside_the_model: float
    outside: float
    added_processor: float


@dataclass(frozen=True)
class Pair:
    """One command, milliseconds."""

    wall: float
    model: float
    queued: float
    total: float
    node_processor: float
    model_processor: float


def measure_added_time(
    asker: Asker, process_id: int, model: Model, texts: Sequence[str], pairs: int, timeout_s: float
) -> AddedTime:
    """Ask the node and the model by turns; nothing else may be asked meanwhile.

    Args:
        asker: the node's.
        process_id: the node's.
        model: the node's model in this process.
        texts: asked one after the other, and again.
        pairs: to be counted.
        timeout_s: longest wait for an answer.
    """

    def measure(number: int) -> Pair:
        text = texts[number % len(texts)]
        before_s = running_threads_s(process_id)
        heard, mask = asker.ask(f"measured_{number}", text, timeout_s)
        node_s = running_threads_s(process_id) - before_s
        model_s, model_processor_s = model.answer(text)
        in_ms = (1000 * seconds for seconds in (mask.came_s - heard.sent_s, model_s, node_s, model_processor_s))
        wall, own, node, model_processor = in_ms
        return Pair(wall, own, heard.queued_ms, heard.total_ms, node, model_processor)

    return summarise([measure(number) for number in range(WARMING_UP + pairs)][WARMING_UP:])


@dataclass(frozen=True)
class Model:
    """A model without ROS, and what it saw in the picture that the node gets."""

    segmenter: Segmenter
    frame: EncodedImage

    def answer(self, text: str) -> tuple[float, float]:
        """Answer a command of somebody who has not spoken before: seconds on the clock, and of the processor."""
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
        queued=median(pair.queued for pair in pairs),
        beside_the_model=median(pair.total - pair.model for pair in pairs),
        outside=median(pair.wall - pair.queued - pair.total for pair in pairs),
        added_processor=median(pair.node_processor - pair.model_processor for pair in pairs),
    )
