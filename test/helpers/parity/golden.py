# SPDX-License-Identifier: Apache-2.0
"""Reads golden-lisa-a: what upstream said and masked, case by case."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from packs import arrays_of, numbers_in

from lisa_ros.segmentation.files.image_files import read_image

CASES = numbers_in("golden-lisa-a", "{}.npz", range(4))
"""The cases whose arrays are in the pack; the images and texts of all four are."""
MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class Case:
    """One case: `history` and `command` lead to `text`, `prompt_ids` and `output_ids`, with masks for every `[SEG]`."""

    image: NDArray[np.uint8]
    history: list[tuple[str, str]]
    command: str
    text: str
    file: Path

    @property
    def answer(self) -> str:
        """The public code's decoded answer to the last command."""
        return self.text.rpartition("ASSISTANT:")[2].removesuffix("</s>").strip()

    @property
    def prompt_ids(self) -> list[int]:
        return [int(number) for number in arrays_of(self.file)["input_ids"].ravel()]

    @property
    def output_ids(self) -> list[int]:
        return [int(number) for number in arrays_of(self.file)["output_ids"].ravel()]

    @property
    def mask_logits(self) -> NDArray[np.float32]:
        return arrays_of(self.file)["mask_logits"].astype(np.float32)

    @property
    def clip_pixels(self) -> NDArray[np.float32]:
        return arrays_of(self.file)["clip_pixels"].astype(np.float32)


def read_case(folder: Path, number: int) -> Case:
    """One case of the pack."""
    case = json.loads((folder / "golden" / "cases.json").read_text())["cases"][number]
    *history, (command, _) = case["turns"]
    return Case(
        image=read_image(folder / "golden" / case["image"]),
        history=[(said, answered) for said, answered in history],
        command=command,
        text=case["text"],
        file=folder / "golden" / f"{number}.npz",
    )


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 for two empty masks."""
    either = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / either if either else 1.0
