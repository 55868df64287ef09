# SPDX-License-Identifier: Apache-2.0
"""An answer as an image for people: outlines, hatching, numbers and phrases of the objects, and a band of text.

Drawn with OpenCV and Pillow alone. `supervision` was considered: its annotators tint the whole object, which hides the
object's own colour, and write with OpenCV's ASCII font; it would bring matplotlib and SciPy onto the robot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lisa_ros.segmentation.lettering import Colour, Lettering, colour_of
from lisa_ros.segmentation.masks import bounding_box, centroid_pixel, union
from lisa_ros.segmentation.text import number_symbol

_WHITE, _BLACK, _DARK, _GREY = (255, 255, 255), (0, 0, 0), (24, 24, 24), (185, 185, 185)
_HATCH = 0.5
"""Opacity of the hatching. Most of an object stays as the camera saw it: a blue mug looks blue under any colour."""
_MAX_LINES = 8
"""Of the band of text."""
_MAX_LABEL = 0.45
"""Of the image's width; a longer phrase is cut."""

Rgb = NDArray[np.uint8]
_Box = tuple[int, int, int, int]


def draw_overlay(
    image: Rgb, masks: Sequence[NDArray[np.bool_]], caption: str = "", labels: Sequence[str] | None = None
) -> Rgb:
    """Draw the objects of an answer into an image.

    Args:
        image: RGB uint8 of shape (H, W, 3). It is not changed.
        masks: One mask (H, W) per object. The i-th object has number i + 1 and the colour of that number.
        caption: Text for a band below the image: the command in the first line, then the explanation. Symbols such as
            "①" are drawn in their objects' colours. Empty: no band.
        labels: One phrase per object, to stand beside it with its number; may be empty strings. None: several objects
            get their numbers, a single one gets nothing.

    Returns:
        RGB uint8 of shape (H + band, W, 3).
    """
    drawn = image.copy()
    width = max(2, round(max(image.shape[:2]) / 400))
    for number, mask in enumerate(masks, start=1):
        if mask.any():
            _hatch(drawn, mask, number, width)
    for number, mask in enumerate(masks, start=1):
        if mask.any():
            _outline(drawn, mask, colour_of(number), width)
    if labels is None and len(masks) > 1:
        labels = [""] * len(masks)
    if labels is not None:
        drawn = _labelled(drawn, masks, labels)
    return np.vstack([drawn, _band(caption, image.shape[1])]) if caption.strip() and image.shape[1] else drawn


def _hatch(drawn: Rgb, mask: NDArray[np.bool_], number: int, width: int) -> None:
    """Diagonal lines over the object, of the other diagonal for every second one."""
    x, y, w, h = bounding_box(mask)
    rows, columns = np.ogrid[y : y + h, x : x + w]
    diagonal = columns + rows if number % 2 else columns - rows
    lines = mask[y : y + h, x : x + w] & (diagonal % (7 * width) < width)
    part = drawn[y : y + h, x : x + w]
    part[lines] = ((1 - _HATCH) * part[lines] + _HATCH * np.array(colour_of(number))).astype(np.uint8)


def _outline(drawn: Rgb, mask: NDArray[np.bool_], colour: Colour, width: int) -> None:
    """The object's outline between two thin white ones, so that it shows on any colour; its centroid as a dot."""
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _WHITE, width + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, colour, width, cv2.LINE_AA)
    u, v = (round(c) for c in centroid_pixel(mask))
    cv2.circle(drawn, (u, v), width + 2, _BLACK, -1, cv2.LINE_AA)
    cv2.circle(drawn, (u, v), width, _WHITE, -1, cv2.LINE_AA)


def _labelled(drawn: Rgb, masks: Sequence[NDArray[np.bool_]], labels: Sequence[str]) -> Rgb:
    height, width = drawn.shape[:2]
    lettering = Lettering(_letters_px(width))
    objects = union(masks, (height, width))
    canvas = Image.fromarray(drawn)
    draw = ImageDraw.Draw(canvas)
    placed: list[_Box] = []
    for number, (mask, label) in enumerate(zip(masks, labels, strict=True), start=1):
        if not mask.any():
            continue
        text = lettering.shortened(f"{number_symbol(number)} {label}".rstrip(), round(_MAX_LABEL * width))
        size = lettering.width(text) + (lettering.size_px // 2 if label else 0), lettering.line_px
        box = min(_places(mask, size, (width, height)), key=lambda one: _cost(one, placed, objects))
        placed.append(box)
        draw.rounded_rectangle((*box[:2], box[2] - 1, box[3] - 1), radius=lettering.line_px // 2, fill=_DARK)
        lettering.draw(draw, box[0], box[1], text, _WHITE)
    return np.array(canvas)


def _places(mask: NDArray[np.bool_], size: tuple[int, int], image_size: tuple[int, int]) -> Iterator[_Box]:
    """(x0, y0, x1, y1) where a label of this (width, height) may stand: around the object, at last on it."""
    (x, y, w, h), (width, height), gap = _box_of_largest_part(mask), size, 4
    middle = x + (w - width) // 2, y + (h - height) // 2
    corners = [
        (middle[0], y - height - gap),
        (middle[0], y + h + gap),
        (x + w + gap, middle[1]),
        (x - width - gap, middle[1]),
        middle,
    ]
    for left, top in corners:
        left = max(0, min(left, image_size[0] - width))
        top = max(0, min(top, image_size[1] - height))
        yield left, top, left + width, top + height


def _box_of_largest_part(mask: NDArray[np.bool_]) -> _Box:
    """x, y, width and height; small parts of a mask, often mistakes, must not draw the label away from the object."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    largest = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return int(largest[0]), int(largest[1]), int(largest[2]), int(largest[3])


def _cost(box: _Box, placed: Sequence[_Box], objects: NDArray[np.bool_]) -> int:
    """Pixels of objects that a label would hide; those of other labels count ten times."""
    x0, y0, x1, y1 = box
    hidden = int(np.count_nonzero(objects[y0:y1, x0:x1]))
    return hidden + 10 * sum(
        max(0, min(x1, one[2]) - max(x0, one[0])) * max(0, min(y1, one[3]) - max(y0, one[1])) for one in placed
    )


def _band(caption: str, width: int) -> Rgb:
    """The command in grey, the explanation in white, on dark."""
    lettering = Lettering(_letters_px(width))
    margin = lettering.size_px // 2
    command, _, explanation = caption.strip().partition("\n")
    room = max(1, width - 2 * margin)
    lines = [(line, _GREY) for line in lettering.wrapped(command, room, _MAX_LINES // 2)]
    lines += [(line, _WHITE) for line in lettering.wrapped(explanation, room, _MAX_LINES - len(lines))]
    band = Image.new("RGB", (width, 2 * margin + lettering.line_px * len(lines)), _DARK)
    draw = ImageDraw.Draw(band)
    for i, (line, colour) in enumerate(lines):
        lettering.draw(draw, margin, margin + i * lettering.line_px, line, colour)
    return np.array(band)


def _letters_px(width: int) -> int:
    """Size of the letters for an image of this width, both in pixels: 13 at 320, 15 at 640, 22 at 1920."""
    return round(11 + width / 180)
