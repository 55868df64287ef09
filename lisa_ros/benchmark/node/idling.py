# SPDX-License-Identifier: Apache-2.0
"""Processor time of a camera's images without commands."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lisa_ros.benchmark.node.asking import Asker
from lisa_ros.benchmark.node.processor import Meter

# The node counts images over five seconds.
_SETTLE_S = 6.0


@dataclass(frozen=True)
class Idling:
    """Processor time of lisa_node while images come and no commands.

    Attributes:
        seconds: of the measurement.
        image_rate_hz: as counted by the node: images may be lost on their way.
        node_percent: of one core.
        threads_percent: of one core, by the threads' names.
        others_percent: of one core: everything else on the machine, the camera too.
    """

    seconds: float
    image_rate_hz: float
    node_percent: float
    threads_percent: dict[str, float]
    others_percent: float


def measure_idling(asker: Asker, process_id: int, seconds: float) -> Idling:
    """Measures the node's process; no command may be sent meanwhile."""
    asker.pause(_SETTLE_S)
    began_s = time.monotonic()
    meter = Meter(process_id, began_s)
    asker.pause(seconds)
    ended_s = time.monotonic()
    usage = meter.read(ended_s)
    return Idling(
        seconds=ended_s - began_s,
        image_rate_hz=asker.image_rate_hz,
        node_percent=100 * usage.process,
        threads_percent={name: 100 * share for name, share in usage.threads.items()},
        others_percent=100 * (usage.machine - usage.process),
    )
