# SPDX-License-Identifier: Apache-2.0
"""SegLLM against the public implementation, stage by stage, with its own masks fed back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_segllm import CANVAS, CASES, ROUNDS, GoldenCase, GoldenRound, read_golden_case
from numpy.typing import NDArray
from torchvision.ops import box_convert

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.segllm import EncodedImage, Segllm, load_segllm
from lisa_ros.models.segllm.hipie.choosing import Kept
from lisa_ros.models.segllm.hipie.network import Fused
from lisa_ros.models.segllm.hipie.transformer.decoder import Decoded
from lisa_ros.models.segllm.prompt import Round
from lisa_ros.models.segllm.visual_reference import reference_to_answer


@pytest.fixture(scope="module")
def segllm(golden_segllm: Path) -> Segllm:
    torch.set_num_threads(1)
    return load_segllm(golden_segllm, LoadOptions(precision="fp32", device="cpu"))


@pytest.fixture(scope="module")
def cases(golden_segllm: Path) -> dict[int, GoldenCase]:
    return {number: read_golden_case(golden_segllm, number) for number in CASES}


@pytest.fixture(scope="module")
def encoded_images(segllm: Segllm, cases: dict[int, GoldenCase]) -> dict[int, EncodedImage]:
    return {number: segllm.encode(case.image) for number, case in cases.items()}


class Traced:
    """One round, computed step by step."""

    def __init__(self, segllm: Segllm, encoded: EncodedImage, case: GoldenCase, number: int) -> None:
        self.golden: GoldenRound = case.rounds[number - 1]
        self.segllm, self.encoded = segllm, encoded
        self.rounds: list[Round] = case.rounds_for(segllm, encoded, number)
        hipie = segllm.network.hipie
        self.prompt = segllm.hipie_prompt(encoded, self.rounds)
        with torch.inference_mode():
            self.fused: Fused = hipie.fuse(encoded.features(), self.prompt)  # type: ignore[assignment]
            self.proposals = hipie.proposals(self.fused.memory, self.fused.sizes, len(hipie.tgt_embed.weight))
            self.decoded: Decoded = hipie.decode(self.fused)
            self.kept: Kept = hipie.rank(self.decoded, self.fused)

    def check(self, name: str, ours: torch.Tensor, tolerance: float) -> None:
        golden = self.golden.arrays[name]
        assert tuple(ours.shape) == golden.shape, name
        np.testing.assert_allclose(ours.numpy(), golden, rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module", params=ROUNDS, ids=lambda case_and_round: "case{}-round{}".format(*case_and_round))
def traced(
    request: pytest.FixtureRequest,
    segllm: Segllm,
    cases: dict[int, GoldenCase],
    encoded_images: dict[int, EncodedImage],
) -> Traced:
    case, number = request.param
    return Traced(segllm, encoded_images[case], cases[case], number)


def test_prompt_and_slots(traced: Traced) -> None:
    """The ids are equal, and what is added at the slots and the sum with the slot's own embedding agree."""
    segllm, arrays = traced.segllm, traced.golden.arrays
    ids = segllm.prompt_ids(traced.encoded, traced.rounds)
    last_seg = int(arrays["seg_positions"][-1])
    assert ids == arrays["input_ids"][:last_seg].tolist()
    references = [one for asked in traced.rounds for one in asked.references]
    with torch.inference_mode():
        features = torch.cat([traced.encoded.patches(), *(traced.encoded.reference(one) for one in references)])
        embedded = segllm.network.embed(torch.tensor(ids), features)[0]
    traced.check("slot_features", features, 1e-5)
    np.testing.assert_allclose(embedded.numpy(), arrays["inputs_embeds"][:last_seg], rtol=0, atol=1e-5)


def test_hipie_prompt(traced: Traced) -> None:
    traced.check("words", traced.prompt, 1e-3)


def test_backbone(traced: Traced) -> None:
    features = traced.encoded.features()
    levels = features.tokens.split([h * w for h, w in features.sizes])
    stats = torch.stack([torch.stack([level.mean(), level.std(correction=0)]) for level in levels])
    np.testing.assert_allclose(stats.numpy(), traced.golden.arrays["input_proj_mean_std"], rtol=0, atol=1e-4)
    coarsest = levels[3].T.reshape(traced.golden.arrays["input_proj_level3"].shape)
    np.testing.assert_allclose(coarsest.numpy(), traced.golden.arrays["input_proj_level3"], rtol=1e-2, atol=2e-3)


def test_fusion(traced: Traced) -> None:
    traced.check("fused_words", traced.fused.text, 1e-3)
    traced.check("memory_at_pick", traced.fused.memory[traced.golden.arrays["memory_pick"]], 1e-3)


def test_proposals(traced: Traced) -> None:
    assert traced.proposals.index.tolist() == traced.golden.arrays["topq_index"].tolist()
    traced.check("topq_score", traced.proposals.score, 1e-3)
    background = traced.segllm.network.hipie.bg_query_refs.weight
    traced.check("query_refs", torch.cat([background, traced.proposals.boxes]), 1e-4)


def test_queries(traced: Traced) -> None:
    hipie = traced.segllm.network.hipie
    with torch.inference_mode():
        logits = hipie.word_match(traced.decoded.queries, traced.fused.text)
        fit = hipie.iou_head(traced.decoded.queries)[:, 0]
    traced.check("query_hidden", traced.decoded.queries, 2e-3)
    traced.check("logits", logits, 2e-3)
    traced.check("boxes", traced.decoded.boxes, 1e-4)
    traced.check("iou_logit", fit, 2e-3)


def test_mask_logits_of_every_query(traced: Traced) -> None:
    hipie = traced.segllm.network.hipie
    with torch.inference_mode():
        every_query = range(len(traced.decoded.queries))
        logits = hipie.mask_logits(traced.decoded, traced.fused, every_query)[:, ::8, ::8]
    golden = traced.golden.arrays["mask_logits_at_stride32"].astype(np.float32)
    np.testing.assert_allclose(logits.numpy(), golden, rtol=1e-2, atol=5e-2)


def test_the_remaining_queries(traced: Traced) -> None:
    arrays = traced.golden.arrays
    traced.check("kept_score", traced.kept.score, 1e-4)
    assert traced.kept.label.tolist() == arrays["kept_label"].tolist()
    assert traced.kept.chosen == int(arrays["chosen_kept"])


def test_mask_and_box(traced: Traced) -> None:
    hipie = traced.segllm.network.hipie
    query = int(traced.kept.query[traced.kept.chosen])
    assert query == int(traced.golden.arrays["chosen_query"])
    index = hipie.background + query
    with torch.inference_mode():
        logits = hipie.mask_logits(traced.decoded, traced.fused, [index])[0]
    traced.check("mask_logits", logits, 1e-2)
    traced.check("box", CANVAS * box_convert(traced.decoded.boxes[index], "cxcywh", "xyxy"), 0.02)
    assert iou((traced.encoded.canvas.upsampled(logits) > 0).numpy(), traced.golden.mask) >= 0.999


def test_references_of_later_rounds(traced: Traced) -> None:
    """With the golden mask and box, the crop and the box's numbers equal those of the public code."""
    reference = reference_to_answer(traced.encoded.canvas, traced.golden.mask, traced.golden.box)
    assert np.float32(reference.box).tolist() == traced.golden.arrays["box_feature"].tolist()
    pixels = traced.segllm.clip(reference.pixels)[0]
    np.testing.assert_allclose(pixels.numpy(), traced.golden.arrays["crop_pixels"], rtol=0, atol=1e-6)


def test_clip_input(segllm: Segllm, cases: dict[int, GoldenCase]) -> None:
    for case in cases.values():
        golden = case.rounds[0].arrays["clip_pixels"]
        np.testing.assert_allclose(segllm.clip(case.image)[0].numpy(), golden, rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", CASES)
def test_dialogue_on_its_own_masks(segllm: Segllm, cases: dict[int, GoldenCase], number: int) -> None:
    """Every round with our own earlier rounds as references equals the public implementation's."""
    case, answers, rounds = cases[number], [], []
    encoded = segllm.encode(case.image)
    for golden in case.rounds:
        earlier = [answers[reference - 1] for reference in golden.references]
        references = [reference_to_answer(encoded.canvas, one.canvas_mask, one.box) for one in earlier]
        rounds.append(segllm.round_of(golden.text, references=references))
        answer = segllm.answer(encoded, rounds)
        assert answer is not None
        answers.append(answer)
        assert answer.query == int(golden.arrays["chosen_query"])
        assert answer.score == pytest.approx(float(golden.arrays["chosen_score"]), abs=1e-4)
        np.testing.assert_allclose(answer.box, golden.box, rtol=0, atol=0.02)
        assert iou(answer.canvas_mask, golden.mask) >= 0.999
        assert answer.logits.shape == case.image.shape[:2]


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Any:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)
