# SPDX-License-Identifier: Apache-2.0
"""A killed node resumes its dialogues."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.benchmark.node.asking import Asker
from lisa_ros.demo.processes import Child
from lisa_ros.demo.script import LINES, ObjectName
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.simulation.scene import View

# Ann's first two of the demo: the second says "of the same colour", which has no meaning without the first.
_FIRST, _NEXT = (line for line in LINES if line.operator == "ann" and line.meant.colour == "blue")


@dataclass(frozen=True)
class Restarting:
    """A first command, SIGKILL, a new process, and a command that refers to the first.

    Attributes:
        first_turn, next_turn: of the dialogue, as reported by the answers. 1 and 2: it was resumed.
        first_iou, next_iou: of the masks with the true ones, in the simulated image.
    """

    first_turn: int
    next_turn: int
    first_iou: float
    next_iou: float


def measure_restarting(
    asker: Asker, start: Callable[[str], AbstractContextManager[list[Child]]], view: View, timeout_s: float
) -> Restarting:
    """Starts a node, kills it after its first answer, and continues with a new one.

    Args:
        asker: of both nodes.
        start: runs a node with the same file of dialogues, as long as the block lasts; takes a name for its log.
        view: what the camera shows.
        timeout_s: longest wait.
    """
    with start("killed") as (child,):
        asker.wait_for_lisa(timeout_s)
        first, first_mask = asker.ask(_FIRST.operator, _FIRST.text, timeout_s)
        child.process.kill()
        child.process.wait()
    with start("restarted"):
        asker.wait_for_lisa(timeout_s)
        following, next_mask = asker.ask(_NEXT.operator, _NEXT.text, timeout_s)
    return Restarting(
        first_turn=first.turn,
        next_turn=following.turn,
        first_iou=intersection_over_union(first_mask.pixels(), true_mask(view, _FIRST.meant)),
        next_iou=intersection_over_union(next_mask.pixels(), true_mask(view, _NEXT.meant)),
    )


def true_mask(view: View, meant: ObjectName) -> NDArray[np.bool_]:
    """(H, W): the pixels of all objects of that kind and colour."""
    numbers = [one.instance for one in view.objects if (one.colour, one.kind) == (meant.colour, meant.kind)]
    return np.isin(view.instances, np.array(numbers, dtype=np.uint8))
