# SPDX-License-Identifier: Apache-2.0
"""The command line with a SegLLM folder: a dialogue with references, and an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden import iou
from golden_segllm import CANVAS, read_golden_case
from tiny_datasets import said, write_mr_refcoco

from lisa_ros.cli.main import main
from lisa_ros.models.segllm.hipie.canvas import Canvas
from lisa_ros.segmentation.files.image_files import read_mask

pytestmark = pytest.mark.model

CPU = ["--device", "cpu", "--precision", "fp32"]


def test_segment(golden_segllm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The golden dialogue, the reference given on the command line; the masks are the golden ones in the image."""
    torch.set_num_threads(1)
    case = read_golden_case(golden_segllm, 3)
    image = json.loads((golden_segllm / "golden" / "cases.json").read_text())["cases"][3]["image"]
    texts = ["--text", case.rounds[0].text, "--text", case.rounds[1].text, "--reference", "1"]
    basis = ["segment", "--checkpoint", str(golden_segllm), "--image", str(golden_segllm / "golden" / image)]
    assert main([*basis, *texts, "--output", str(tmp_path), "--json", *CPU]) == 0
    turns = json.loads(capsys.readouterr().out)["turns"]
    assert [(turn["answer"], turn["references"]) for turn in turns] == [("[SEG]", []), ("[SEG]", [1])]
    canvas = Canvas.of(case.image)
    scale = max(case.image.shape[:2]) / CANVAS
    for turn, golden in zip(turns, case.rounds, strict=True):
        assert turn["masks"][0]["box"] == pytest.approx([edge * scale for edge in golden.box], abs=0.02)
    for i, golden in enumerate(case.rounds):
        found = read_mask(tmp_path / turns[i]["masks"][0]["file"])
        logits = canvas.in_original(canvas.upsampled(torch.from_numpy(golden.arrays["mask_logits"])))
        assert iou(found, (logits > 0).numpy()) >= 0.999


def test_what_the_command_line_refuses(golden_segllm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = golden_segllm / "golden" / "a.png"
    basis = ["segment", "--checkpoint", str(golden_segllm), "--image", str(image), "--output", str(tmp_path), *CPU]
    with pytest.raises(SystemExit):
        main([*basis, "--reference", "1", "--text", "the lid"])
    assert "stands after it" in capsys.readouterr().err
    assert main([*basis, "--text", "the lid", "--reference", "1"]) == 2
    assert "there is no earlier turn" in capsys.readouterr().err
    assert main([*basis, "--text", "the lid", "--reference", str(tmp_path / "no.png")]) == 2
    assert "no image file" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "small.png"), np.full((4, 4), 255, np.uint8))
    assert main([*basis, "--text", "the lid", "--reference", str(tmp_path / "small.png")]) == 2
    assert "300 x 400" in capsys.readouterr().err


def test_evaluate(golden_segllm: Path, tmp_path: Path) -> None:
    """Per-round scores of a dialogue whose second round refers to the first, by the model's own masks."""
    torch.set_num_threads(1)
    red, blue = "x|refcoco|11", "x|refcoco|12"
    dialogue = said(
        "[IMAGE256:coco/train2014/COCO_train2014_000000000001.png] Segment the red one.",
        f"[MASK-DECODE:{red}]",
        f"[MASK-ENCODE:{red}][BOX-ENCODE:{red}]Segment the blue one right of it.",
        f"[MASK-DECODE:{blue}]",
    )
    data = write_mr_refcoco(tmp_path / "data", [dialogue])
    basis = ["evaluate", "--dataset", "mr_refcoco", "--data", str(data), "--protocol", "generate"]
    basis += ["--checkpoint", str(golden_segllm), *CPU]
    assert main([*basis, "--output", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "results.json").read_text())
    assert told["references"] == "own"
    rows = {row["row"]: row for row in told["rows"]}
    for row in (rows["turn 1"], rows["turn 2"]):
        assert (row["items"], row["failed"]) == (1, 0)
        assert 0 <= row["mean_iou"] <= 1 and 0 <= row["box_precision"] <= 1
    assert all(item["masks"] == 1 and item["found_pixels"] for item in told["items"])
    assert main([*basis, "--references", "none", "--output", str(tmp_path / "none")]) == 0
    alone = json.loads((tmp_path / "none" / "results.json").read_text())["items"]
    found = [[item["found_pixels"] for item in items] for items in (told["items"], alone)]
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1], "the reference counts, in the second round alone"
