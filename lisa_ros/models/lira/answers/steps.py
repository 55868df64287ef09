# SPDX-License-Identifier: Apache-2.0
"""The steps of LIRA's answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import Answer, MaskStep, TextStep
from lisa_ros.models.lira.configuration import LOCAL_TOKEN, PHRASE_END_TOKEN, PHRASE_TOKEN

PHRASE_OPENING = f" {PHRASE_TOKEN}"
"""Inserted after every local view."""


_PHRASE = re.compile(rf"{re.escape(LOCAL_TOKEN)}\s*{re.escape(PHRASE_TOKEN)}(.*?){re.escape(PHRASE_END_TOKEN)}")


@dataclass(frozen=True, eq=False)
class RefinedStep:
    """The model has marked the last object once more, after its local view.

    Attributes:
        logits: as MaskStep's; None: not requested.
        text: the answer so far, this `[SEG]` last.
    """

    logits: NDArray[np.float32] | None
    text: str


AnswerStep = MaskStep | RefinedStep | TextStep | Answer


def phrase_after(answer: str, end: int) -> str:
    """The phrase of the object whose `[SEG]` ends at this position of the raw answer; empty if it has none."""
    match = _PHRASE.match(answer, end)
    return " ".join(match[1].split()) if match else ""
