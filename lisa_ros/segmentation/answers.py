# SPDX-License-Identifier: Apache-2.0
"""What a model answers: events, masks and their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""


Mask = NDArray[np.bool_]
"""(H, W), size of the picture."""


Reference = int | Mask
"""The number of an earlier turn (Turn.number), or a mask from elsewhere, of the image's size."""


SEG_TEXT = "[SEG]"


_MARKS = re.compile(r"\[SEG\]|<image_id>|</?p>")
"""What stands in an answer for a mask, a close look, and the two ends of an object's phrase."""


AnswerKind = Literal["full", "mask_only"]
"""What is wanted of a model: all that it says, or one mask, as soon as can be, and none of its words."""


ANSWER_KINDS: tuple[AnswerKind, ...] = ("full", "mask_only")


class CommandError(ValueError):
    """A command that the model cannot be asked; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Region:
    """An object as a model is shown it again in a later turn, in the picture that the model itself works on.

    Attributes:
        mask: (H', W').
        box: x0, y0, x1, y1 in its pixels; may say more than the mask, which can be empty.
    """

    mask: Mask
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ObjectMask:
    """One object that an answer names.

    Attributes:
        mask: where it is.
        span: [begin, end) of its `[SEG]` in the raw answer, in characters.
        score: how likely the mask is right, 0 to 1: has an IoU of 0.5 or more with what was asked for. That holds where
            the checkpoint has a calibration, see segmentation.scoring; without one it only ranks. None: the model
            reports none.
        evidence: what the score was made of, by name; a calibration is fitted to it. None: nothing.
        probability: computes (H, W) float32, of each pixel being the object's, as the model has it; above 0.5 in the
            mask. None: the model does not say. It holds on to a picture's worth of memory, and is not kept with a turn.
        region: what the model wants to be given again with the turn; None: nothing.
        phrase: the words of the answer that name the object; empty: the model does not say.
        refined: a second, closer look at the same object; None: there was none.
        box: the model's own box around it, x0, y0, x1, y1 in the picture's pixels; may reach outside of the picture and
            differ from the mask's; None: the model does not say.
        attributes: kind of word -> word -> how much the model inclines to it at the `[SEG]` (a logit); for the eye.
    """

    mask: Mask
    span: tuple[int, int]
    score: float | None = None
    evidence: Mapping[str, float] | None = None
    probability: Callable[[], NDArray[np.float32]] | None = None
    region: Region | None = None
    phrase: str = ""
    refined: Mask | None = None
    box: tuple[float, float, float, float] | None = None
    attributes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskFound:
    """An object was named; the answer may go on."""

    object: ObjectMask


@dataclass(frozen=True)
class TextDelta:
    """More of the raw answer. All deltas together are the answer, up to white space."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is whole; nothing follows.

    Attributes:
        answer: the raw answer, `[SEG]` in place of each object.
        objects: in the order in which the answer names them.
        reason: "end", "length" (cut at max_new_tokens) or "cancelled".
        references: numbers of the earlier turns whose masks the model was given.
    """

    answer: str
    objects: tuple[ObjectMask, ...]
    reason: Literal["end", "length", "cancelled"]
    references: tuple[int, ...] = ()


Event = MaskFound | TextDelta | Finished


def explanation_of(answer: str) -> str:
    """A raw answer without its marks, for people: "Sure, [SEG] . It is red." -> "Sure. It is red."."""
    text = re.sub(r"\s+", " ", _MARKS.sub(" ", answer))
    text = re.sub(r" (?=[.,;:!?])", "", text)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)  # the comma before a [SEG] that ended the sentence
    return re.sub(r"^[\s.,;:!?]+", "", text).strip()
