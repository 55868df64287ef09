# SPDX-License-Identifier: Apache-2.0
"""Where an answer is not certain: the model answers again from other regions of the image, and the answers vote.

Small shifts of a region change what a small model makes of small objects. The mean over several crops of an image is
more often right than one crop (Krizhevsky et al., ImageNet Classification with Deep CNNs, 2012, section 4.1), and so is
the answer that most answers agree with (Wang et al., Self-Consistency, arXiv 2203.11171).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import Answer, MaskStep, TextStep
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.segmentation.scoring import Calibration, evidence_for

CERTAIN = 0.9
"""From this confidence on the first answer stands alone."""
ENOUGH = 1.2
"""Support of an answer from which on no further look is needed, such as two that agree at a confidence of 0.6."""
REFUSAL_SHARE = 0.7
"""Of its confidence that an answer without a mask has in the vote: what a look shows badly is refused, and another look
may show it better."""

Step = MaskStep | TextStep | Answer


@dataclass(frozen=True, eq=False)
class Look:
    """One answer to a command.

    Attributes:
        steps: its steps, the Answer last.
        confidence: 0 to 1.
    """

    steps: tuple[Step, ...]
    confidence: float

    @cached_property
    def mask(self) -> NDArray[np.bool_] | None:
        """(H, W), the pixels of all its masks; None: it has no mask."""
        masks = [step.logits > 0 for step in self.steps if isinstance(step, MaskStep)]
        return np.any(masks, axis=0) if masks else None

    @property
    def weight(self) -> float:
        """What the answer counts in the vote."""
        return self.confidence * (REFUSAL_SHARE if self.mask is None else 1.0)

    @property
    def is_cancelled(self) -> bool:
        """Whether the answer was cancelled."""
        return isinstance(self.steps[-1], Answer) and self.steps[-1].reason == "cancelled"

    def agreement(self, other: Look) -> float:
        """IoU of all masks of both answers; 1 where neither has one."""
        if self.mask is None or other.mask is None:
            return float(self.mask is other.mask)
        return intersection_over_union(self.mask, other.mask)


def best_supported(answers: Iterable[Iterator[Step]], confidence: Callable[[Sequence[Step]], float]) -> Iterator[Step]:
    """The steps of the first answer if it is certain; else of the one that the answers support most.

    An answer's support is the sum of the weights of all answers, each times its agreement with the answer. No further
    answer is computed once one has support ENOUGH, or once the command is cancelled.

    Args:
        answers: the steps of each answer, the one from the best region first.
        confidence: of the steps of an answer, 0 to 1.
    """
    looks: list[Look] = []
    best = 0
    for answer in answers:
        steps = tuple(answer)
        looks.append(Look(steps, confidence(steps)))
        if looks[-1].is_cancelled:
            best = len(looks) - 1
        if looks[-1].is_cancelled or looks[0].confidence >= CERTAIN:
            break
        support = [sum(one.agreement(other) * other.weight for other in looks) for one in looks]
        best = int(np.argmax(support))
        if len(looks) > 1 and support[best] >= ENOUGH:
            break
    chosen = looks[best].steps
    looks.clear()  # the logits of the other answers are as large as the image
    yield from chosen


def confidence(calibration: Calibration, steps: Sequence[Step]) -> float:
    """Mean score of an answer's masks; without a mask, the probability of the answer's least likely token."""
    evidence = [evidence_for(step.low_res, step.log_prob, step.shown) for step in steps if isinstance(step, MaskStep)]
    if evidence:
        return float(np.mean([calibration.score(one, "full") for one in evidence]))
    return math.exp(steps[-1].log_prob) if isinstance(steps[-1], Answer) else 0.0
