# SPDX-License-Identifier: Apache-2.0
"""What every data set is read into: an image, and questions about it with their true masks."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError

IGNORE = 255
"""In a Truth: pixels that no score counts."""

Truth = NDArray[np.uint8]
"""(H, W), size of the image: 0 background, 1 object, IGNORE pixels that no score counts."""

ImageSource = Path | Callable[[], NDArray[np.uint8]]
"""An image's file, or a function that makes it: RGB uint8 (H, W, 3)."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class DataError(LisaError):
    """A data set cannot be read; the text names the file, what was wrong and what would be right."""


@dataclass(frozen=True)
class Round:
    """One question about an image.

    Attributes:
        text: the question as the data set has it: a noun phrase or a sentence.
        is_sentence: whether `text` is a whole question or request, not a noun phrase to put into one.
        truth: makes the true mask, in the image's own size. Nothing is decoded before it is called.
        answer: the answer that the data set gives, if it gives one.
        references: earlier rounds of the sample that the text refers to, counted from 1.
        group: family of questions that it is counted with; "" where the data set has none.
        tags: further rows of the result table that it is counted in.
        must_say: text that a right answer contains, in any case; None: only the mask counts.
        is_command: whether `text` is asked unchanged, whatever the phrasing; turns of dialogues are.
    """

    text: str
    is_sentence: bool
    truth: Callable[[], Truth]
    answer: str | None = None
    references: tuple[int, ...] = ()
    group: str = ""
    tags: tuple[str, ...] = ()
    must_say: str | None = None
    is_command: bool = False


@dataclass(frozen=True)
class Sample:
    """An image and the questions about it.

    Attributes:
        name: unique within the data set and its split, the same in every run.
        image: the image.
        rounds: the questions, in order; at least one, unless there is a problem.
        dialogue: whether the rounds are the turns of one dialogue; otherwise each is asked by itself.
        problem: why the sample cannot be used, where its files are damaged or incomplete. Such a sample is kept, so
            that it is counted and reported.
    """

    name: str
    image: ImageSource
    rounds: tuple[Round, ...] = ()
    dialogue: bool = False
    problem: str | None = None


def check_size(name: str, truth: Truth, size: tuple[int, int]) -> None:
    """Raises a DataError unless the truth of the sample of this name has the size (H, W) of its image."""
    if truth.shape != size:
        raise DataError(
            f"{name}: its mask has {truth.shape[1]} x {truth.shape[0]} pixels, the image {size[1]} x {size[0]}"
        )


def shown(value: Any) -> str:
    """What a file has in a place, for a message: at most 80 characters, however deeply it is nested."""
    return f"{_SHORT.repr(value):.80}"


def usable(samples: Iterable[Sample]) -> list[Sample]:
    """The samples, none of which has a problem.

    Raises:
        DataError: one has; the text names the first, and how many there are.
    """
    samples = list(samples)
    problems = [sample.problem for sample in samples if sample.problem]
    if problems:
        more = f" (and {len(problems) - 1} more such samples)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")
    return samples
