# SPDX-License-Identifier: Apache-2.0
"""A checkpoint folder and runs over small data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_datasets import BLUE_BOX, RED_BOX, reason, said, shape, write_mr_refcoco, write_reason_seg

from lisa_ros.datasets.catalogue import Source
from lisa_ros.evaluation.evaluate import Evaluation
from lisa_ros.models.common.options import LoadOptions


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def wanted(tmp_path: Path, checkpoint: Path) -> Evaluation:
    """Three ReasonSeg images: answered rightly, half rightly, and refused."""
    write_reason_seg(
        tmp_path / "data" / "val",
        {
            "a": reason("What is red?", "ask this only with all texts"),
            "b": reason("two squares", is_sentence=False, shapes=[shape("target", RED_BOX), shape("target", BLUE_BOX)]),
            "c": reason("Where is the dog?"),
        },
    )
    source = Source(tmp_path / "data", "val")
    return Evaluation("reason_seg", source, "generate", tmp_path / "out", checkpoint, LoadOptions(device="cpu"))


@pytest.fixture
def dialogues(tmp_path: Path, checkpoint: Path) -> Evaluation:
    """Two dialogues of three rounds and of one."""
    image, red, blue = "[IMAGE256:coco/train2014/COCO_train2014_000000000001.png]", "x|refcoco|11", "x|refcoco|12"
    first = said(
        f"{image} Segment the red one.",
        f"[MASK-DECODE:{red}]",
        f"[MASK-ENCODE:{red}] Segment the blue one right of it.",
        f"[MASK-DECODE:{blue}]",
        "What of the history?",
        f"[MASK-DECODE:{red}]",
    )
    second = said(f"{image} Segment the dog.", f"[MASK-DECODE:{red}]")
    folder = write_mr_refcoco(tmp_path / "data", [first, second])
    return Evaluation("mr_refcoco", Source(folder, "val"), "generate", tmp_path / "out", checkpoint)
