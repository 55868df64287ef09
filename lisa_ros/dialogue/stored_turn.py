# SPDX-License-Identifier: Apache-2.0
"""One turn as a row of the dialogue file."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from lisa_ros.segmentation.answers import Mask, ObjectMask, Region
from lisa_ros.segmentation.text import without_surrogates
from lisa_ros.segmentation.turns import Turn


def check_row(row: tuple[Any, ...]) -> None:
    """Raise a ValueError for a row with values of other types: SQLite does not enforce the columns' types."""
    operator, number, spoken_s, command, answer, objects, masks, refers = row
    texts = all(isinstance(value, str) for value in (operator, command, answer, objects, refers))
    if not (texts and isinstance(number, int) and number > 0 and isinstance(masks, bytes)):
        raise ValueError("a turn has values of other types")
    if not (isinstance(spoken_s, float) and math.isfinite(spoken_s)):
        raise ValueError(f"a turn has the time {spoken_s!r}")


def insertion(operator: str, turn: Turn, last_turn_s: float) -> tuple[str, tuple[Any, ...]]:
    """The statement that adds a turn, and its values."""
    objects, masks = _packed(turn.objects)
    references = json.dumps([int(number) for number in turn.references])
    command, answer = without_surrogates(turn.command), without_surrogates(turn.answer)
    row = (operator, turn.number, last_turn_s, command, answer, objects, masks, references)
    return "insert or replace into turns values (?, ?, ?, ?, ?, ?, ?, ?)", row


def _packed(objects: Sequence[ObjectMask]) -> tuple[str, bytes]:
    """The objects as JSON, and the bits of all masks, each followed by those of its object's region."""
    bits = b"".join(
        _bits(found.mask) + (_bits(found.region.mask) if found.region is not None else b"") for found in objects
    )
    return json.dumps([_entry(found) for found in objects]), zlib.compress(bits)


def _entry(found: ObjectMask) -> dict[str, Any]:
    """An object without its mask. A model may compute its numbers with numpy, whose types JSON does not know."""
    score = None if found.score is None else float(found.score)
    entry: dict[str, Any] = {"span": [int(end) for end in found.span], "shape": list(found.mask.shape), "score": score}
    entry["score_calibrated"] = bool(found.score_calibrated)
    if found.region is not None:
        box = [float(side) for side in found.region.box]
        entry["region"] = {"shape": list(found.region.mask.shape), "box": box}
    return entry


def turn_of_row(number: int, command: str, answer: str, objects: str, packed: bytes, refers: str) -> Turn:
    """The turn of a row.

    Raises:
        ValueError, LookupError, TypeError, AttributeError, zlib.error: The row is damaged.
    """
    entries = json.loads(objects)
    shapes = [shape for entry in entries for shape in _shapes(entry)]
    expected = sum(map(_size, shapes))
    bits = zlib.decompressobj().decompress(packed, expected + 1)
    if len(bits) != expected:  # also protects against shapes that would take all memory
        raise ValueError(f"masks of {expected} bytes are needed, and {len(bits)} are there")
    stream = BytesIO(bits)
    found = tuple(_object(entry, stream) for entry in entries)
    return Turn(command, answer, found, tuple(json.loads(refers)), number)


def _shapes(entry: dict[str, Any]) -> list[tuple[int, int]]:
    region = entry.get("region")
    height, width = entry["shape"]
    return [(height, width), *([tuple(region["shape"])] if region is not None else [])]


def _size(shape: tuple[int, int]) -> int:
    """Bytes that a mask's bits take."""
    height, width = shape
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise ValueError(f"a mask cannot be {height} x {width}")
    return -(-height * width // 8)


def _object(entry: dict[str, Any], bits: BytesIO) -> ObjectMask:
    mask, region = _mask(bits, entry["shape"]), None
    if (stored := entry.get("region")) is not None:
        x0, y0, x1, y1 = stored["box"]
        region = Region(_mask(bits, stored["shape"]), (x0, y0, x1, y1))
    calibrated = entry.get("score_calibrated", False)  # files of earlier versions do not have it
    return ObjectMask(mask, tuple(entry["span"]), entry.get("score"), calibrated, region=region)


def _bits(mask: Mask) -> bytes:
    return np.packbits(mask).tobytes()


def _mask(bits: BytesIO, shape: Sequence[int]) -> Mask:
    height, width = shape
    packed = np.frombuffer(bits.read(_size((height, width))), np.uint8)
    return np.unpackbits(packed, count=height * width).reshape(height, width).astype(np.bool_)
