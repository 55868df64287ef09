# SPDX-License-Identifier: Apache-2.0
"""One turn of a dialogue: a command and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lisa_ros.segmentation.answers import Finished, ObjectMask


@dataclass(frozen=True)
class Turn:
    """One command and its answer.

    Attributes:
        command: the operator's words.
        answer: the model's raw answer, "[SEG]" in place of each object.
        objects: what was found, in the order of the answer. LISA's history is text alone; models that are fed the
            masks of earlier rounds read them here. A mask takes width x height bytes.
        references: how many turns back those lie that the command referred to (1: the turn before); so they stay true
            when the oldest turns are forgotten.
    """

    command: str
    answer: str
    objects: tuple[ObjectMask, ...] = ()
    references: tuple[int, ...] = ()


def turn_of(command: str, finished: Finished, before: int) -> Turn:
    """The turn that an answer becomes.

    Args:
        command: what was asked.
        finished: the answer.
        before: how many turns the model had been given; the answer's references are places in them.
    """
    backs = tuple(before - place + 1 for place in finished.references)
    return Turn(command, finished.answer, finished.objects, backs)
