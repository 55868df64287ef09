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
        command: the operator's text.
        answer: the model's raw answer, with "[SEG]" in place of each object.
        objects: in the order of the answer. LISA's history is text alone; models that take masks of earlier turns as
            input read them here. A mask takes width x height bytes.
        references: numbers of the earlier turns that the command referred to.
        number: counted from 1 since the dialogue began, so that it stays the same when older turns are forgotten;
            0: not part of a dialogue yet (`Dialogues.append` gives the number).
    """

    command: str
    answer: str
    objects: tuple[ObjectMask, ...] = ()
    references: tuple[int, ...] = ()
    number: int = 0

    @property
    def nbytes(self) -> int:
        """Memory that it takes, roughly: a byte for each pixel of a mask and of a region, and the texts."""
        masks = sum(found.mask.nbytes + (found.region.mask.nbytes if found.region else 0) for found in self.objects)
        return masks + len(self.command) + len(self.answer)


def turn_of(command: str, finished: Finished, number: int = 0) -> Turn:
    """Make a turn of a command and its answer.

    Args:
        command: The operator's text.
        finished: The answer.
        number: The turn's number, see Turn.
    """
    return Turn(command, finished.answer, finished.objects, finished.references, number)
