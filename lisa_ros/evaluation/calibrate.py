# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's scores fitted to a data set's truth: what `lisa calibrate` does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros import __version__
from lisa_ros.datasets.catalogue import Source
from lisa_ros.evaluation.evaluate import Evaluation, Load, run_evaluation
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import ANSWER_KINDS
from lisa_ros.segmentation.atomic_files import write_text
from lisa_ros.segmentation.scoring import FILE, RIGHT_IOU, Calibration, Evidence, LogisticRegression, features

FEWEST = 20
"""Right masks, and wrong ones, below which a fit is a guess: three weights and a bias are to be told from them."""

_RIDGE = 1.0
"""Strength of the pull towards weights of 0, in units of one mask; it keeps a fit finite where a line parts all."""
_NEWTON_STEPS = 30


@dataclass(frozen=True)
class Calibrating:
    """What is to be calibrated, and on what.

    Attributes:
        dataset, source, limit, phrasing: the questions, see Evaluation; not those that the model is later judged by.
        output: folder for the answers, a folder for each kind of answer; an interrupted run goes on there.
        checkpoint, options, max_new_tokens: the model. The calibration is written into the checkpoint's folder.
    """

    dataset: str
    source: Source
    output: Path
    checkpoint: Path
    options: LoadOptions = dataclasses.field(default_factory=LoadOptions)
    max_new_tokens: int = 512
    limit: int | None = None
    phrasing: str | None = None

    def evaluation(self, kind: str) -> Evaluation:
        """The run that asks the questions, for one of ANSWER_KINDS."""
        return Evaluation(
            dataset=self.dataset,
            source=self.source,
            protocol="generate",
            output=self.output / kind,
            checkpoint=self.checkpoint,
            options=self.options,
            max_new_tokens=self.max_new_tokens,
            limit=self.limit,
            phrasing=self.phrasing,
            pictures=0,
            answer="mask_only" if kind == "mask_only" else "full",
            judges_scores=False,
        )


def calibrate(wanted: Calibrating, load: Load = load_segmenter) -> int:
    """Asks the data set's questions, once for each kind of answer, fits a line to each, and writes score.json.

    Returns:
        the exit status: 0, or 130 after Ctrl-C; then nothing is written.

    Raises:
        ValueError: as run_evaluation; or there are too few masks of either outcome.
        OSError: the checkpoint's folder cannot be written.
    """
    lines: dict[str, LogisticRegression] = {}
    told, weights = {}, None
    for kind in ANSWER_KINDS:
        evaluation = wanted.evaluation(kind)
        if status := run_evaluation(evaluation, load):
            return status
        results = json.loads((evaluation.output / "results.json").read_bytes())
        lines[kind], told[kind] = _fitted(results["items"], kind)
        print(f"answer {kind}: fitted to {told[kind]['right']} right and {told[kind]['wrong']} wrong masks")
        weights = results["weights_sha256"]
    about = {
        "dataset": wanted.dataset,
        "split": wanted.source.split,
        "limit": wanted.limit,
        "masks": told,
        "weights_sha256": weights,
        "lisa_ros": __version__,
    }
    write_text(wanted.checkpoint / FILE, Calibration(lines, about).text() + "\n")
    print(wanted.checkpoint / FILE)
    return 0


def _fitted(items: Sequence[Mapping[str, Any]], kind: str) -> tuple[LogisticRegression, dict[str, int]]:
    """A line for the masks among a run's items, and how many of them were right and wrong."""
    masks = [item for item in items if item["failed"] is None and item["found_pixels"] and item["evidence"]]
    if not masks:
        raise ValueError(f"no answer ({kind}) has a mask with evidence that a score could be made of")
    right = np.array([item["iou"] >= RIGHT_IOU for item in masks])
    counts = {"right": int(right.sum()), "wrong": int((~right).sum())}
    if min(counts.values()) < FEWEST:
        raise ValueError(
            f"{counts['right']} masks are right and {counts['wrong']} wrong (answer {kind}); a score needs at least "
            f"{FEWEST} of each: take more questions"
        )
    return fit_line([Evidence(**item["evidence"]) for item in masks], right), counts


def fit_line(evidence: Sequence[Evidence], right: NDArray[np.bool_]) -> LogisticRegression:
    """The logistic regression of outcomes, with a small ridge, by Newton's method.

    Args:
        evidence: of masks.
        right: (n,) which of them are right.
    """
    told = np.array([features(one) for one in evidence])
    middle, spread = told.mean(0), np.maximum(told.std(0), 1e-9)
    inputs = np.column_stack([np.ones(len(told)), (told - middle) / spread])
    ridge = _RIDGE * np.diag([0.0, *np.ones(told.shape[1])])
    weights = np.zeros(inputs.shape[1])
    for _ in range(_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (probability - right) + ridge @ weights
        bend = inputs.T @ (inputs * (probability * (1 - probability))[:, None]) + ridge
        weights -= np.linalg.solve(bend, slope)
    own = weights[1:] / spread
    return LogisticRegression(float(weights[0] - own @ middle), tuple(float(one) for one in own))
