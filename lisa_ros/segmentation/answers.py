# SPDX-License-Identifier: Apache-2.0
"""What a model answers: events, and the objects with their masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Mask = NDArray[np.bool_]
"""(H, W), of the image's size."""

Reference = int | Mask
"""The number of an earlier turn (Turn.number), or a mask from elsewhere, of the image's size."""

SEG_TEXT = "[SEG]"
"""Stands for a mask in a raw answer."""

AnswerKind = Literal["full", "mask_only"]
"""What is wanted of a model: its whole answer, or one mask as fast as possible and no text."""

ANSWER_KINDS: tuple[AnswerKind, ...] = ("full", "mask_only")


def check_answer_kind(answer: str) -> None:
    """Raises a ValueError unless it is one of ANSWER_KINDS."""
    if answer not in ANSWER_KINDS:
        raise ValueError(f"answer is {answer!r}; it can be {' or '.join(map(repr, ANSWER_KINDS))}")


class CommandError(LisaError):
    """A command that the model cannot answer; the text is one sentence for the operator."""


@dataclass(frozen=True, eq=False)
class Region:
    """An object as a model wants it back in a later turn, in the model's own image coordinates.

    Attributes:
        mask: (H', W').
        box: x0, y0, x1, y1 in its pixels. It may differ from the mask's box; the mask can be empty.
    """

    mask: Mask
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object of an answer. Compared by identity.

    Attributes:
        mask: its pixels.
        span: [begin, end) of its `[SEG]` in the raw answer, in characters.
        score: the mask's confidence, 0 to 1. With a calibration (see segmentation.scoring) it is the probability that
            the mask's IoU with the true object is 0.5 or more; without one it only ranks masks. None: the model
            reports none.
        score_calibrated: whether the score comes from a calibration.
        evidence: the numbers that the score was computed from, by name; a calibration is fitted to them. None: none.
        probability: computes (H, W) float32, the model's probability that a pixel belongs to the object; above 0.5
            inside the mask. None: the model has none. It keeps H x W float32 alive and is not stored with a turn.
        region: what the model wants back with this turn in later ones; None: nothing.
        phrase: the part of the answer that names the object; empty: the model does not say.
        refined: a second mask of the object, made from a closer view of it; None: there is none.
        box: the model's own box, x0, y0, x1, y1 in the image's pixels. It may reach out of the image and differ from
            the mask's box. None: the model has none.
        attributes: family of words -> word -> logit of that word at the `[SEG]`, for inspection only.
    """

    mask: Mask = field(repr=False)
    span: tuple[int, int]
    score: float | None = None
    score_calibrated: bool = False
    evidence: Mapping[str, float] | None = None
    probability: Callable[[], NDArray[np.float32]] | None = field(default=None, repr=False)
    region: Region | None = None
    phrase: str = ""
    refined: Mask | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskFound:
    """The model has marked an object. More of the answer may follow."""

    object: ObjectMask


@dataclass(frozen=True)
class TextDelta:
    """More of the raw answer. All deltas of an answer joined are the raw answer, up to white space."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is complete. Nothing follows.

    Attributes:
        answer: the raw answer, with `[SEG]` in place of each object; for people, see segmentation.text.explanation_of.
        objects: in the order of the answer.
        reason: "end", "length" (cut at max_new_tokens) or "cancelled".
        references: numbers of the earlier turns whose masks the model was given.
        model: the name of the model that answered, where the segmenter has several; empty: Segmenter.name.
        note: one sentence for people about what the model cannot do of this command; empty: nothing.
    """

    answer: str
    objects: tuple[ObjectMask, ...]
    reason: Literal["end", "length", "cancelled"]
    references: tuple[int, ...] = ()
    model: str = ""
    note: str = ""


Event = MaskFound | TextDelta | Finished


def check_objects(objects: Sequence[ObjectMask], size: tuple[int, int]) -> None:
    """Check what a model has computed before anything is published or remembered.

    Args:
        objects: Of an answer.
        size: (H, W) of the image.

    Raises:
        ValueError: A mask has another size, or a score is not between 0 and 1 (NaN and infinity are not).
    """
    for found in objects:
        if found.mask.shape != size:
            raise ValueError(f"the model returned a mask of shape {found.mask.shape} for an image of shape {size}")
        if found.score is not None and not 0.0 <= found.score <= 1.0:
            raise ValueError(f"the model returned the score {found.score}; a score lies between 0 and 1")
