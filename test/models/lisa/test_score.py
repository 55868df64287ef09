# SPDX-License-Identifier: Apache-2.0
"""The evidence for LISA's masks, their scores and their probabilities."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, Case, read_case

from lisa_ros.models.common.errors import NotFiniteError
from lisa_ros.models.common.language.engine import Engine
from lisa_ros.models.common.memory import EngineOptions
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Lisa, MaskStep, load_lisa
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
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
    """Log-probabilities of the answer's tokens by one pass over everything, without caches or drafts."""
    network, image = lisa.network, lisa.encode(case.image)
    ids = [*lisa.prompt_ids(case.command, case.history), *answer_ids]
    with torch.inference_mode():
        inputs = network.embed(torch.tensor(ids), image.visual_tokens())
        states = network.language(inputs_embeds=inputs).last_hidden_state[0]
        table = network.lm_head(states).float().log_softmax(-1)
    before = table[-len(answer_ids) - 1 : -1]
    return [float(row[token]) for row, token in zip(before, answer_ids, strict=True)]


@pytest.mark.parametrize("static_step", [False, True])
@pytest.mark.parametrize("number", CASES)
def test_the_log_prob_is_that_of_the_least_likely_token(
    lisa: Lisa, golden_lisa: Path, number: int, static_step: bool
) -> None:
    case = read_case(golden_lisa, number)
    lisa.engine = Engine(lisa.network, EngineOptions(64 << 20, static_step=static_step))
    *steps, answer = lisa.answer(lisa.encode(case.image), case.command, case.history, max_new_tokens=MAX_NEW_TOKENS)
    expected = log_probs(lisa, case, list(answer.ids))
    places = [i for i, token in enumerate(answer.ids) if token == lisa.config.seg_token_id]
    found = [step.log_prob for step in steps if isinstance(step, MaskStep)]
    assert places
    assert found == pytest.approx([min(expected[: place + 1]) for place in places], abs=1e-4)
    assert min(expected) < -1e-3, "a model that is certain of every token would show nothing"


def test_a_forced_mask_has_the_models_own_probability_of_it(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    *steps, answer = lisa.answer(lisa.encode(case.image), case.command, case.history, mask_only=True)
    (found,) = [step.log_prob for step in steps if isinstance(step, MaskStep)]
    assert answer.ids[0] == lisa.config.seg_token_id
    assert found == pytest.approx(log_probs(lisa, case, [lisa.config.seg_token_id])[0], abs=1e-4)


@pytest.mark.parametrize(("shape", "share"), [((60, 90), (2 / 3, 1)), ((100, 40), (1, 0.4)), ((64, 64), (1, 1))])
def test_the_low_resolution_logits_are_the_images_part(
    lisa: Lisa, shape: tuple[int, int], share: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[np.ndarray] = []
    decode = lisa.network.mask_logits

    def remember(*prompts: torch.Tensor) -> torch.Tensor:
        decoded.append(decode(*prompts).numpy())
        return torch.tensor(decoded[-1])

    monkeypatch.setattr(lisa.network, "mask_logits", remember)
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    *steps, _ = lisa.answer(lisa.encode(image), "the red square", mask_only=True)
    (step,) = [step for step in steps if isinstance(step, MaskStep)]
    side = decoded[0].shape[-1]
    height, width = (math.ceil(side * one) for one in share)
    assert step.low_res.shape == (height, width)
    assert np.array_equal(step.low_res, decoded[0][0, :height, :width])


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
    assert found.score == pytest.approx(whole.expected_iou, abs=0.02), (
        "low-resolution logits give the same score as the full ones"
    )
    assert found.evidence["firmness"] == pytest.approx(whole.firmness, rel=0.15)


def test_a_checkpoints_calibration_is_used(golden_lisa: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(golden_lisa, folder)
    lines = {kind: LogisticRegression(bias, (0.0,) * 4) for kind, bias in (("full", 2.0), ("mask_only", -2.0))}
    about = {"weights_sha256": one_hash(weights_of(folder))}
    (folder / FILE).write_text(Calibration(lines, about).text())
    segmenter, case = load_segmenter(folder, OPTIONS), read_case(golden_lisa, 0)
    (full,), (alone,) = objects_of(segmenter, case), objects_of(segmenter, case, answer="mask_only")
    assert full.score == pytest.approx(0.880797, abs=1e-6) and alone.score == pytest.approx(0.119203, abs=1e-6)


def test_a_damaged_calibration_is_reported_before_the_weights_are_read(golden_lisa: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ValueError, match=r"score\.json is not a calibration"):
        load_segmenter(tmp_path, OPTIONS)


def test_nan_in_the_language_model_is_an_error(lisa: Lisa, golden_lisa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = read_case(golden_lisa, 0)
    monkeypatch.setattr(lisa, "engine", Engine(lisa.network, EngineOptions(0)))
    head = lisa.network.lm_head.weight
    before = head.data.clone()
    try:
        head.data[7] = torch.nan
        with pytest.raises(NotFiniteError, match="language model computed NaN"):
            list(lisa.answer(lisa.encode(case.image), case.command, max_new_tokens=4))
    finally:
        head.data.copy_(before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nan_in_the_mask_decoder_is_an_error(
    lisa: Lisa, segmenter: Segmenter, golden_lisa: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    case = read_case(golden_lisa, 0)
    network = segmenter._lisa.network  # type: ignore[attr-defined]
    decode = network.mask_logits
    monkeypatch.setattr(network, "mask_logits", lambda *a: decode(*a).index_fill(1, torch.tensor([5]), value))
    with pytest.raises(NotFiniteError, match="mask decoder computed NaN or infinite"):
        objects_of(segmenter, case, answer="mask_only")
