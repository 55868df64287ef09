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
    """Asks one thing after the other about a picture, as one dialogue.

    Args:
        segmenter: a loaded model.
        image: RGB (H, W, 3).
        texts: the commands, in order.
        output: gets result.json and, counted from 0, turn<i>_mask<j>.png (mono8, 0 or 255), turn<i>_mask<j>_refined.png
            where there is one, and turn<i>_overlay.png.
        max_new_tokens: longest answer.
        answer: "mask_only": one mask for each command, and no words.
        references: place of a text, counted from 0 -> what it refers to; see Session.segment.

    Returns:
        what stands in result.json: for each turn its text, raw answer, the earlier turns whose masks the model was
        shown (from 1), masks (file, pixels, bbox [x, y, w, h], centroid [u, v] in pixels, null for an empty mask;
        score, null where the model has none; what else it tells: box [x0, y0, x1, y1], its own, in pixels, phrase,
        refined, attributes) and times in milliseconds ("first_mask" null without one).

    Raises:
        CommandError: a text that the model cannot be asked.
    """
    output.mkdir(parents=True, exist_ok=True)
    frame = segmenter.encode(image)
    turns: list[Turn] = []
    told = []
    for i, text in enumerate(texts):
        session, meant = segmenter.session(frame, turns), (references or {}).get(i, ())
        finished, timing = _time(session.segment(text, meant, max_new_tokens=max_new_tokens, answer=answer))
        turns.append(turn_of(text, finished, len(turns) + 1))
        masks = [found.mask for found in finished.objects]
        objects = [_write_object(found, output, f"turn{i}_mask{j}") for j, found in enumerate(finished.objects)]
        told.append(_told(text, finished, objects, timing))
        _write_rgb(output / f"turn{i}_overlay.png", draw_overlay(image, masks, f"{text}\n{finished.answer}"))
    result = {"turns": told}
    (output / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _told(
    text: str, finished: Finished, masks: list[dict[str, Any]], timing: dict[str, float | None]
) -> dict[str, Any]:
    return {
        "text": text,
        "answer": finished.answer,
        "references": list(finished.references),
        "masks": masks,
        "timing_ms": timing,
    }


def _time(events: Iterator[Event]) -> tuple[Finished, dict[str, float | None]]:
    began = time.perf_counter()
    first_mask: float | None = None
    for event in events:
        if isinstance(event, MaskFound) and first_mask is None:
            first_mask = 1000 * (time.perf_counter() - began)
        if isinstance(event, Finished):
            return event, {"first_mask": first_mask, "total": 1000 * (time.perf_counter() - began)}
    raise RuntimeError("the model's events ended without Finished")


def _write_object(found: ObjectMask, output: Path, name: str) -> dict[str, Any]:
    told = {**_write_mask(found.mask, output, f"{name}.png"), "score": found.score}
    told |= {"box": list(found.box)} if found.box is not None else {}
    told |= {"phrase": found.phrase} if found.phrase else {}
    told |= {"attributes": found.attributes} if found.attributes else {}
    if found.refined is not None:
        told["refined"] = _write_mask(found.refined, output, f"{name}_refined.png")
    return told


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
        raise OSError(f"{file} could not be written")
