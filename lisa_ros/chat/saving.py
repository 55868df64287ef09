# SPDX-License-Identifier: Apache-2.0
"""A chat's answers as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.models.model import Answer
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.image_files import write_image
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.segmentation.masks import bounding_box, centroid_pixel

_WRITTEN = re.compile(r"turn\d+_(mask\d+|overlay)\.png")
"""Names of a chat's files beside chat.json."""


def save(answers: Sequence[Answer], folder: Path) -> Path:
    """Writes a chat: chat.json, a mask (mono8, 0 or 255) for each object and an overlay for each turn, from 1.

    Files of these names from an earlier chat are deleted once this one is written.

    Returns:
        The path of chat.json.

    Raises:
        LisaError: there is no answer.
        OSError: a file cannot be written.
    """
    if not answers:  # an earlier chat there must not be replaced by nothing
        raise LisaError("there is no answer to save yet")
    make_output_folder(folder)
    file = folder / "chat.json"
    earlier = [one for one in folder.iterdir() if _WRITTEN.fullmatch(one.name)] if file.is_file() else []
    turns = [_turn(number, answer, folder) for number, answer in enumerate(answers, start=1)]
    write_json(file, {"turns": turns})
    written = {mask["file"] for turn in turns for mask in turn["masks"]}
    written |= {_overlay_name(number) for number in range(1, len(turns) + 1)}
    for one in earlier:
        if one.name not in written:
            one.unlink()
    return file


def save_overlay(answer: Answer, file: Path) -> None:
    """Writes one answer as an image. Raises an OSError if it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_image(file, answer.overlay())


def _overlay_name(number: int) -> str:
    """Of a turn's overlay in the folder, see _WRITTEN."""
    return f"turn{number}_overlay.png"


def _turn(number: int, answer: Answer, folder: Path) -> dict[str, Any]:
    masks = []
    for i, found in enumerate(answer.objects, start=1):
        name = f"turn{number}_mask{i}.png"
        write_image(folder / name, found.mask.astype(np.uint8) * np.uint8(255))
        centroid = list(centroid_pixel(found.mask)) if found.mask.any() else None
        box, calibrated = list(bounding_box(found.mask)), found.score is not None and found.score_calibrated
        score = {"score": found.score, "score_calibrated": calibrated}
        masks.append({"file": name, "bbox": box, "centroid": centroid, **score})
    save_overlay(answer, folder / _overlay_name(number))
    texts = {"text": answer.command, "answer": answer.text, "explanation": answer.explanation}
    return {**texts, **({"model": answer.model} if answer.model else {}), "masks": masks}
