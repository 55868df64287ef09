# SPDX-License-Identifier: Apache-2.0
"""Teacher forcing must give upstream's masks when upstream's own answer is put into the model's mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden import CASES, read_case

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Lisa, PromptTooLongError, load_lisa
from lisa_ros.models.lisa.forcing import forced_mask_logits
from lisa_ros.models.lisa.prompt import TEMPLATES, build_prompt
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.turns import Turn


@pytest.fixture(scope="module")
def lisa(golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))


@pytest.mark.parametrize("number", CASES)
def test_masks_of_upstreams_answer(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    golden = case.mask_logits[len(case.mask_logits) - case.answer.count("[SEG]") :]
    if not len(golden):
        pytest.skip("this answer names nothing")
    logits = forced_mask_logits(lisa, lisa.encode(case.image), case.command, case.answer, case.history)
    assert len(logits) == len(golden)
    for ours, theirs in zip(logits, golden, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-2


def test_a_seg_in_an_earlier_turn_is_masked_as_upstream_does(lisa: Lisa, golden_lisa: Path) -> None:
    """Upstream decodes the [SEG]s of the whole prompt; its first turn is a forced answer."""
    case = next(case for case in (read_case(golden_lisa, i) for i in CASES) if case.history)
    (command, answer), *_ = case.history
    (logits,) = forced_mask_logits(lisa, lisa.encode(case.image), command, answer)
    assert np.abs(logits - case.mask_logits[0]).max() <= 1e-2


def test_the_segmenters_interface(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    segmenter = LisaSegmenter(lisa)
    assert segmenter.capabilities == Capabilities(teacher_forcing=True)
    frame = segmenter.encode(case.image)
    (mask,) = segmenter.force(frame, case.command, "[SEG].")
    (after,) = segmenter.force(frame, case.command, "[SEG].", [Turn("Where is it?", "It is [SEG].")])
    assert mask.shape == after.shape == case.image.shape[:2] and mask.dtype == np.bool_


def test_what_cannot_be_forced(lisa: Lisa, golden_lisa: Path) -> None:
    encoded = lisa.encode(read_case(golden_lisa, 0).image)
    with pytest.raises(ValueError, match=r"has no \[SEG\]"):
        forced_mask_logits(lisa, encoded, "the ball", "There is none.")
    with pytest.raises(PromptTooLongError, match="exceeds the context by"):
        forced_mask_logits(lisa, encoded, "ball " * 5000, "[SEG].")
    with pytest.raises(CommandError, match="too long"):
        LisaSegmenter(lisa).force(encoded, "ball " * 5000, "[SEG].")


@pytest.mark.parametrize("answer", ["[SEG].", "It is [SEG].", "Sure, [SEG] and [SEG]."])
def test_the_ids_are_those_of_upstreams_whole_prompt(lisa: Lisa, answer: str) -> None:
    """Upstream tokenizes prompt and answer as one text; here the answer's ids are put after the prompt's."""
    command = " What is the red ball in this image? Please output segmentation mask."
    whole = build_prompt(TEMPLATES["llava_v1"], [(command, answer)])
    ids = lisa.tokenizer.encode_prompt(whole)
    assert [*lisa.prompt_ids(command), *lisa.tokenizer.encode(answer), lisa.tokenizer.eos_token_id] == ids
