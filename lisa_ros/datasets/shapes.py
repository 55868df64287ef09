# SPDX-License-Identifier: Apache-2.0
"""Shapes of an annotation file, painted into a mask as LabelMe does.

LabelMe (labelme/utils/shape.py, `shape_to_mask`): "polygon" is the default; "rectangle" has two opposite corners;
"circle" has the centre and a point on its edge; "mask" has a bounding box and a base64 PNG of that size. "line",
"linestrip", "point" and "points" enclose no pixels and are refused. Polygons are painted as the public implementation
of LISA paints ReasonSeg's (utils/data_processing.py): corners cut to whole pixels, outline and inside.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lisa_ros.datasets.samples import IGNORE, DataError, Truth, shown
from lisa_ros.images.image_headers import check_header
from lisa_ros.segmentation.masks import bounding_box

AREAS = ("polygon", "rectangle", "circle", "mask")
"""Types of shapes that enclose pixels."""

BACKGROUND = "_background_"
"""LabelMe's label of what is not the object: a hole."""

_FARTHEST = 2**20
"""Pixels: more than any image has. The time to paint a shape grows with its size, seconds at 2^29."""
_TOLERANCE_PX = 1.0
"""A shape that reaches no farther than this outside the image is not reported: annotators draw along the edge."""

Points = NDArray[np.float64]
"""(n, 2): x, y in pixels."""


@dataclass(frozen=True)
class Shape:
    """One shape of an annotation file.

    Attributes:
        number: in the file, from 1, for messages.
        label: see `paint`.
        kind: one of AREAS.
        points: (n, 2), see this module's text.
        pixels: of a "mask": bool, its bounding box's size; None for others.
        group: LabelMe's group_id: shapes of one group are one object; None: by itself.
        description: LabelMe's free text about the shape; may be empty.
    """

    number: int
    label: str
    kind: str
    points: Points
    pixels: NDArray[np.bool_] | None = None
    group: int | None = None
    description: str = ""

    @property
    def is_flag(self) -> bool:
        """Whether it paints nothing: ReasonSeg's deprecated label."""
        return self.label.lower() == "flag"

    @property
    def value(self) -> int:
        """What its pixels become in a Truth."""
        label = self.label.lower()
        return 0 if label == BACKGROUND else IGNORE if "ignore" in label else 1


def parse_shapes(entries: Any) -> tuple[Shape, ...]:
    """The shapes of an annotation file's "shapes".

    Raises:
        DataError: an entry is no shape, or one that encloses no pixels; the text has its number.
    """
    if not isinstance(entries, list):
        raise DataError(f"'shapes' is of type {type(entries).__name__}; a list is expected")
    return tuple(_parse(number, entry) for number, entry in enumerate(entries, start=1))


def paint(shapes: Sequence[Shape], size: tuple[int, int]) -> Truth:
    """The true mask of shapes.

    The largest is painted first, so that smaller ones overwrite larger ones. A label that contains "ignore" paints
    IGNORE, "_background_" paints 0, any other 1; "flag" paints nothing.

    Args:
        shapes: of one question.
        size: (H, W) of the image.

    Raises:
        DataError: a shape lies outside the image.
    """
    painted = [(shape, _pixels(shape, size)) for shape in shapes if not shape.is_flag]
    for shape, pixels in painted:
        if not pixels.any():
            raise DataError(
                f"shape {shape.number} ({shape.label!r}, {shape.kind}) lies outside the image of {size[1]} x {size[0]} "
                f"pixels: {_extent(shape)}; was it drawn on an image of another size?"
            )
    truth = np.zeros(size, dtype=np.uint8)
    for i in np.argsort([np.count_nonzero(pixels) for _, pixels in painted])[::-1].astype(np.int64):
        shape, pixels = painted[i]
        truth[pixels] = shape.value
    return truth


def cut_shapes(shapes: Sequence[Shape], size: tuple[int, int]) -> list[Shape]:
    """The shapes that reach outside an image (H, W), and whose mask is cut at its edge."""
    height, width = size

    def reaches_out(shape: Shape) -> bool:
        low, high = _bounds(shape)
        limit = np.array([width, height]) + _TOLERANCE_PX
        return bool((low < -_TOLERANCE_PX).any() or (high > limit).any())

    return [shape for shape in shapes if not shape.is_flag and reaches_out(shape)]


def mask_entry(label: str, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (H, W), not empty, as a "mask" shape of an annotation file; `paint` gives the same pixels."""
    x, y, width, height = bounding_box(mask)
    crop = mask[y : y + height, x : x + width].astype(np.uint8) * np.uint8(255)
    _, data = cv2.imencode(".png", crop)
    return {
        "label": label,
        "shape_type": "mask",
        "points": [[x, y], [x + width - 1, y + height - 1]],
        "mask": base64.b64encode(data.tobytes()).decode("ascii"),
    }


def _parse(number: int, entry: Any) -> Shape:
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str) or "points" not in entry:
        raise DataError(f"shape {number} is {shown(entry)}; an object with a label and points is expected")
    label, kind = entry["label"], entry.get("shape_type") or "polygon"
    named = f"shape {number} ({shown(label)}, {kind if isinstance(kind, str) else shown(kind)})"
    points = _points(named, entry["points"])
    flag = label.lower() == "flag"
    if not flag and kind not in AREAS:
        raise DataError(f"{named} encloses no pixels; shapes can be {', '.join(AREAS)}: draw it as one of these")
    if not flag:
        _check_count(named, kind, points)
    return Shape(
        number,
        label,
        kind,
        points,
        _decoded(named, entry.get("mask"), points) if kind == "mask" else None,
        entry.get("group_id") if isinstance(entry.get("group_id"), int) else None,
        description.strip() if isinstance(description := entry.get("description"), str) else "",
    )


def _check_count(named: str, kind: str, points: Points) -> None:
    if kind == "polygon" and len(points) < 3:
        raise DataError(f"{named} has {len(points)} points; a polygon has 3 or more")
    if kind != "polygon" and len(points) != 2:
        raise DataError(f"{named} has {len(points)} points; a {kind} has 2")


def _points(named: str, points: Any) -> Points:
    try:
        array = np.array(points, dtype=np.float64)
        usable = array.ndim == 2 and array.shape[1] == 2 and bool((np.abs(array) < _FARTHEST).all())
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise DataError(f"{named} has the points {shown(points)}; a list of [x, y] in pixels is expected")
    return array


def _decoded(named: str, text: Any, points: Points) -> NDArray[np.bool_]:
    """A mask's PNG; its size is that of the bounding box, both corners included."""
    try:
        data = base64.b64decode(text, validate=True)
        checked = check_header(data)  # a small PNG can claim gigabytes of pixels
        image = cv2.imdecode(np.frombuffer(checked.data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except (TypeError, ValueError, binascii.Error, cv2.error):
        image = None
    if image is None:
        raise DataError(f"{named} has no 'mask' that is a PNG in base64")
    pixels = np.asarray(image if image.ndim == 2 else image[:, :, :3].any(axis=2)) > 0
    if not pixels.any():
        raise DataError(f"{named} has a PNG without a pixel of the object")
    width, height = (int(edge) for edge in np.floor(points[1]) - np.floor(points[0]) + 1)
    if pixels.shape != (height, width):
        raise DataError(
            f"{named} has a PNG of {pixels.shape[1]} x {pixels.shape[0]} pixels, but its points span {width} x {height}"
        )
    return np.asarray(pixels, dtype=np.bool_)


def _pixels(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): the shape's pixels in the image."""
    canvas = np.zeros(size, dtype=np.uint8)
    if shape.kind == "mask":
        return _placed(shape, size)
    if shape.kind == "circle":
        return _disc(shape.points, size)
    corners = shape.points.astype(np.int32)
    if shape.kind == "rectangle":
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.int32)
    cv2.polylines(canvas, [corners], True, (1,), 1)
    cv2.fillPoly(canvas, [corners], (1,))
    return canvas > 0


def _placed(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    assert shape.pixels is not None
    whole = np.zeros(size, dtype=np.bool_)
    rows, columns = np.nonzero(shape.pixels)
    left, top = (int(edge) for edge in np.floor(shape.points[0]))
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    whole[rows[inside], columns[inside]] = True
    return whole


def _disc(points: Points, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Drawn by Pillow, as LabelMe does."""
    (x, y), radius = points[0], math.dist(points[0], points[1])
    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).ellipse([x - radius, y - radius, x + radius, y + radius], outline=1, fill=1)
    return np.asarray(canvas, dtype=np.bool_)


def _bounds(shape: Shape) -> tuple[Points, Points]:
    """(lowest x, y; highest x, y)."""
    if shape.kind == "circle":
        radius = math.dist(shape.points[0], shape.points[1])
        return shape.points[0] - radius, shape.points[0] + radius
    return shape.points.min(axis=0), shape.points.max(axis=0)


def _extent(shape: Shape) -> str:
    (left, top), (right, bottom) = _bounds(shape)
    return f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}"
