# SPDX-License-Identifier: Apache-2.0
"""From the text that was heard to the text that is used: words that the vocabulary lacks are replaced where it is sure.

The heard text is split into pieces of one to three words. Each piece is kept, or, if the vocabulary lacks a word of
it, replaced by a word or a pair of words of the vocabulary that sounds like it ("dumb menows": "dominoes"). A path
through the pieces costs the distances of its replacements, the unknown words that it keeps, and the pairs of
neighbours that the vocabulary does not have; the cheapest path is used, unless another one with other words costs
nearly as little.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lisa_ros.speech.language.phonetics import Sounds
from lisa_ros.speech.language.vocabulary import EDGE, Vocabulary, words_of

_LONGEST_PIECE = 3
_CANDIDATES = 6
_PATHS = 60
_READINGS = 8
_LEAST_CONFIDENCE = 0.5
"""Below it the text is in another language than the vocabulary, and is left as it is."""

_KEPT = 16
"""Corrections that are kept: a text is corrected while silence lasts, and asked for again when it has ended."""

_Piece = tuple[int, int, str]
"""First and past the last of the heard words, and the text that stands for them."""


@dataclass(frozen=True)
class Costs:
    """What a path costs; distances are from 0 to 1.

    Attributes:
        unknown: of a kept word that the vocabulary lacks.
        pair: of two neighbours that are no pair of the vocabulary.
        replacing: of each word of a replacement, beside its distance.
        farthest: distance above which nothing is replaced.
        margin: by which the cheapest path must be cheaper than one with other words.
    """

    unknown: float
    pair: float
    replacing: float
    farthest: float
    margin: float


CLOSED = Costs(unknown=0.75, pair=0.25, replacing=0.05, farthest=0.67, margin=0.02)
"""For a model that knows no other words."""

OPEN = Costs(unknown=0.3, pair=0.0, replacing=0.05, farthest=0.12, margin=0.1)
"""For a model that knows the whole language: a heard word is replaced only by what sounds and is written nearly alike.

With 0.25, 135 of 2400 texts with right words were changed ("one" to "on", "paper" to "pepper"), with 0.12 it is 12; of
30 misspelt names as many were corrected.
"""


@dataclass(frozen=True)
class Correction:
    """What became of a heard text.

    Attributes:
        heard: the text that was heard.
        text: the text to use.
        confidence: 0 to 1: how well the heard text fits the vocabulary; 1 where nothing was replaced or unknown.
        replaced: (heard, used) pieces, in their order.
    """

    heard: str
    text: str
    confidence: float
    replaced: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Path:
    cost: float = 0.0
    words: tuple[str, ...] = ()
    pieces: tuple[_Piece, ...] = ()

    @property
    def last(self) -> str:
        return self.words[-1] if self.words else EDGE


class Corrector:
    """Brings heard texts to one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, costs: Costs | None = None) -> None:
        """Takes the vocabulary; costs None: by whether it is closed."""
        self._vocabulary = vocabulary
        self._costs = costs or (CLOSED if vocabulary.closed else OPEN)
        pairs = sorted(pair for pair in vocabulary.pairs if EDGE not in pair)
        self._targets = [(word,) for word in sorted(vocabulary.words)] + pairs
        self._sounds = Sounds([" ".join(target) for target in self._targets])
        self._corrected: dict[str, Correction] = {}

    @property
    def closed(self) -> bool:
        """Whether the vocabulary is."""
        return self._vocabulary.closed

    def correct(self, heard: str) -> Correction:
        """The text to use for a heard one."""
        if heard not in self._corrected:
            if len(self._corrected) >= _KEPT:
                self._corrected.clear()
            self._corrected[heard] = self._correct(heard)
        return self._corrected[heard]

    def _correct(self, heard: str) -> Correction:
        words = words_of(heard)
        if not words or not self._targets:
            return Correction(heard, heard, 1.0)
        best, *others = self._paths(words)
        near = [path for path in others if path.cost - best.cost < self._costs.margin]
        sure = [piece for piece in best.pieces if all(piece in path.pieces for path in near)]
        unsure = len(best.pieces) - len(sure)
        confidence = 1.0 - min(1.0, (best.cost + unsure * self._costs.unknown) / len(words))
        if confidence < _LEAST_CONFIDENCE:
            return Correction(heard, heard, confidence)
        text, replaced = _written(heard, words, sure)
        return Correction(heard, text, confidence, replaced)

    def _paths(self, words: list[str]) -> list[_Path]:
        """Whole paths, the cheapest first, each with other words."""
        ends: list[dict[tuple[str, ...], _Path]] = [{} for _ in range(len(words) + 1)]
        ends[0][()] = _Path()
        for start in range(len(words)):
            paths = heapq.nsmallest(_PATHS, ends[start].values(), key=lambda path: path.cost)
            for length in range(1, min(_LONGEST_PIECE, len(words) - start) + 1):
                for used, cost in self._candidates(words[start : start + length]):
                    for path in paths:
                        _add(ends[start + length], self._longer(path, start, length, used, cost))
        closed = [replace(path, cost=path.cost + self._pair(path.last, EDGE)) for path in ends[-1].values()]
        return sorted(closed, key=lambda path: path.cost)[:_READINGS]

    def _candidates(self, heard: list[str]) -> list[tuple[tuple[str, ...], float]]:
        """What may stand for these heard words, with its cost."""
        if all(word in self._vocabulary.words for word in heard):
            return [((heard[0],), 0.0)] if len(heard) == 1 else []
        distances = self._sounds.distances(" ".join(heard))
        found = [
            (self._targets[i], self._costs.replacing * len(self._targets[i]) + float(distances[i]) * len(heard))
            for i in np.argsort(distances)[:_CANDIDATES]
            if distances[i] <= self._costs.farthest
        ]
        if len(heard) == 1:
            found.append(((heard[0],), 0.0 if heard[0].isdecimal() else self._costs.unknown))
        return found

    def _longer(self, path: _Path, start: int, length: int, used: tuple[str, ...], cost: float) -> _Path:
        neighbours = zip((path.last, *used), used, strict=False)
        cost += sum(self._pair(one, other) for one, other in neighbours)
        return _Path(path.cost + cost, path.words + used, (*path.pieces, (start, start + length, " ".join(used))))

    def _pair(self, one: str, other: str) -> float:
        return 0.0 if (one, other) in self._vocabulary.pairs else self._costs.pair


def _add(paths: dict[tuple[str, ...], _Path], path: _Path) -> None:
    if path.words not in paths or path.cost < paths[path.words].cost:
        paths[path.words] = path


def _written(heard: str, words: list[str], pieces: Sequence[_Piece]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The heard text with its replacements in it, and these; what is kept stays as it was written."""
    places = [match.span() for match in re.finditer(r"[^\W_]+(?:['\u2019][^\W_]+)*", heard)]
    text, at, replaced = "", 0, []
    for first, last, used in pieces:
        old = " ".join(words[first:last])
        if used == old:
            continue
        begin, end = places[first][0], places[last - 1][1]
        text += heard[at:begin] + (used.capitalize() if first == 0 and heard[begin].isupper() else used)
        at = end
        replaced.append((old, used))
    return text + heard[at:], tuple(replaced)
