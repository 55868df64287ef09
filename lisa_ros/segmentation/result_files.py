# SPDX-License-Identifier: Apache-2.0
"""Answers written as files: result.json, masks and overlays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.answers import AnswerKind, Event, Finished, Mask, MaskFound, ObjectMask, Reference
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.masks import bounding_box, centroid_pixel
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn, turn_of


def segment_image(
    segmenter: Segmenter,
    image: NDArray[np.uint8],
    texts: Sequence[str],
    output: Path,
    max_new_tokens: int = 512,
    answer: AnswerKind = "full",
    references: Mapping[int, Sequence[Reference]] | None = None,
) -> dict[str, Any]:
    """Hold a dialogue about an image and write its answers into a folder.

    Args:
        segmenter: A loaded model.
        image: RGB uint8 (H, W, 3).
        texts: The commands, in order. They become turns 1, 2, ... of the dialogue.
        output: Folder for result.json and, counted from 0, turn<i>_mask<j>.png (mono8, 0 or 255),
            turn<i>_mask<j>_refined.png if the model refines its masks, and turn<i>_overlay.png.
        max_new_tokens: Maximum length of an answer, in tokens.
        answer: "mask_only": one mask for each command and no text.
        references: Index of a text, counted from 0 -> what it refers to; see Session.segment.

    Returns:
        The content of result.json: for each turn its text, raw answer, explanation, references (numbers of the turns
        whose masks the model was given), masks and times in milliseconds ("first_mask" is null if there is none). Each
        mask has its file, pixels, bbox [x, y, w, h], centroid [u, v] in pixels (null if the mask is empty) and score
        (null if the model has none); where the model has them also box [x0, y0, x1, y1] in pixels, phrase, refined and
        attributes.

    Raises:
        CommandError: The model cannot answer one of the texts.
        OSError: A file cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    encoded = segmenter.encode(image)
    turns: list[Turn] = []
    written = []
    for i, text in enumerate(texts):
        session, referred = segmenter.session(encoded, turns), (references or {}).get(i, ())
        finished, timing = _timed(session.segment(text, referred, max_new_tokens=max_new_tokens, answer=answer))
        turns.append(turn_of(text, finished, len(turns) + 1))
        masks = [_write_object(found, output, f"turn{i}_mask{j}") for j, found in enumerate(finished.objects)]
        written.append(_turn_entry(text, finished, masks, timing))
        _write_rgb(output / f"turn{i}_overlay.png", _overlay(image, text, finished))
    result = {"turns": written}
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _turn_entry(
    text: str, finished: Finished, masks: list[dict[str, Any]], timing: dict[str, float | None]
) -> dict[str, Any]:
    return {
        "text": text,
        "answer": finished.answer,
        "explanation": _explanation(finished),
        "references": list(finished.references),
        "masks": masks,
        "timing_ms": timing,
    }


def _explanation(finished: Finished) -> str:
    return explanation_of(finished.answer, [found.span for found in finished.objects])


def _overlay(image: NDArray[np.uint8], text: str, finished: Finished) -> NDArray[np.uint8]:
    masks, labels = [found.mask for found in finished.objects], [found.phrase for found in finished.objects]
    return draw_overlay(image, masks, f"{text}\n{_explanation(finished)}", labels)


def _timed(events: Iterator[Event]) -> tuple[Finished, dict[str, float | None]]:
    began = time.perf_counter()
    first_mask: float | None = None
    for event in events:
        if isinstance(event, MaskFound) and first_mask is None:
            first_mask = 1000 * (time.perf_counter() - began)
        if isinstance(event, Finished):
            return event, {"first_mask": first_mask, "total": 1000 * (time.perf_counter() - began)}
    raise RuntimeError("the model's events ended without Finished")


def _write_object(found: ObjectMask, output: Path, name: str) -> dict[str, Any]:
    entry = {**_write_mask(found.mask, output, f"{name}.png"), "score": found.score}
    entry |= {"box": list(found.box)} if found.box is not None else {}
    entry |= {"phrase": found.phrase} if found.phrase else {}
    entry |= {"attributes": found.attributes} if found.attributes else {}
    if found.refined is not None:
        entry["refined"] = _write_mask(found.refined, output, f"{name}_refined.png")
    return entry


def _write_mask(mask: Mask, output: Path, name: str) -> dict[str, Any]:
    _write(output / name, mask.astype(np.uint8) * np.uint8(255))
    pixels = int(mask.sum())
    return {
        "file": name,
        "pixels": pixels,
        "bbox": list(bounding_box(mask)),
        "centroid": list(centroid_pixel(mask)) if pixels else None,
    }


def _write_rgb(file: Path, image: NDArray[np.uint8]) -> None:
    _write(file, np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8))


def _write(file: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(file), image):
        raise OSError(f"{file} cannot be written")
