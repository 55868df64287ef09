# SPDX-License-Identifier: Apache-2.0
"""Small folders in ReasonSeg's format, made for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

COLOURS = {"red": (200, 20, 20), "grün": (20, 160, 40), "blue": (30, 60, 220)}


def make_folder(folder: Path, count: int = 4, size: tuple[int, int] = (60, 80), **changes: Any) -> Path:
    """Images of one coloured square each, with two texts; `changes` go into every annotation."""
    folder.mkdir(parents=True)
    for i in range(count):
        name, colour = list(COLOURS.items())[i % len(COLOURS)]
        left = 5 + 7 * (i % 5)
        image = np.full((*size, 3), 90, dtype=np.uint8)
        image[20:45, left : left + 30] = colour
        cv2.imwrite(str(folder / f"view{i}.png"), image[:, :, ::-1])
        corners = [[left, 20], [left + 29, 20], [left + 29, 44], [left, 44]]
        annotation: dict[str, Any] = {
            "text": [f"the {name} square", f"what is {name}?"],
            "is_sentence": False,
            "shapes": [{"label": "target", "points": corners}],
        }
        (folder / f"view{i}.json").write_text(json.dumps({**annotation, **changes}), encoding="utf-8")
    return folder


def explain(data: Path, texts: dict[str, str]) -> None:
    """Writes explanatory/train.json beside a folder: image -> its explanation."""
    folder = data.parent / "explanatory"
    folder.mkdir()
    entries = [{"image": image, "query": "?", "outputs": text} for image, text in texts.items()]
    (folder / "train.json").write_text(json.dumps(entries), encoding="utf-8")
