# SPDX-License-Identifier: Apache-2.0
"""What a camera costs while nobody asks anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lisa_ros.benchmark.node.asking import Asker
from lisa_ros.benchmark.node.processor import Meter

# The node counts pictures over five seconds.
_SETTLE_S = 6.0


@dataclass(frozen=True)
class Idling:
    """Processor time of lisa_node while pictures come and no command does.

    Attributes:
        seconds: of the measurement.
        picture_rate_hz: that the node counted at its end: pictures may be lost on their way.
        node_percent: of one core.
        threads_percent: of one core, by the threads' names.
        others_percent: of one core: everything else on the machine, the camera too.
    """

    seconds: float
    picture_rate_hz: float
    node_percent: float
    threads_percent: dict[str, float]
    others_percent: float


def measure_idling(asker: Asker, process_id: int, seconds: float) -> Idling:
    """Watch the node's process; nothing may be asked meanwhile."""
    asker.pause(_SETTLE_S)
    began_s = time.monotonic()
    meter = Meter(process_id, began_s)
    asker.pause(seconds)
    ended_s = time.monotonic()
    usage = meter.read(ended_s)
    return Idling(
        seconds=ended_s - began_s,
        picture_rate_hz=asker.picture_rate_hz,
        node_percent=100 * usage.process,
        threads_percent={name: 100 * share for name, share in usage.threads.items()},
        others_percent=100 * (usage.machine - usage.process),
    )
