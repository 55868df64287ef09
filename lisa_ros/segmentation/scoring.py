# SPDX-License-Identifier: Apache-2.0
"""How likely a mask is right: what speaks for it, and the calibration that makes one number of that.

A checkpoint's calibration is a small file beside its weights, fitted by `lisa calibrate`. Needs numpy alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "score.json"
"""The calibration's name in a checkpoint folder."""
FORMAT = 1
RIGHT_IOU = 0.5
"""A mask is called right from this IoU with the truth."""

_STEEPEST = 30.0
"""Logits beyond this say nothing more in float32: 1 - sigmoid(30) is 1e-13."""
_LEAST_SURPRISE = 1e-5
_LEAST_DOUBT = 1e-4


class ScoreFileError(ValueError):
    """A calibration file that cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a mask, of those that are not empty.

    Attributes:
        firmness: mean logit of its pixels.
        expected_iou: IoU that it has with the object if every pixel is the object's with the probability that its
            logit says, the pixels independent and many: sum of p inside / (pixels inside + sum of p outside).
        log_prob: of the least likely word up to and with the mask's own token; where the model's answer was put into
            its mouth, of the words that were put there.
    """

    firmness: float
    expected_iou: float
    log_prob: float

    def told(self) -> dict[str, float]:
        """By name, for files."""
        return asdict(self)


NAMES = tuple(entry.name for entry in fields(Evidence))


def weigh(logits: NDArray[np.float32], log_prob: float) -> Evidence | None:
    """The evidence for a mask; None for an empty one.

    Args:
        logits: (h, w) in any size, the picture's part alone; the mask is logits > 0. A mask decoder's own size serves:
            it is small, so that this takes a fraction of a millisecond.
        log_prob: see Evidence.
    """
    inside = logits > 0
    pixels = np.count_nonzero(inside)
    if not pixels:
        return None
    probability = pixel_probability(logits)
    within = float(probability[inside].sum(dtype=np.float64))
    beyond = float(probability.sum(dtype=np.float64)) - within
    firmness = float(np.minimum(logits[inside], _STEEPEST).mean(dtype=np.float64))
    return Evidence(firmness, within / (pixels + max(0.0, beyond)), float(log_prob))


def pixel_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sigmoid of mask logits of any shape, float32."""
    steep = np.clip(logits, -_STEEPEST, _STEEPEST)
    out: NDArray[np.float32] = 1 / (1 + np.exp(-steep))
    return out


def features(evidence: Evidence) -> NDArray[np.float64]:
    """The evidence in scales on which a line fits: (3,), in the order of NAMES.

    The log-odds of expected_iou, and the logarithm of how surprising the least likely word was.
    """
    iou = min(max(evidence.expected_iou, _LEAST_DOUBT), 1 - _LEAST_DOUBT)
    surprise = max(-evidence.log_prob, _LEAST_SURPRISE)
    return np.array([evidence.firmness, math.log(iou / (1 - iou)), math.log(surprise)])


@dataclass(frozen=True)
class Line:
    """A logistic regression: log-odds of being right = bias + weights · features.

    Attributes:
        weights: in the order of NAMES.
    """

    bias: float
    weights: tuple[float, ...]

    def probability(self, evidence: Evidence) -> float:
        """0 to 1."""
        odds = self.bias + float(features(evidence) @ np.array(self.weights))
        return 1 / (1 + math.exp(-min(max(odds, -_STEEPEST), _STEEPEST)))


@dataclass(frozen=True)
class Calibration:
    """What turns evidence into a score.

    Attributes:
        lines: by kind of answer ("full", "mask_only"), since words that were put into the model's mouth say
            something else than its own.
        about: where it comes from, for people; nothing depends on it.
    """

    lines: Mapping[str, Line]
    about: Mapping[str, Any]

    def score(self, evidence: Evidence | None, answer: str) -> float:
        """How likely the mask is right, 0 to 1: the share of such masks with an IoU of RIGHT_IOU or more.

        Args:
            evidence: None: the mask is empty, and its score 0.
            answer: the kind of answer. One that the calibration was not fitted for gets the evidence's expected_iou,
                which is in no way calibrated; so do all masks of a checkpoint without a calibration.
        """
        if evidence is None:
            return 0.0
        line = self.lines.get(answer)
        return line.probability(evidence) if line else evidence.expected_iou

    def text(self) -> str:
        """The file's content."""
        lines = {
            kind: {"bias": line.bias, "weights": dict(zip(NAMES, line.weights, strict=True))}
            for kind, line in self.lines.items()
        }
        return json.dumps({"format": FORMAT, "right_iou": RIGHT_IOU, "answers": lines, "about": self.about}, indent=2)


UNCALIBRATED = Calibration({}, {})


def read_calibration(folder: Path) -> Calibration:
    """A checkpoint folder's calibration; UNCALIBRATED where it has none, as released checkpoints do.

    Raises:
        ScoreFileError: there is a file that cannot be used.
    """
    file = folder / FILE
    if not file.is_file():
        return UNCALIBRATED
    try:
        told = json.loads(file.read_bytes())
        if told["format"] != FORMAT or told["right_iou"] != RIGHT_IOU:
            raise ValueError(f"it is of format {told['format']!r} for an IoU of {told['right_iou']!r}")
        return Calibration({kind: _line(one) for kind, one in told["answers"].items()}, told.get("about", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ScoreFileError(
            f"{file} is no calibration of this version ({reason}); make it with `lisa calibrate`, or delete it"
        ) from error


def _line(told: Any) -> Line:
    line = Line(float(told["bias"]), tuple(float(told["weights"][name]) for name in NAMES))
    if not all(map(math.isfinite, (line.bias, *line.weights))):
        raise ValueError("it has a number that is not finite")
    return line
