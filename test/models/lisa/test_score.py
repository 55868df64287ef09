# SPDX-License-Identifier: Apache-2.0
"""LISA's own evidence for its masks: what it is computed of, and what it costs nobody who does not ask."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, Case, read_case

from lisa_ros.models.common.language.reading import Reader
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Lisa, MaskStep, load_lisa
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask
from lisa_ros.segmentation.checkpoint_hash import one_hash, weights_of
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.scoring import FILE, Calibration, LogisticRegression, evidence_for

OPTIONS = LoadOptions(precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def lisa(golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, OPTIONS)


@pytest.fixture(scope="module")
def segmenter(golden_lisa: Path) -> Segmenter:
    return load_segmenter(golden_lisa, OPTIONS)


def log_probs(lisa: Lisa, case: Case, answer_ids: list[int]) -> list[float]:
    """The answer's words as one pass over everything, without caches or drafts, finds them."""
    network, picture = lisa.network, lisa.encode(case.image)
    ids = [*lisa.prompt_ids(case.command, case.history), *answer_ids]
    with torch.inference_mode():
        inputs = network.embed(torch.tensor(ids), picture.visual_tokens())
        states = network.language(inputs_embeds=inputs).last_hidden_state[0]
        table = network.lm_head(states).float().log_softmax(-1)
    before = table[-len(answer_ids) - 1 : -1]
    return [float(row[token]) for row, token in zip(before, answer_ids, strict=True)]


@pytest.mark.parametrize("fixed_step", [False, True])
@pytest.mark.parametrize("number", CASES)
def test_the_log_prob_is_that_of_the_least_likely_word(
    lisa: Lisa, golden_lisa: Path, number: int, fixed_step: bool
) -> None:
    case = read_case(golden_lisa, number)
    lisa.reader = Reader(lisa.network, 64 << 20, fixed_step=fixed_step)
    *steps, answer = lisa.answer(lisa.encode(case.image), case.command, case.history, max_new_tokens=MAX_NEW_TOKENS)
    expected = log_probs(lisa, case, list(answer.ids))
    places = [i for i, token in enumerate(answer.ids) if token == lisa.config.seg_token_id]
    found = [step.log_prob for step in steps if isinstance(step, MaskStep)]
    assert places
    assert found == pytest.approx([min(expected[: place + 1]) for place in places], abs=1e-4)
    assert min(expected) < -1e-3, "a model that is sure of every word would show nothing"


def test_a_forced_mask_has_the_models_own_probability_of_it(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    *steps, answer = lisa.answer(lisa.encode(case.image), case.command, case.history, mask_only=True)
    (found,) = [step.log_prob for step in steps if isinstance(step, MaskStep)]
    assert answer.ids[0] == lisa.config.seg_token_id
    assert found == pytest.approx(log_probs(lisa, case, [lisa.config.seg_token_id])[0], abs=1e-4)


@pytest.mark.parametrize(("shape", "share"), [((60, 90), (2 / 3, 1)), ((100, 40), (1, 0.4)), ((64, 64), (1, 1))])
def test_the_coarse_logits_are_the_pictures_part(
    lisa: Lisa, shape: tuple[int, int], share: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[np.ndarray] = []
    decode = lisa.network.mask_logits

    def remember(states: torch.Tensor, features: torch.Tensor, *pointed: torch.Tensor | None) -> torch.Tensor:
        decoded.append(decode(states, features, *pointed).numpy())
        return torch.tensor(decoded[-1])

    monkeypatch.setattr(lisa.network, "mask_logits", remember)
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    *steps, _ = lisa.answer(lisa.encode(image), "the red square", mask_only=True)
    (step,) = [step for step in steps if isinstance(step, MaskStep)]
    side = decoded[0].shape[-1]
    height, width = (math.ceil(side * one) for one in share)
    assert step.coarse.shape == (height, width)
    assert np.array_equal(step.coarse, decoded[0][0, :height, :width])


def objects_of(segmenter: Segmenter, case: Case, **how: object) -> tuple[ObjectMask, ...]:
    *events, finished = segmenter.session(segmenter.encode(case.image)).segment(case.command, **how)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    assert [event.object for event in events if isinstance(event, MaskFound)] == list(finished.objects)
    return finished.objects


def test_probability_is_computed_when_it_is_asked_for(segmenter: Segmenter, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    (found,) = objects_of(segmenter, case)
    assert found.probability is not None
    probability = found.probability()
    assert probability.dtype == np.float32 and probability.shape == case.image.shape[:2] == (480, 640)
    assert np.array_equal(probability > 0.5, found.mask)
    assert np.abs(probability - 1 / (1 + np.exp(-case.mask_logits[0]))).max() < 1e-2


def test_without_a_calibration_the_score_is_raw(segmenter: Segmenter, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    (found,) = objects_of(segmenter, case)
    assert found.evidence is not None and found.score == found.evidence["expected_iou"]
    whole = evidence_for(case.mask_logits[0], 0.0)
    assert whole is not None
    assert found.score == pytest.approx(whole.expected_iou, abs=0.02), "coarse logits say what the full ones do"
    assert found.evidence["firmness"] == pytest.approx(whole.firmness, rel=0.15)


def test_a_checkpoints_calibration_is_used(golden_lisa: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(golden_lisa, folder)
    lines = {"full": LogisticRegression(2.0, (0.0, 0.0, 0.0)), "mask_only": LogisticRegression(-2.0, (0.0, 0.0, 0.0))}
    about = {"weights_sha256": one_hash(weights_of(folder))}
    (folder / FILE).write_text(Calibration(lines, about).text())
    segmenter, case = load_segmenter(folder, OPTIONS), read_case(golden_lisa, 0)
    (full,), (alone,) = objects_of(segmenter, case), objects_of(segmenter, case, answer="mask_only")
    assert full.score == pytest.approx(0.880797, abs=1e-6) and alone.score == pytest.approx(0.119203, abs=1e-6)


def test_a_damaged_calibration_is_said_before_the_weights_are_read(golden_lisa: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ValueError, match=r"score\.json is not a calibration"):
        load_segmenter(tmp_path, OPTIONS)
