# SPDX-License-Identifier: Apache-2.0
"""An answer while it is generated: from the pieces of what the model writes to events. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lisa_ros.models.pointing.parsing import Piece, Pointed
from lisa_ros.segmentation.answers import SEG_TEXT, Event, MaskFound, ObjectMask, TextDelta

_MAX_OBJECTS = 64
"""Masks made for one answer. A model that degenerates repeats an object until the end; each mask takes memory."""

NOTHING_THERE = "(a box or point with nothing of the image in it)"
TOO_MANY = f"(further objects are left out: an answer has {_MAX_OBJECTS} at most)"


class GrowingAnswer:
    """The raw answer and its objects so far.

    Attributes:
        text: the raw answer, `[SEG]` in place of each object.
        objects: in the order of the answer.
    """

    def __init__(self, make: Callable[[Pointed, int], ObjectMask | None], *, quiet: bool = False) -> None:
        """Begins an empty answer.

        Args:
            make: makes the object whose `[SEG]` begins at a character of the raw answer; None: the text says so.
            quiet: the answer is `[SEG]` alone, without the model's text.
        """
        self.text, self.objects = "", tuple[ObjectMask, ...]()
        self._make, self._quiet = make, quiet
        self._done = self._sent = 0

    def update(self, pieces: Sequence[Piece]) -> Iterator[Event]:
        """Events for what is new.

        Args:
            pieces: of all that the model has written so far; those of the last call are the beginning of these.
        """
        merged = _merged(pieces)
        for index in range(self._done, len(merged)):
            piece = merged[index]
            if isinstance(piece, str):
                yield from self._say(piece[self._sent :])
                self._sent = len(piece)
                if index == len(merged) - 1:  # it may grow
                    return
            else:
                yield from self._mark(piece)
            self._done, self._sent = index + 1, 0

    def _say(self, text: str) -> Iterator[Event]:
        text = text if self.text else text.lstrip()
        if text and not self._quiet:
            self.text += text
            yield TextDelta(text)

    def _mark(self, pointed: Pointed) -> Iterator[Event]:
        gap = "" if not self.text or self.text[-1].isspace() else " "
        if len(self.objects) >= _MAX_OBJECTS:
            if TOO_MANY not in self.text:
                yield from self._say(gap + TOO_MANY)
            return
        found = self._make(pointed, len(self.text) + len(gap))
        if found is None:
            yield from self._say(gap + NOTHING_THERE)
            return
        self.text += gap + SEG_TEXT
        self.objects += (found,)
        yield TextDelta(gap + SEG_TEXT)
        yield MaskFound(found)


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    """The same with neighbouring texts joined, and without empty ones."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif piece != "":
            merged.append(piece)
    return merged
