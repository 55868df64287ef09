# SPDX-License-Identifier: Apache-2.0
"""The object of a mask step, with its score."""

from __future__ import annotations

from functools import partial

from lisa_ros.models.common.answers.steps import MaskStep
from lisa_ros.segmentation.answers import SEG_TEXT, AnswerKind, ObjectMask
from lisa_ros.segmentation.scoring import Calibration, evidence_for, pixel_probability


def scored_object(step: MaskStep, calibration: Calibration, kind: AnswerKind) -> ObjectMask:
    """The object whose `[SEG]` ends the answer so far, with its score.

    Args:
        step: the model's.
        calibration: the checkpoint's.
        kind: the kind of answer that was requested.
    """
    evidence = evidence_for(step.low_res, step.log_prob, step.shown)
    end = len(step.text)
    return ObjectMask(
        step.logits > 0,
        (end - len(SEG_TEXT), end),
        score=calibration.score(evidence, kind),
        score_calibrated=kind in calibration.regressions,
        evidence=evidence.as_dict() if evidence else None,
        probability=partial(pixel_probability, step.logits),
        attributes=step.attributes or {},
    )
