# SPDX-License-Identifier: Apache-2.0
"""Masks in COCO's formats: polygons, or run lengths, plain or compressed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lisa_ros.datasets.samples import DataError
from lisa_ros.segmentation.files.run_lengths import runs_of_text

Mask = NDArray[np.bool_]
"""(H, W)."""

_MAX_OUTLINE_PX = 2_000_000
"""pycocotools takes 80 bytes for each pixel of a polygon's outline, and ends the process where they are too many."""


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> Mask:
    """The mask of an annotation's `segmentation`.

    Args:
        segmentation: a list of polygons [x, y, x, y, ...] in pixels; a run-length code {"size": [H, W], "counts": ...},
            its counts a list or COCO's compressed text; or a list of such codes. All parts together are the mask.
            An empty list is an empty mask.
        size: (H, W) of the image.

    Raises:
        DataError: it is none of these, or has another size.
    """
    if isinstance(segmentation, list) and not segmentation:
        return np.zeros(size, dtype=np.bool_)
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    try:
        codes = [code for part in parts for code in _codes(part, size)]
        # Merged before they are decoded: one mask in memory, however many parts there are.
        return np.asarray(coco.decode(coco.merge(codes)), dtype=np.bool_)
    except DataError:
        raise
    except Exception as error:  # whatever pycocotools and numpy raise for values of other kinds
        raise DataError(f"a segmentation is neither COCO polygons nor a run-length code: {error}") from error


def encode_mask(mask: Mask) -> str:
    """A mask (H, W) as COCO's compressed run lengths, plain ASCII; `decode_mask` reads it."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def decode_mask(counts: str, size: tuple[int, int]) -> Mask:
    """The mask of `encode_mask`'s text; size is (H, W).

    Raises:
        DataError: the text is no run-length code of an image of that size.
    """
    return decode_segmentation({"size": list(size), "counts": counts}, size)


def _codes(part: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    """One part of a segmentation as compressed run-length codes."""
    height, width = size
    if isinstance(part, list):
        if len(part) < 6 or len(part) % 2:  # pycocotools takes four numbers for a box, and less for nothing at all
            raise DataError(f"a polygon has {len(part)} numbers; three points x, y or more are needed")
        _check_outline(part)
        return list(coco.frPyObjects([part], height, width))
    if not isinstance(part, dict) or not {"size", "counts"} <= part.keys():
        kind = type(part).__name__
        raise DataError(f"a segmentation has a part of type {kind}, neither a polygon nor a run-length code")
    if [int(n) for n in part["size"]] != [height, width]:
        raise DataError(f"a run-length code is of size {part['size']}, the image of [{height}, {width}]")
    if isinstance(part["counts"], list):
        runs = sum(int(n) for n in part["counts"])
        if runs != height * width or min(part["counts"]) < 0:
            raise DataError(f"a run-length code has runs of {runs} pixels, the image has {height * width}")
        return [coco.frPyObjects(part, height, width)]
    counts = part["counts"]
    compressed = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    _check_runs(compressed, height * width)
    return [{"size": [height, width], "counts": compressed}]


def _check_outline(polygon: list[Any]) -> None:
    """Raises a DataError for numbers that no image has; pycocotools checks none of them."""
    points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    edges = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    if not (np.abs(points) < _MAX_OUTLINE_PX).all() or edges.sum() > _MAX_OUTLINE_PX:
        raise DataError(
            f"a polygon has numbers up to {np.abs(points).max():g}, or an outline of more than {_MAX_OUTLINE_PX} "
            "pixels; x, y in pixels are expected"
        )


def _check_runs(counts: bytes, pixels: int) -> None:
    """Raises a DataError unless compressed runs fill the image; pycocotools would read past them in memory."""
    try:
        runs = runs_of_text(counts)
    except ValueError as error:
        raise DataError(str(error)) from error
    if sum(runs) != pixels:
        raise DataError(f"a compressed run-length code does not fill its image of {pixels} pixels")
