# SPDX-License-Identifier: Apache-2.0
"""General data sets: examples that are mixed into a fine-tuning (replay), and an evaluation before and after it.

A model that is fine-tuned on a few images forgets much of what it could do (catastrophic forgetting). Replay of
earlier examples is the usual remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lisa_ros.datasets.catalogue import DATASETS, Source
from lisa_ros.datasets.samples import DataError, Sample, usable
from lisa_ros.evaluation.items import ItemLog
from lisa_ros.evaluation.protocols import generate
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.evaluation.tables import row_of
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.training.finetune.options import AUTO, CHECK_IMAGES, NONE, REPLAY_SHARE, General

TABLETOP = "tabletop"
FALL = 0.05
"""A number of the check that falls by more than this, 5 points, is warned about."""

MAX_NEW_TOKENS = 128

Figures = dict[str, float]

TITLES = {"giou": "gIoU", "refused_absent": "absent refused", "said": "named rightly"}
"""The numbers of a check, each 0 to 1 and better where higher."""


@dataclass(frozen=True)
class GeneralSet:
    """Samples of a general data set.

    Attributes:
        name: as given.
        samples: all usable.
        phrasing: how its questions are phrased, one of evaluation.options.PHRASINGS.
    """

    name: str
    samples: Sequence[Sample]
    phrasing: str


def chosen(text: str, checkpoint: Path) -> General | None:
    """The general data set that an option names.

    Args:
        text: AUTO, NONE, or General's text.
        checkpoint: the folder that is fine-tuned.
    """
    if text == NONE:
        return None
    if text == AUTO:
        return General(TABLETOP) if is_embedded(checkpoint) else None
    return General.parse(text)


def is_embedded(checkpoint: Path) -> bool:
    """Whether a checkpoint is the embedded model, or was fine-tuned from it: they share a small vocabulary."""
    file, own = checkpoint / "tokenizer.model", embedded_checkpoint() / "tokenizer.model"
    return file.is_file() and file.read_bytes() == own.read_bytes()


def share_of(replay: General | None) -> float:
    """The share of each batch's images that are replayed; 0 without a replay."""
    if replay is None:
        return 0.0
    return REPLAY_SHARE if replay.number is None else replay.number


def read_replay(replay: General, images: int, seed: int) -> GeneralSet:
    """The examples to mix in, as many as the training uses at most.

    Raises:
        DataError: they cannot be read.
    """
    return _read(replay.name, "train", images, seed, "--replay")


def read_check(check: General, seed: int) -> GeneralSet:
    """The questions that are scored before and after.

    Raises:
        DataError: they cannot be read.
    """
    images = CHECK_IMAGES if check.number is None else int(check.number)
    return _read(check.name, None, images, seed, "--check")


def _read(name: str, split: str | None, images: int, seed: int, option: str) -> GeneralSet:
    """A split of a data set, at most so many images of it; None: the split for validation."""
    dataset, equals, folder = name.partition("=")
    if not equals and name != TABLETOP:
        dataset, folder = "folder", name
    if dataset not in DATASETS:
        raise DataError(f"there is no data set {dataset!r}; there are {', '.join(DATASETS)}")
    data = DATASETS[dataset]
    limit = images if data.total is not None else None  # what is rendered is no more than is needed
    source = Source(Path(folder) if folder else None, split or data.split, limit=limit, option=option)
    samples = usable(data.read(data.resolve(source)))
    if len(samples) > images:
        picked = np.random.default_rng(seed).choice(len(samples), images, replace=False)
        samples = [samples[int(i)] for i in sorted(picked)]
    return GeneralSet(name, samples, "plain" if data.plain else "upstream")


def score_general(segmenter: Segmenter, general: GeneralSet, log: Path, title: str) -> Figures:
    """The numbers of a check, by the protocol `generate`.

    Args:
        segmenter: the model.
        general: the questions.
        log: file of the items; questions in it are not asked again.
        title: of the progress bar.

    Returns:
        those of TITLES that are defined for this data set, and "questions" and "failed".
    """
    ask = generate(segmenter, general.phrasing, MAX_NEW_TOKENS)
    with ItemLog(log) as items:
        evaluate(general.samples, segmenter, ask, items, title=title)
        row = row_of("", list(items.items.values()))
    figures = {name: row[name] for name in TITLES if row[name] is not None}
    return {**figures, "questions": row["items"], "failed": row["failed"]}


def described(figures: Figures) -> str:
    """For people: "gIoU 0.848, absent refused 97.9 %, named rightly 86.6 %"."""
    parts = [
        f"{title} {figures[name]:.3f}" if name == "giou" else f"{title} {100 * figures[name]:.1f} %"
        for name, title in TITLES.items()
        if name in figures
    ]
    return ", ".join(parts)


def falls(before: Figures, after: Figures, name: str) -> list[str]:
    """A sentence for each number that fell by more than FALL."""
    return [
        f"on {name}, {title} fell from {100 * before[key]:.1f} to {100 * after[key]:.1f} points: the model has "
        "forgotten some of what it could do"
        for key, title in TITLES.items()
        if key in before and key in after and before[key] - after[key] > FALL
    ]
