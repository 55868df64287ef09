# SPDX-License-Identifier: Apache-2.0
"""The steps of LIRA's answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.lira.answers.attributes import Attributes
from lisa_ros.models.lira.configuration import LOCAL_TOKEN, PHRASE_END_TOKEN, PHRASE_TOKEN
from lisa_ros.models.lira.reading import Part

PHRASE_OPENING = f" {PHRASE_TOKEN}"
"""Put behind every close look."""


Reason = Literal["end", "length", "cancelled"]


_PHRASE = re.compile(rf"{re.escape(LOCAL_TOKEN)}\s*{re.escape(PHRASE_TOKEN)}(.*?){re.escape(PHRASE_END_TOKEN)}")


@dataclass(frozen=True)
class MaskStep:
    """The model has named an object.

    Attributes:
        logits: (H, W) float32, size of the picture; the mask is logits > 0.
        coarse: (h, w) float32, the same before upsampling, see MaskLogits.
        answer: the answer up to its `[SEG]`, that included.
        log_prob: the logarithm of the probability that the model gives the least likely word of that answer.
        attributes: words at the `[SEG]`, where they are asked for.
    """

    logits: NDArray[np.float32]
    coarse: NDArray[np.float32]
    answer: str
    log_prob: float
    attributes: Attributes | None = None


@dataclass(frozen=True)
class RefinedStep:
    """The model has marked the last object once more, after a close look.

    Attributes:
        logits: as MaskStep's; None: they are not asked for.
        answer: the answer up to this `[SEG]`, that included.
    """

    logits: NDArray[np.float32] | None
    answer: str


@dataclass(frozen=True)
class TextStep:
    """The model has said another word.

    Attributes:
        answer: the answer so far.
    """

    answer: str


@dataclass(frozen=True)
class Answer:
    """The model has ended.

    Attributes:
        text: the raw answer.
        prompt: what it answers.
        ids: what the model said itself, the closing mark included.
        reason: "end", "length" (cut at max_new_tokens, or the context is full) or "cancelled".
    """

    text: str
    prompt: tuple[Part, ...]
    ids: tuple[int, ...]
    reason: Reason


AnswerStep = MaskStep | RefinedStep | TextStep | Answer


def phrase_after(answer: str, end: int) -> str:
    """The words that name the object whose `[SEG]` ends at a place of the raw answer; empty where there are none."""
    match = _PHRASE.match(answer, end)
    return " ".join(match[1].split()) if match else ""
