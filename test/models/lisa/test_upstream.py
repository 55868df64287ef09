# SPDX-License-Identifier: Apache-2.0
"""The embedded checkpoint under our code and under the public LISA code: the same ids, texts and masks.

The public code's answers lie in test/data/upstream_lisa; tools/parity/upstream_answers.py says how they are made anew.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import cv2
import numpy as np
import pytest
from paths import DATA

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, Lisa, MaskStep, load_lisa
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.files.image_files import read_image

ANSWERS = DATA / "upstream_lisa"
WEIGHTS_SHA256 = "74c8e042a9f302241b7571533704dc610f7fb419435ad7e8e92de7fff8b491ed"
"""Of the embedded model.safetensors that the answers belong to."""


@pytest.fixture(scope="module")
def lisa() -> Lisa:
    return load_lisa(embedded_checkpoint(), LoadOptions(precision="fp32", device="cpu"))


def test_the_answers_belong_to_the_embedded_checkpoint() -> None:
    weights = (embedded_checkpoint() / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == WEIGHTS_SHA256, (
        "make the answers anew: tools/parity/upstream_answers.py"
    )


@pytest.mark.parametrize("dialogue", json.loads((ANSWERS / "answers.json").read_text()), ids=lambda one: one["image"])
def test_ids_texts_and_masks_are_the_public_codes(lisa: Lisa, dialogue: dict[str, Any]) -> None:
    encoded = lisa.encode(read_image(ANSWERS / dialogue["image"]))
    history: list[tuple[str, str]] = []
    for turn in dialogue["turns"]:
        steps = list(lisa.answer(encoded, turn["text"], history, max_new_tokens=64))
        answer = steps[-1]
        assert isinstance(answer, Answer)
        assert list(answer.prompt) == turn["prompt_ids"]
        assert list(answer.ids) == turn["answer_ids"]
        # Decoded on their own, ids have one space fewer after a [SEG] than as the continuation of a prompt.
        assert answer.text.split() == turn["answer"].split()
        masks = [step.logits > 0 for step in steps if isinstance(step, MaskStep)]
        assert len(masks) == len(turn["masks"])
        for mask, file in zip(masks, turn["masks"], strict=True):
            golden = cv2.imread(str(ANSWERS / file), cv2.IMREAD_GRAYSCALE) > 0
            assert np.count_nonzero(mask ^ golden) == 0
        history.append((turn["text"], turn["answer"]))
