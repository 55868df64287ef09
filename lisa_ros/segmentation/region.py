# SPDX-License-Identifier: Apache-2.0
"""A rectangular part of an image, and the part that shows all objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ASPECT = 4 / 3
"""Width by height of the regions around objects, as far as the image allows it."""
LEAST_SHARE = 0.2
"""Of the image's width that a region has at least: a region around a single object would show no surroundings."""


@dataclass(frozen=True)
class Region:
    """A part of an image, in pixels.

    Attributes:
        top, left: its first row and column.
        height, width: its size.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def holds(self, u: float, v: float) -> bool:
        """Whether the point (column, row) is in it; pixel centres are at whole numbers."""
        return abs(u + 0.5 - self.left - self.width / 2) <= self.width / 2 and (
            abs(v + 0.5 - self.top - self.height / 2) <= self.height / 2
        )

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part of an image (H, W, ...), without a copy."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def region_around(
    box: tuple[float, float, float, float], size: tuple[int, int], margins: tuple[float, float, float, float]
) -> Region:
    """The region of ASPECT around a box, inside the image.

    Args:
        box: top, left, bottom, right, pixels.
        size: (H, W) of the image.
        margins: what is added at the top, left, bottom and right, as shares of the box's longer side.
    """
    height, width = size
    longer = max(box[2] - box[0], box[3] - box[1])
    top, left = box[0] - margins[0] * longer, box[1] - margins[1] * longer
    bottom, right = box[2] + margins[2] * longer, box[3] + margins[3] * longer
    top, left, bottom, right = max(0.0, top), max(0.0, left), min(float(height), bottom), min(float(width), right)
    wide = min(float(width), max(right - left, ASPECT * (bottom - top), LEAST_SHARE * width))
    tall = min(float(height), max(bottom - top, wide / ASPECT))
    first_row = np.clip((top + bottom - tall) / 2, 0.0, height - tall)
    first_column = np.clip((left + right - wide) / 2, 0.0, width - wide)
    row, column = int(np.floor(first_row)), int(np.floor(first_column))
    return Region(row, column, min(height - row, int(np.ceil(tall))), min(width - column, int(np.ceil(wide))))


def box_around(cover: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """Top, left, bottom and right of what is True in (H, W); None where nothing is."""
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if not len(rows):
        return None
    return float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1)
