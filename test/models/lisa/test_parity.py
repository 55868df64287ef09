# SPDX-License-Identifier: Apache-2.0
"""With the same checkpoint, tokens and masks equal those of upstream's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, Case, iou, read_case
from safetensors.torch import save_file

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa import Answer, Lisa, MaskStep, load_lisa

LOGIT_TOLERANCE = 1e-2
"""The golden logits are stored in float16."""


@pytest.fixture(scope="module")
def lisa(golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))


def ask(lisa: Lisa, case: Case) -> tuple[list[MaskStep], Answer]:
    image = lisa.encode(case.image)
    steps = list(lisa.answer(image, case.command, case.history, max_new_tokens=MAX_NEW_TOKENS))
    answer = steps.pop()
    assert isinstance(answer, Answer)
    return [step for step in steps if isinstance(step, MaskStep)], answer


def check_masks(masks: list[MaskStep], case: Case) -> None:
    # Upstream also decodes the [SEG]s of earlier turns again; the last ones are this turn's.
    assert len(masks) == case.output_ids[len(case.prompt_ids) :].count(640)
    for ours, golden in zip(masks, case.mask_logits[len(case.mask_logits) - len(masks) :], strict=True):
        assert ours.logits.shape == golden.shape == case.image.shape[:2]
        assert np.abs(ours.logits - golden).max() <= LOGIT_TOLERANCE
        assert iou(ours.logits > 0, golden > 0) >= 0.999


@pytest.mark.parametrize("number", CASES)
def test_float32_equals_upstream(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    masks, answer = ask(lisa, case)
    assert list(answer.prompt) == case.prompt_ids
    assert [*answer.prompt, *answer.ids] == case.output_ids
    assert answer.text == case.answer
    assert answer.reason == "end"
    check_masks(masks, case)


@pytest.mark.parametrize("number", CASES)
def test_clips_input_equals_upstreams(golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    ours = ClipPreprocessing(golden_lisa / "clip-vit-tiny-patch14")(case.image)[0].numpy()
    assert np.abs(ours - case.clip_pixels).max() < 1e-3  # stored in float16


@pytest.mark.parametrize("number", CASES)
def test_decoded_text_equals_upstreams(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    assert lisa.tokenizer.decode([i for i in case.output_ids if i != IMAGE_TOKEN_INDEX]) == case.text


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantized_on_the_cpu(
    golden_lisa: Path, quantization: Any, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    """4 bits change the toy's 64-wide states more than a 4096-wide model's: answers may differ, and are printed."""
    quantized = load_lisa(golden_lisa, LoadOptions(quantization=quantization, device="cpu"))
    same = 0
    for number in CASES:
        case = read_case(golden_lisa, number)
        masks, answer = ask(quantized, case)
        assert list(answer.prompt) == case.prompt_ids
        overlap = [iou(m.logits > 0, g > 0) for m, g in zip(masks, case.mask_logits[-len(masks) :], strict=False)]
        same += answer.text == case.answer
        line = f"{quantization} case {number}: {answer.text!r} (upstream fp32 {case.answer!r}), mask IoU {overlap}"
        record_property(f"case{number}", line)
        with capsys.disabled():
            print("\n" + line, end="")
        if answer.text == case.answer:
            assert min(overlap, default=1.0) >= 0.98
    assert same >= len(CASES) - (quantization == "4bit")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_the_cpu(golden_lisa: Path, precision: Any) -> None:
    half = load_lisa(golden_lisa, LoadOptions(precision=precision, device="cpu"))
    case = read_case(golden_lisa, 0)
    masks, answer = ask(half, case)
    assert answer.text == case.answer
    assert iou(masks[0].logits > 0, case.mask_logits[0] > 0) >= 0.98


def seven_b_layout(golden: Path, folder: Path) -> Path:
    """The golden checkpoint with 7B's added tokens (`<im_patch>` first, `[SEG]` last), in safetensors."""
    shutil.copytree(golden, folder, ignore=shutil.ignore_patterns("*.bin", "*.index.json", "golden"))
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.copy(golden / "clip-vit-tiny-patch14" / "pytorch_model.bin", folder / "clip-vit-tiny-patch14")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(golden.glob("*.bin")):
        tensors |= torch.load(shard, weights_only=True)
    order = [*range(640), 0, 641, 642, 640]  # <im_patch> gets any row; it is never generated
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[key] = tensors[key][order].clone()
    tensors["lm_head.weight"][640] = 0
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors")
    added = {"<im_patch>": 640, "<im_start>": 641, "<im_end>": 642, "[SEG]": 643}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 644}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def seven_b(golden_lisa: Path, tmp_path_factory: pytest.TempPathFactory) -> Lisa:
    folder = seven_b_layout(golden_lisa, tmp_path_factory.mktemp("checkpoints") / "7b")
    return load_lisa(folder, LoadOptions(precision="fp32", device="cpu"))


@pytest.mark.parametrize("number", CASES)
def test_seven_b_layout_and_safetensors(seven_b: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    masks, answer = ask(seven_b, case)
    assert answer.text == case.answer
    check_masks(masks, case)
