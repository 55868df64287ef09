# SPDX-License-Identifier: Apache-2.0
"""Draft tokens for speculative decoding (arXiv 2211.17192, greedy): several are verified in one step.

LISA's answers are nearly fixed: the model was trained on a handful of sentences, and operators repeat their commands.
Only tokens that the model itself predicts are kept. On a GPU the numbers of a longer step can differ in the last bit
from those of a step of one token; LoadOptions.deterministic switches drafts off.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

OPENINGS = ("Sure, [SEG].", "It is [SEG].", "Sure, it is [SEG].", "Sure, the segmentation result is [SEG].", "[SEG].")
"""The answers that LISA was trained to give (its authors' ANSWER_LIST)."""

MAX_ANSWERS = 64
"""Earlier answers that drafts are taken from."""
MAX_DRAFT = 8
"""Tokens of one draft: a step of so many costs little more than a step of one, since both read all weights."""


class Drafts:
    """Earlier answers, newest first. Safe to use from several threads."""

    def __init__(self, openings: Iterable[Sequence[int]]) -> None:
        """Takes the ids of whole answers to begin with, the most likely first."""
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[int, ...], None] = OrderedDict()
        for ids in reversed(list(openings)):
            self.add(ids)

    def add(self, ids: Sequence[int]) -> None:
        """Adds an answer."""
        with self._lock:
            self._answers[tuple(ids)] = None
            self._answers.move_to_end(tuple(ids))
            if len(self._answers) > MAX_ANSWERS:
                self._answers.popitem(last=False)

    def propose(self, generated: Sequence[int], longest: int) -> list[int]:
        """How the newest answer that begins with the generated ids continues; empty where none does.

        Args:
            generated: the answer's ids so far.
            longest: most ids that are returned.
        """
        beginning = tuple(generated)
        with self._lock:
            for answer in reversed(self._answers):
                if len(answer) > len(beginning) and answer[: len(beginning)] == beginning:
                    return list(answer[len(beginning) : len(beginning) + min(longest, MAX_DRAFT)])
        return []


class NoDrafts(Drafts):
    """Proposes nothing: every token is a step of its own."""

    def __init__(self) -> None:
        super().__init__([])

    def add(self, ids: Sequence[int]) -> None:
        """Adds nothing."""
