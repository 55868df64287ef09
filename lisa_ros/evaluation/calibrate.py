# SPDX-License-Identifier: Apache-2.0
"""Fits a checkpoint's mask scores to a data set's truth: what `lisa calibrate` does."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros import __version__
from lisa_ros.datasets.catalogue import Source
from lisa_ros.evaluation.evaluate import INTERRUPTED, Evaluation, Load, run_evaluation
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import crops_of, load_segmenter, with_one_crop
from lisa_ros.segmentation.answers import ANSWER_KINDS, AnswerKind
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_bytes, write_text
from lisa_ros.segmentation.files.output_folders import check_output_folder
from lisa_ros.segmentation.scoring import (
    FILE,
    NAMES,
    RIGHT_IOU,
    Calibration,
    Evidence,
    LogisticRegression,
    features,
    read_calibration,
)

FEWEST = 20
"""Right masks, and wrong ones, below which a fit would be a guess: it has four weights and a bias."""

_RIDGE = 1.0
"""Strength of the L2 penalty, in units of one mask. It keeps the fit finite where right and wrong are separable."""
_NEWTON_STEPS = 30


@dataclass(frozen=True)
class Calibrating:
    """The input of a calibration.

    Attributes:
        dataset, source, phrasing: the questions, see Evaluation. Use others than those of the evaluation.
        output: folder for the answers, a folder for each kind of answer; an interrupted run resumes there.
        checkpoint, options, max_new_tokens: the model. The calibration is written into the checkpoint's folder.
        force: replace a calibration of the same weights that was fitted to more masks.
    """

    dataset: str
    source: Source
    output: Path
    checkpoint: Path
    options: LoadOptions = dataclasses.field(default_factory=LoadOptions)
    max_new_tokens: int = 512
    phrasing: str | None = None
    force: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """The questions and the version, for score.json."""
        limit = self.source.limit
        crops = {"crops": 1} if self.votes else {}
        return {"dataset": self.dataset, "split": self.source.split, "limit": limit, **crops, "lisa_ros": __version__}

    @property
    def votes(self) -> bool:
        """Whether answers of the model from several crops vote."""
        return crops_of(self.checkpoint, self.options) > 1

    def evaluation(self, kind: AnswerKind) -> Evaluation:
        """The run that asks the questions, for one of ANSWER_KINDS.

        An answer with several masks is scored as their union, which has no evidence: it is left out of the fit. Each of
        its masks is a part of what is meant, and would count as wrong.
        """
        shared = {
            name: getattr(self, name) for name in ("dataset", "source", "checkpoint", "max_new_tokens", "phrasing")
        }
        # Which of several answers counts depends on the scores, which are still to be fitted.
        options = with_one_crop(self.options) if self.votes else self.options
        return Evaluation(
            **shared,
            options=options,
            protocol="generate",
            output=self.output / kind,
            rule="union",
            report_images=0,
            answer=kind,
            reports_score_quality=False,
        )


def calibrate(wanted: Calibrating, load: Load = load_segmenter) -> int:
    """Asks the data set's questions, once for each kind of answer, fits a logistic regression, writes score.json.

    An earlier score.json is kept beside it as score.json.bak.

    Returns:
        the exit status: 0; 1, some questions failed; 130 after Ctrl-C, then nothing is written.

    Raises:
        ValueError: as run_evaluation; or there are too few masks of either outcome; or the checkpoint has a
            calibration that was fitted to more of them.
        OSError: the checkpoint's folder cannot be written.
    """
    file = wanted.checkpoint / FILE
    check_output_folder(wanted.checkpoint)
    print(f"the calibration will be written to {file}")
    if wanted.votes:
        print("each question is answered from one crop of the image: which of several answers counts depends on scores")
    lines: dict[str, LogisticRegression] = {}
    counts: dict[str, dict[str, int]] = {}
    weights, status = "", 0
    for kind in ANSWER_KINDS:
        evaluation = wanted.evaluation(kind)
        if (ended := run_evaluation(evaluation, load)) == INTERRUPTED:
            return ended
        status = max(status, ended)
        results = json.loads((evaluation.output / "results.json").read_bytes())
        lines[kind], counts[kind] = _fitted(results["items"], kind)
        print(f"answer {kind}: fitted to {counts[kind]['right']} right and {counts[kind]['wrong']} wrong masks")
        weights = results["weights_sha256"]
    if not wanted.force:
        _check_replaced(wanted.checkpoint, counts)
    about = {**wanted.about, "masks": counts, "weights_sha256": weights}
    _write(file, Calibration(lines, about).text() + "\n")
    return status


def _check_replaced(checkpoint: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Raises a ValueError where the checkpoint's calibration is of its weights, and was fitted to more masks."""
    about = read_calibration(checkpoint).about
    for kind, new in counts.items():
        old = about.get("masks", {}).get(kind, {})
        if min(old.get("right", 0), old.get("wrong", 0)) > min(new.values()):
            raise LisaError(
                f"{checkpoint / FILE} was fitted to {old['right']} right and {old['wrong']} wrong masks "
                f"(answer {kind}), the new one to {new['right']} and {new['wrong']}; --force replaces it"
            )


def _write(file: Path, text: str) -> None:
    """Writes the calibration; an earlier one of another content is kept under a new name."""
    if file.is_file() and (earlier := file.read_bytes()) != text.encode():
        names = (file.with_name(f"{file.name}.bak{number or ''}") for number in itertools.count())
        # One with the same content is there if the command was stopped before it wrote the new calibration.
        kept = next(name for name in names if not name.exists() or _has(name, earlier))
        if not kept.exists():
            write_bytes(kept, earlier)  # the checkpoint has its old scores until it has the new ones
        print(f"the earlier calibration is kept as {kept}")
    write_text(file, text)
    print(file)


def _has(file: Path, content: bytes) -> bool:
    return file.is_file() and file.read_bytes() == content


def _fitted(items: Sequence[Mapping[str, Any]], kind: str) -> tuple[LogisticRegression, dict[str, int]]:
    """The logistic regression of a run's masks, and how many of them are right and wrong."""
    masks = [item for item in items if item["failed"] is None and item["found_pixels"] and item["evidence"]]
    if not masks:
        raise LisaError(f"no answer ({kind}) has a mask with evidence that a score could be made from")
    if other := next((one for one in masks if set(one["evidence"]) != set(NAMES)), None):
        named = ", ".join(other["evidence"])
        raise LisaError(f"the model's evidence is {named}; a calibration can be fitted to {', '.join(NAMES)}")
    right = np.array([item["iou"] >= RIGHT_IOU for item in masks])
    counts = {"right": int(right.sum()), "wrong": int((~right).sum())}
    if min(counts.values()) < FEWEST:
        raise LisaError(
            f"{counts['right']} masks are right and {counts['wrong']} wrong (answer {kind}); a score needs at least "
            f"{FEWEST} of each: use more questions"
        )
    return fit_line([Evidence(**item["evidence"]) for item in masks], right), counts


def fit_line(evidence: Sequence[Evidence], right: NDArray[np.bool_]) -> LogisticRegression:
    """The logistic regression of outcomes, with a small ridge, by Newton's method.

    Args:
        evidence: of masks.
        right: (n,) which of them are right.
    """
    values = np.array([features(one) for one in evidence])
    mean, spread = values.mean(0), np.maximum(values.std(0), 1e-9)
    inputs = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    ridge = _RIDGE * np.diag([0.0, *np.ones(values.shape[1])])
    weights = np.zeros(inputs.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        gradient = inputs.T @ (probability - right) + ridge @ weights
        hessian = inputs.T @ (inputs * (probability * (1 - probability))[:, None]) + ridge
        weights -= np.linalg.solve(hessian, gradient)
    own = weights[1:] / spread
    return LogisticRegression(float(weights[0] - own @ mean), tuple(float(one) for one in own))
