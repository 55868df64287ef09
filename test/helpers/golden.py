# SPDX-License-Identifier: Apache-2.0
"""Reads golden-lisa-a: what upstream said and masked, case by case."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.image_files import read_image

CASES = range(4)
MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class Case:
    """One case: `history` and `command` lead to `text`, `prompt_ids` and `output_ids`, with masks for every `[SEG]`."""

    image: NDArray[np.uint8]
    history: list[tuple[str, str]]
    command: str
    text: str
    prompt_ids: list[int]
    output_ids: list[int]
    mask_logits: NDArray[np.float32]
    clip_pixels: NDArray[np.float32]

    @property
    def answer(self) -> str:
        """Upstream's decoded answer to the last command."""
        return self.text.rpartition("ASSISTANT:")[2].removesuffix("</s>").strip()


def read_case(folder: Path, number: int) -> Case:
    """One case of the pack."""
    case = json.loads((folder / "golden" / "cases.json").read_text())["cases"][number]
    arrays = np.load(folder / "golden" / f"{number}.npz")
    *history, (command, _) = case["turns"]
    return Case(
        image=read_image(folder / "golden" / case["image"]),
        history=[(said, answered) for said, answered in history],
        command=command,
        text=case["text"],
        prompt_ids=arrays["input_ids"].ravel().tolist(),
        output_ids=arrays["output_ids"].ravel().tolist(),
        mask_logits=arrays["mask_logits"].astype(np.float32),
        clip_pixels=arrays["clip_pixels"].astype(np.float32),
    )


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    either = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / either if either else 1.0
