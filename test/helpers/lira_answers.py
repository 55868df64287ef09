# SPDX-License-Identifier: Apache-2.0
"""LIRA's answers to the cases of golden-lira-a."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from golden_lira import Case

from lisa_ros.models.lira import Answer, EncodedImage, Lira, MaskStep

_encoded: dict[tuple[int, str], EncodedImage] = {}


def encode(lira: Lira, case: Case) -> EncodedImage:
    """A case's image, encoded once by each model for all tests."""
    return _encoded.setdefault((id(lira), case.entry["image"]), lira.encode(case.image))


def ask(lira: Lira, case: Case, **options: Any) -> tuple[list[Any], Answer]:
    *steps, answer = lira.answer(
        encode(lira, case), case.question, max_new_tokens=case.entry["max_new_tokens"], **options
    )
    assert isinstance(answer, Answer)
    return steps, answer


def check_masks(steps: Sequence[Any], case: Case) -> None:
    masks = [step.logits > 0 for step in steps if isinstance(step, MaskStep)]
    assert len(masks) == len(case.masks)
    for ours, golden in zip(masks, case.masks, strict=True):
        assert np.array_equal(ours, golden)
