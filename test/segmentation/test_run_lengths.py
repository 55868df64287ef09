# SPDX-License-Identifier: Apache-2.0
"""Run lengths are COCO's, and those that do not fit their image are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from lisa_ros.segmentation.files.run_lengths import mask_of, runs_of, runs_of_text

RANDOM = np.random.default_rng(1)
MASK = RANDOM.random((40, 60)) > 0.5


@pytest.mark.parametrize("mask", [MASK, ~MASK, np.zeros((3, 4), bool), np.ones((3, 4), bool), np.ones((1, 1), bool)])
def test_run_lengths_are_cocos(mask: Any) -> None:
    runs = runs_of(mask)
    assert np.array_equal(mask_of(runs, mask.shape), mask)
    height, width = mask.shape
    theirs = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    assert np.array_equal(coco.decode(theirs).astype(bool), mask)
    assert runs_of_text(theirs["counts"]) == runs


@pytest.mark.parametrize("runs", [None, [1], [-1, 13], [6, 7], ["6", 6], [12.0], [True, 11], [10**30], {"a": 1}])
def test_other_run_lengths_are_refused(runs: Any) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        mask_of(runs, (3, 4))


@pytest.mark.parametrize("text", [b"0o", b"~~", b"\x00", b"oooooooo", b"05N"])
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="run"):
        mask_of(runs_of_text(text), (3, 4))
