# SPDX-License-Identifier: Apache-2.0
"""Guesses of how an answer goes on, to be verified in one step (speculative decoding, arXiv 2211.17192, made greedy).

LISA's answers are nearly fixed: the model was trained on a handful of sentences, and a robot's operators ask for the
same things again. A guess costs no exactness: only what the model itself would have said is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

OPENINGS = ("Sure, [SEG].", "It is [SEG].", "Sure, it is [SEG].", "Sure, the segmentation result is [SEG].", "[SEG].")
"""The answers that LISA was trained to give (its authors' ANSWER_LIST)."""

REMEMBERED = 64
"""Answers that guesses are made from."""
LONGEST = 8
"""Tokens of one guess: a step of so many costs little more than a step of one, where weights must be read anyway."""


class Drafts:
    """Answers that were given, the newest first in mind. Safe to use from several threads."""

    def __init__(self, openings: Iterable[Sequence[int]]) -> None:
        """Takes the ids of whole answers to begin with, the likeliest first."""
        self._lock = threading.Lock()
        self._given: OrderedDict[tuple[int, ...], None] = OrderedDict()
        for ids in reversed(list(openings)):
            self.remember(ids)

    def remember(self, ids: Sequence[int]) -> None:
        """An answer that was given."""
        with self._lock:
            self._given[tuple(ids)] = None
            self._given.move_to_end(tuple(ids))
            if len(self._given) > REMEMBERED:
                self._given.popitem(last=False)

    def guess(self, said: Sequence[int], longest: int) -> list[int]:
        """How the newest answer goes on that began so; nothing where none did.

        Args:
            said: the answer's ids so far.
            longest: ids at the most.
        """
        begun = tuple(said)
        with self._lock:
            for given in reversed(self._given):
                if len(given) > len(begun) and given[: len(begun)] == begun:
                    return list(given[len(begun) : len(begun) + min(longest, LONGEST)])
        return []
