# SPDX-License-Identifier: Apache-2.0
"""Where an answer is not certain: the model answers again from other crops of the image, and the answers vote.

Small shifts of a crop change what a small model makes of small objects. The mean over several crops of an image is
more often right than one crop (Krizhevsky et al., ImageNet Classification with Deep CNNs, 2012, section 4.1), and so is
the answer that most answers agree with (Wang et al., Self-Consistency, arXiv 2203.11171).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import Answer, MaskStep, Reason, TextStep
from lisa_ros.models.common.errors import DeviceMemoryError, MemoryLimitError, NotFiniteError
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.segmentation.scoring import Calibration, evidence_for

_LOG = logging.getLogger(__name__)

CERTAIN = 0.9
"""From this confidence on the first answer stands alone."""
ENOUGH = 1.2
"""Support of an answer from which on no further crop is needed, such as two that agree at a confidence of 0.6."""
REFUSAL_SHARE = 0.7
"""Share of its confidence with which an answer without a mask counts: an object that a crop shows badly is refused, and
another crop may show it better."""

Step = MaskStep | TextStep | Answer
Steps = tuple[Step, ...]
"""The steps of one answer, the Answer last."""


@dataclass(frozen=True, eq=False)
class CropAnswer:
    """The answer to a command from one crop of the image.

    Attributes:
        steps: its steps, the Answer last.
        confidence: 0 to 1.
        mask: (H, W), the pixels of all its masks; None: it has no mask.
    """

    steps: Steps
    confidence: float
    mask: NDArray[np.bool_] | None

    @property
    def weight(self) -> float:
        """How much the answer counts in the vote."""
        return self.confidence * (REFUSAL_SHARE if self.mask is None else 1.0)

    def agreement(self, other: CropAnswer) -> float:
        """IoU of all masks of both answers; 1 where neither has one."""
        if self.mask is None or other.mask is None:
            return float(self.mask is other.mask)
        return intersection_over_union(self.mask, other.mask)


def best_supported(
    answers: Iterator[Iterator[Step]],
    confidence: Callable[[Sequence[Step]], float],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """The steps of the first answer if it is certain; else of the one that the answers support most.

    An answer's support is the sum of the weights of all answers, each times its agreement with the answer. No further
    answer is computed once one has support ENOUGH, once an answer is cut at its greatest length, or once the command is
    cancelled. A further answer that fails or is cut does not count.

    Args:
        answers: the steps of each answer, the one from the best crop first.
        confidence: of the steps of an answer, 0 to 1.
        cancelled: whether the command is cancelled; what is complete then counts.
    """
    yield from _chosen(answers, confidence, cancelled)


def _chosen(
    answers: Iterator[Iterator[Step]], confidence: Callable[[Sequence[Step]], float], cancelled: Callable[[], bool]
) -> Steps:
    """As best_supported. Returns before the first step is taken, so that the logits of the other answers are freed."""
    steps = tuple(next(answers))
    if _reason(steps) != "end" or (certainty := confidence(steps)) >= CERTAIN:
        return steps
    given = [CropAnswer(steps, certainty, _mask(steps))]
    support = [given[0].weight]
    while max(support) < ENOUGH and not cancelled() and (further := _next_of(answers)) is not None:
        if _reason(further) == "cancelled":
            return further
        if _reason(further) == "length":
            break
        new = CropAnswer(further, confidence(further), _mask(further))
        agreement = [new.agreement(one) for one in given]
        support = [old + each * new.weight for old, each in zip(support, agreement, strict=True)]
        support.append(sum(each * one.weight for each, one in zip(agreement, given, strict=True)) + new.weight)
        given.append(new)
    return given[int(np.argmax(support))].steps


def _next_of(answers: Iterable[Iterator[Step]]) -> Steps | None:
    """The steps of the next answer; None where there is none, or it fails for want of memory or in its numbers."""
    try:
        return next((tuple(answer) for answer in answers), None)
    except (MemoryError, MemoryLimitError, DeviceMemoryError, NotFiniteError) as error:
        _LOG.warning("The answer from another crop of the image failed and does not count: %s", error)
        return None


def _reason(steps: Steps) -> Reason | None:
    """Why an answer ended; None: it has no Answer."""
    return steps[-1].reason if steps and isinstance(steps[-1], Answer) else None


def _mask(steps: Steps) -> NDArray[np.bool_] | None:
    masks = [step.logits > 0 for step in steps if isinstance(step, MaskStep)]
    return np.any(masks, axis=0) if masks else None


def confidence(calibration: Calibration, steps: Sequence[Step]) -> float:
    """Mean score of an answer's masks; without a mask, the probability of the answer's least likely token."""
    evidence = [evidence_for(step.low_res, step.log_prob, step.shown) for step in steps if isinstance(step, MaskStep)]
    if evidence:
        return float(np.mean([calibration.score(one, "full") for one in evidence]))
    return math.exp(steps[-1].log_prob) if isinstance(steps[-1], Answer) else 0.0
