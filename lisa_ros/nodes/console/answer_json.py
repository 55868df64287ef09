# SPDX-License-Identifier: Apache-2.0
"""Converts the node's messages to JSON for a page, with masks as run lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lisa_ros.msg import DialogueTurn, Heard, ObjectMask, Segmentation
from lisa_ros.nodes.common.masks import mask_of
from lisa_ros.nodes.common.spoken_answers import spoken
from lisa_ros.nodes.console.conversation import DONE, MOST_RUNS, Exchange
from lisa_ros.segmentation.text import explanation_of

_STATUSES = ("OK", "NO_OBJECT", "REJECTED", "NO_IMAGE", "CANCELLED", "FAILED")
_MEANINGS = ("COMMAND", "STOP", "RESET", "YES", "NO", "UNSURE", "IGNORED", "WAKE")
_MEANING_NAMES: dict[int, str] = {getattr(Heard, name): name for name in _MEANINGS}
STATUS_NAMES: dict[int, str] = {getattr(Segmentation, name): name for name in _STATUSES}


def mask_runs(message: ObjectMask) -> list[int] | None:
    """A mask as alternating run lengths in row-major order, the first one of pixels outside.

    The sum is width x height, and a mask that begins with a pixel inside has a first run of 0. Empty where the command
    asked for no masks; None where there are more runs than a page is sent.
    """
    mask = mask_of(message)
    flat = np.zeros(0, dtype=np.bool_) if mask is None else mask.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else np.zeros(0, dtype=np.intp)
    if len(changes) >= MOST_RUNS:
        return None
    return [int(run) for run in np.diff(changes, prepend=0, append=flat.size)]


def _finite(value: float) -> float:
    """A number; 0 where it is none. JSON has no NaN, and another program may have sent the message."""
    return float(value) if math.isfinite(value) else 0.0


def object_json(message: ObjectMask, number: int) -> dict[str, Any]:
    """One object of an answer.

    Args:
        message: the node's.
        number: counted from 1 in the order of the answer.

    Returns:
        "number", "runs" (see mask_runs), "mask_left_out" (True: the runs are too many for a page, and "runs" is
        empty), "bbox" [x, y, width, height] and "centroid" [u, v] in pixels, "pixels",
        "score" (None: the model reports none), "score_calibrated" (False: the score is no probability), "name" (see
        ObjectMask.msg), "distance_m" (from the camera; None: not known) and "no_distance": why it is not known.
    """
    box, point = message.bbox, message.pose.position
    distance_m = math.hypot(point.x, point.y, point.z) if message.located else math.nan
    has_score = math.isfinite(message.score) and message.score >= 0
    runs = mask_runs(message)
    return {
        "number": number,
        "runs": runs or [],
        "mask_left_out": runs is None,
        "bbox": [box.x_offset, box.y_offset, box.width, box.height],
        "centroid": [_finite(message.centroid_pixel.x), _finite(message.centroid_pixel.y)],
        "pixels": message.pixels,
        "score": round(float(message.score), 4) if has_score else None,
        "score_calibrated": bool(message.score_calibrated),
        "name": message.name,
        "distance_m": distance_m if math.isfinite(distance_m) else None,
        "no_distance": message.location_detail,
    }


def heard_json(message: Heard) -> dict[str, Any]:
    """Recognised speech: "text" and "final"; of final ones also "meaning" and "detail"."""
    meaning = _MEANING_NAMES.get(message.meaning, "") if message.final else ""
    text = message.used or message.heard
    return {"type": "heard", "text": text, "final": message.final, "meaning": meaning, "detail": message.detail}


def size_of(objects: list[ObjectMask]) -> tuple[int, int] | None:
    """(width, height) of the masks' image; None where no object has a mask."""
    for mask in (made for one in objects for made in (one.mask, one.run_length_mask)):
        if mask.height:
            return mask.width, mask.height
    return None


def objects_json(objects: list[ObjectMask]) -> list[dict[str, Any]]:
    """All objects of an answer."""
    return [object_json(found, number) for number, found in enumerate(objects, start=1)]


def fill_exchange(exchange: Exchange, message: Segmentation, objects: list[dict[str, Any]]) -> None:
    """Fills an exchange with its whole answer; `objects` is objects_json(message.objects)."""
    exchange.status = STATUS_NAMES.get(message.status, str(message.status))
    exchange.detail = message.detail
    exchange.answer = message.explanation
    exchange.spoken = spoken(message)
    exchange.turn = message.turn
    exchange.references = list(message.references) or exchange.references
    exchange.objects = objects
    exchange.size = size_of(message.objects) or exchange.size
    exchange.stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
    exchange.timing_ms = {
        "queued": _finite(message.queued_ms),
        "first_mask": _finite(message.first_mask_ms),
        "total": _finite(message.total_ms),
    }


def exchange_of_turn(turn: DialogueTurn) -> Exchange:
    """An earlier turn that the node keeps; its image is not kept."""
    return Exchange(
        id=f"turn-{turn.turn}",
        text=turn.text,
        references=list(turn.references),
        state=DONE,
        status="OK" if turn.objects else "NO_OBJECT",
        answer=turn.explanation or explanation_of(turn.answer),
        objects=objects_json(turn.objects),
        size=size_of(turn.objects),
        turn=turn.turn,
    )
