# SPDX-License-Identifier: Apache-2.0
"""An object as the doorway tells it, of a model whose words and mask logits say how sure it is."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.answers import SEG_TEXT, AnswerKind, ObjectMask
from lisa_ros.segmentation.scoring import Calibration, evidence_for, pixel_probability


class Marked(Protocol):
    """What LISA's and LIRA's mask steps have in common, see there."""

    @property
    def logits(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def coarse(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def answer(self) -> str: ...  # noqa: D102
    @property
    def log_prob(self) -> float: ...  # noqa: D102


def marked_object(step: Marked, calibration: Calibration, kind: AnswerKind) -> ObjectMask:
    """The object whose `[SEG]` ends the answer so far, with its score.

    Args:
        step: the model's.
        calibration: the checkpoint's.
        kind: what the model was asked for.
    """
    evidence = evidence_for(step.coarse, step.log_prob)
    end = len(step.answer)
    return ObjectMask(
        step.logits > 0,
        (end - len(SEG_TEXT), end),
        score=calibration.score(evidence, kind),
        score_calibrated=kind in calibration.regressions,
        evidence=evidence.as_dict() if evidence else None,
        probability=partial(pixel_probability, step.logits),
    )
