# SPDX-License-Identifier: Apache-2.0
"""The demo's results: a table, images and a JSON file."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.demo.scene import Scene
from lisa_ros.demo.script import Line
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.nodes.common.stamps import nanoseconds
from lisa_ros.segmentation.masks import Mask, centroid_pixel, intersection_over_union, union
from lisa_ros.segmentation.overlay import draw_overlay

ANSWERED = ("OK", "NO_OBJECT")
MISSING = "no answer"

_STATUS = {
    getattr(Segmentation, name): name for name in ("OK", "NO_OBJECT", "REJECTED", "NO_IMAGE", "CANCELLED", "FAILED")
}
_SHEET_COLUMNS = 3
_SHEET_CELL_WIDTH = 400
_DARK = 24
_TITLES = ("operator", "command", "answer", "centroid", "true", "IoU", "first mask", "total")


@dataclass(frozen=True)
class Row:
    """One command and its answer.

    Attributes:
        operator: who asked.
        command: what was asked.
        meant: the object that was meant.
        status: of the Segmentation, in words; `MISSING` when none came.
        detail: why, when the status is not OK.
        answer: raw, with "[SEG]".
        explanation: the answer for people.
        turn: which turn of the operator's dialogue this became.
        centroid: (u, v) pixels, of all objects together; None without objects.
        true_centroid: the same of what was meant; None when it is absent.
        iou: of the mask with the true one; None when nothing was meant and nothing marked.
        first_mask_ms: None without a mask.
        total_ms: None without an answer.
        frame_known: whether the image, or the same still scene, was encoded before.
        stamp_ns: of the image that the answer is about, nanoseconds.
        overlay: file name of the image.
    """

    operator: str
    command: str
    meant: str
    status: str
    detail: str
    answer: str
    explanation: str
    turn: int
    centroid: tuple[float, float] | None
    true_centroid: tuple[float, float] | None
    iou: float | None
    first_mask_ms: float | None
    total_ms: float | None
    frame_known: bool
    stamp_ns: int
    overlay: str

    @property
    def answered(self) -> bool:
        """Whether the model answered."""
        return self.status in ANSWERED

    @property
    def caption(self) -> str:
        """For the overlay: operator, command and answer."""
        return f"{self.operator}: {self.command} -> {self.answer or self.detail or self.status}"


def masks_of(answer: Any | None, shape: tuple[int, int]) -> list[Mask]:
    """The masks of a Segmentation, each of the given (H, W)."""
    masks = [rgb_image_from(found.mask)[:, :, 0] > 0 for found in answer.objects] if answer is not None else []
    for mask in masks:
        if mask.shape != shape:
            raise ValueError(f"A mask is {mask.shape}, the image {shape} (height, width); they must be the same.")
    return masks


def row_of(number: int, line: Line, answer: Any | None, scene: Scene) -> Row:
    """Compare an answer (a Segmentation; None: there was none) with the truth."""
    truth = scene.true_mask(line)
    height, width = truth.shape
    marked = union(masks_of(answer, (height, width)), (height, width))
    said = answer if answer is not None else Segmentation(detail="")
    return Row(
        operator=line.operator,
        command=line.text,
        meant=str(line.meant),
        status=MISSING if answer is None else _STATUS.get(said.status, f"status {said.status}"),
        detail=said.detail,
        answer=said.answer,
        explanation=said.explanation,
        turn=said.turn,
        centroid=_centroid(marked),
        true_centroid=_centroid(truth),
        iou=_iou(marked, truth),
        first_mask_ms=said.first_mask_ms if said.objects else None,
        total_ms=None if answer is None else said.total_ms,
        frame_known=said.frame_known,
        stamp_ns=nanoseconds(said.header.stamp.sec, said.header.stamp.nanosec),
        overlay=f"{number}_{line.operator}.png",
    )


def _centroid(mask: Mask) -> tuple[float, float] | None:
    return centroid_pixel(mask) if mask.any() else None


def _iou(marked: Mask, truth: Mask) -> float | None:
    return intersection_over_union(marked, truth) if marked.any() or truth.any() else None


def mean_iou(rows: Iterable[Row]) -> float:
    """Over the commands about present objects; nan where there are none."""
    found = [row.iou for row in rows if row.true_centroid is not None and row.iou is not None]
    return float(np.mean(found)) if found else float("nan")


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal, about 130 characters wide."""
    cells = [_TITLES, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_TITLES))]
    numbers_from = 3  # numbers are right-aligned
    lines = [
        "  ".join(
            cell.rjust(width) if i >= numbers_from else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    note = ["* image, or the same still scene, of an earlier command: it is not encoded again"]
    shared = any(row.frame_known for row in rows)
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], *(note if shared else []), _times(rows)])


def _times(rows: Sequence[Row]) -> str:
    """Time to the first mask, on new images and on encoded ones."""
    parts = []
    for known, where in ((False, "a new image"), (True, "an encoded image")):
        times = [row.first_mask_ms for row in rows if row.frame_known == known and row.first_mask_ms is not None]
        if times:
            parts.append(f"{_milliseconds(median(times))} on {where}")
    return f"First mask: {', '.join(parts)} (median)." if parts else "No mask was found."


def _cells(row: Row) -> tuple[str, ...]:
    said = row.answer if row.answered else f"{row.status}: {row.detail}".removesuffix(": ")
    return (
        row.operator,
        textwrap.shorten(row.command, 36, placeholder="..."),
        textwrap.shorten(said, 42, placeholder="...") if said else "(empty)",
        _point(row.centroid),
        _point(row.true_centroid),
        "-" if row.iou is None else f"{row.iou:.2f}",
        _milliseconds(row.first_mask_ms),
        _milliseconds(row.total_ms) + ("*" if row.frame_known else " "),
    )


def _point(point: tuple[float, float] | None) -> str:
    return "-" if point is None else f"{point[0]:.0f}, {point[1]:.0f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def save_numbers(file: Path, rows: Sequence[Row], settings: dict[str, Any]) -> None:
    """The settings, the rows and the mean IoU as JSON (null where there is none)."""
    mean = mean_iou(rows)
    numbers = {
        "settings": settings,
        "mean_iou": None if np.isnan(mean) else mean,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    file.write_text(json.dumps(numbers, indent=2) + "\n")


def save_overlay(folder: Path, row: Row, scene: Scene, masks: Sequence[Mask]) -> None:
    """The image with the answer drawn in, as FOLDER/<row.overlay>."""
    _save(folder / row.overlay, draw_overlay(scene.image, masks, row.caption, [""] * len(masks)))


def save_sheet(file: Path, scene: Scene, answered: Iterable[tuple[Row, Sequence[Mask]]]) -> None:
    """All answers in one image, the camera's own image first, small enough for a README."""
    cells = [_cell(scene.image, (), "The camera's image")]
    cells += [_cell(scene.image, masks, row.caption) for row, masks in answered]
    rows = [_side_by_side(cells[i : i + _SHEET_COLUMNS]) for i in range(0, len(cells), _SHEET_COLUMNS)]
    widest = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=_DARK) for row in rows]
    _save(file, np.vstack(rows))


def _side_by_side(cells: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    tallest = max(len(cell) for cell in cells)
    return np.hstack([np.pad(c, ((4, 4 + tallest - len(c)), (4, 4), (0, 0)), constant_values=_DARK) for c in cells])


def _cell(image: NDArray[np.uint8], masks: Sequence[Mask], caption: str) -> NDArray[np.uint8]:
    """Made small before drawing, so that lines and letters stay readable."""
    height = max(1, round(len(image) * _SHEET_CELL_WIDTH / image.shape[1]))
    size = (_SHEET_CELL_WIDTH, height)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    nearest = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in masks]
    return draw_overlay(small, nearest, caption, [""] * len(nearest))


def _save(file: Path, rgb: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(file), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise OSError(f"The image {file} could not be written.")
