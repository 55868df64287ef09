# SPDX-License-Identifier: Apache-2.0
"""How well a model does on images that it does not learn from, in short; `lisa evaluate` measures more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from lisa_ros.datasets.samples import Sample
from lisa_ros.evaluation.metrics import Overlap, Score, overlap, score
from lisa_ros.evaluation.protocols import Asking, generate
from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.training.scenes.frozen_features import image_of

MAX_NEW_TOKENS = 128


def score_held_out(segmenter: Segmenter, samples: Sequence[Sample]) -> Score:
    """Scores (gIoU, cIoU) of the protocol `generate`, with the first text of each image and the answer's first mask.

    Raises:
        DataError: an image or its truth cannot be read.
    """
    ask = generate(segmenter, "upstream", MAX_NEW_TOKENS)
    bar = tqdm(samples, desc="held out", unit="image", mininterval=10.0)
    return score([[_overlap_of(segmenter, ask, sample)] for sample in bar])


def _overlap_of(segmenter: Segmenter, ask: Asking, sample: Sample) -> Overlap:
    truth = sample.rounds[0].truth()
    height, width = truth.shape
    try:
        found = ask(segmenter.encode(image_of(sample)), sample.rounds[0], ()).mask("first", (height, width))
    except CommandError:  # too long for the model, which then finds nothing
        found = np.zeros(truth.shape, dtype=np.bool_)
    return overlap(found, truth)
