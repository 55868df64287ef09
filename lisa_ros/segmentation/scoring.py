# SPDX-License-Identifier: Apache-2.0
"""The confidence of a mask: the evidence for it, and the calibration that turns evidence into a probability.

A checkpoint's calibration is a small file beside its weights, fitted by `lisa calibrate`. Needs numpy alone.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_text
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.files.text_files import read_limited

_LOG = logging.getLogger(__name__)

FILE = "score.json"
"""Name of the calibration in a checkpoint folder."""
FORMAT = 1
RIGHT_IOU = 0.5
"""A mask counts as right from this IoU with the truth."""

_MAX_LOGIT = 30.0
"""Larger logits make no difference in float32: 1 - sigmoid(30) is 1e-13."""
_MIN_SURPRISE = 1e-5
_MIN_DOUBT = 1e-4
_MIN_SHARE = 1e-6


class ScoreFileError(LisaError):
    """A calibration file that cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True)
class Evidence:
    """The evidence for a mask that is not empty.

    Attributes:
        firmness: mean logit of the mask's pixels.
        expected_iou: IoU of the mask with the object if each pixel belongs to the object with the probability that its
            logit gives, independently of the others: sum of p inside / (pixels inside + sum of p outside).
        log_prob: log-probability of the least likely token of the answer up to and including the mask's own token. If
            the answer was given to the model, that of the given tokens.
        share: pixels of the mask / pixels of the image. Small objects are less often found rightly.
    """

    firmness: float
    expected_iou: float
    log_prob: float
    share: float

    def as_dict(self) -> dict[str, float]:
        """The numbers by name, for files."""
        return asdict(self)


NAMES = tuple(entry.name for entry in fields(Evidence))


def evidence_for(logits: NDArray[np.float32], log_prob: float, shown: float = 1.0) -> Evidence | None:
    """Compute the evidence for a mask; None for an empty one.

    Args:
        logits: Mask logits (h, w) of any resolution, without padding; the mask is logits > 0. The mask decoder's own
            resolution is enough, and takes a fraction of a millisecond.
        log_prob: See Evidence.
        shown: Share of the image that the logits are of.

    Raises:
        ValueError: A logit or log_prob is NaN, or a logit is infinite: the network has computed nonsense.
    """
    if not np.isfinite(logits).all() or math.isnan(log_prob):
        raise ValueError("the network's mask logits or token probabilities are NaN or infinite")
    inside = logits > 0
    pixels = np.count_nonzero(inside)
    if not pixels:
        return None
    probability = pixel_probability(logits)
    p_inside = float(probability[inside].sum(dtype=np.float64))
    p_outside = float(probability.sum(dtype=np.float64)) - p_inside
    firmness = float(np.minimum(logits[inside], _MAX_LOGIT).mean(dtype=np.float64))
    return Evidence(firmness, p_inside / (pixels + max(0.0, p_outside)), float(log_prob), shown * pixels / logits.size)


def pixel_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sigmoid of mask logits of any shape, float32."""
    out: NDArray[np.float32] = 1 / (1 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)))
    return out


def features(evidence: Evidence) -> NDArray[np.float64]:
    """The evidence on scales that suit a linear model: (4,), in the order of NAMES.

    The log-odds of expected_iou, and the logarithms of the surprise (-log_prob) of the least likely token and of the
    share.
    """
    iou = min(max(evidence.expected_iou, _MIN_DOUBT), 1 - _MIN_DOUBT)
    surprise = max(-evidence.log_prob, _MIN_SURPRISE)
    share = max(evidence.share, _MIN_SHARE)
    return np.array([evidence.firmness, math.log(iou / (1 - iou)), math.log(surprise), math.log(share)])


@dataclass(frozen=True)
class LogisticRegression:
    """Log-odds of a mask being right = bias + weights · features.

    Attributes:
        weights: in the order of NAMES.
    """

    bias: float
    weights: tuple[float, ...]

    def probability(self, evidence: Evidence) -> float:
        """The probability that the mask is right, 0 to 1."""
        odds = self.bias + float(features(evidence) @ np.array(self.weights))
        return 1 / (1 + math.exp(-min(max(odds, -_MAX_LOGIT), _MAX_LOGIT)))


@dataclass(frozen=True)
class Calibration:
    """Turns evidence into a score.

    Attributes:
        regressions: by kind of answer ("full", "mask_only"), because the probability of tokens that were given to the
            model means something else than that of its own.
        about: where it comes from, for people. Only "weights_sha256" is used: the checkpoint that it was fitted to.
    """

    regressions: Mapping[str, LogisticRegression]
    about: Mapping[str, Any]

    def score(self, evidence: Evidence | None, answer: str) -> float:
        """The probability that the mask is right, that is, has an IoU of RIGHT_IOU or more; 0 to 1.

        Args:
            evidence: None: the mask is empty, and its score 0.
            answer: The kind of answer. A kind without a regression, and every mask of a checkpoint without a
                calibration, gets expected_iou, which is not calibrated.
        """
        if evidence is None:
            return 0.0
        regression = self.regressions.get(answer)
        return regression.probability(evidence) if regression else evidence.expected_iou

    def text(self) -> str:
        """The content of the file."""
        answers = {
            kind: {"bias": one.bias, "weights": dict(zip(NAMES, one.weights, strict=True))}
            for kind, one in self.regressions.items()
        }
        return json.dumps({"format": FORMAT, "right_iou": RIGHT_IOU, "answers": answers, "about": self.about}, indent=2)


UNCALIBRATED = Calibration({}, {})


def read_calibration(folder: Path) -> Calibration:
    """Read a checkpoint folder's calibration.

    Returns:
        The calibration; UNCALIBRATED if the folder has none, as released checkpoints do, or, with a warning, if it was
        fitted to other weights than the folder's.

    Raises:
        ScoreFileError: The file cannot be used.
    """
    file = folder / FILE
    if not file.is_file():
        return UNCALIBRATED
    calibration = _read(file)
    if calibration.about.get("weights_sha256") == one_hash(weights_of(folder)):
        return calibration
    _LOG.warning(
        "%s was fitted to other weights and is ignored: scores are not calibrated. Run `lisa calibrate`.", file
    )
    return UNCALIBRATED


def carry_calibration(source: Path, target: Path) -> None:
    """Give a converted checkpoint the calibration of the checkpoint that it was made from, if that has one.

    The weights are the same in another form, so the calibration is kept and only their hash is replaced.

    Raises:
        ScoreFileError: The source's file cannot be used.
    """
    calibration = read_calibration(source)
    if calibration is UNCALIBRATED:
        (target / FILE).unlink(missing_ok=True)
        return
    about = {**calibration.about, "weights_sha256": one_hash(weights_of(target))}
    write_text(target / FILE, replace(calibration, about=about).text() + "\n")


def _read(file: Path) -> Calibration:
    data = read_limited(file, ScoreFileError)
    try:
        content = json.loads(data)
        if content["format"] != FORMAT or content["right_iou"] != RIGHT_IOU:
            raise ValueError(f"it has format {content['format']!r} for an IoU of {content['right_iou']!r}")
        regressions = {kind: _regression(one) for kind, one in content["answers"].items()}
        return Calibration(regressions, dict(content.get("about", {})))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ScoreFileError(
            f"{file} is not a calibration of this version ({reason}); write it with `lisa calibrate`, or delete it"
        ) from error


def _regression(content: Any) -> LogisticRegression:
    weights = {"share": 0.0, **content["weights"]}  # calibrations of earlier versions do without the share
    regression = LogisticRegression(float(content["bias"]), tuple(float(weights[name]) for name in NAMES))
    if not all(map(math.isfinite, (regression.bias, *regression.weights))):
        raise ValueError("it has a number that is not finite")
    return regression
