# SPDX-License-Identifier: Apache-2.0
"""What an operator points at in an image, beside the text of a command."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.errors import is_kind

MAX_POINTS = 16
MAX_BOXES = 1
"""segment-anything's prompt encoder takes one box per mask."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Pointing:
    """Points and boxes on the object that is meant, in pixels of the image; pixel centres at whole numbers.

    Attributes:
        points: each (u, v) = (column, row).
        boxes: each (x, y, width, height).
    """

    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.points or self.boxes)

    def check(self, size: tuple[int, int]) -> None:
        """Checks the numbers against an image.

        Args:
            size: (H, W) of the image, pixels.

        Raises:
            CommandError: there are too many points or boxes, one is no numbers, or one is not inside the image.
        """
        _check_numbers("points", "(u, v)", 2, self.points)
        _check_numbers("boxes", "(x, y, width, height)", 4, self.boxes)
        height, width = size
        if len(self.points) > MAX_POINTS or len(self.boxes) > MAX_BOXES:
            raise CommandError(
                f"The command has {len(self.points)} points and {len(self.boxes)} boxes; at most {MAX_POINTS} points "
                f"and {MAX_BOXES} box are possible."
            )
        for u, v in self.points:
            if not (0 <= u <= width - 1 and 0 <= v <= height - 1):  # also false for NaN
                raise CommandError(f"The point ({u:g}, {v:g}) is outside the image of {width} x {height} pixels.")
        for x, y, box_width, box_height in self.boxes:
            inside = x >= 0 and y >= 0 and x + box_width <= width and y + box_height <= height
            if not (inside and box_width >= 1 and box_height >= 1 and math.isfinite(x + y)):
                raise CommandError(
                    f"The box at ({x:g}, {y:g}) of {box_width:g} x {box_height:g} pixels is empty or not inside the "
                    f"image of {width} x {height} pixels."
                )

    def refuse(self, model: str) -> None:
        """Raises a CommandError if anything is pointed at; for models whose mask decoder takes no points.

        Args:
            model: its name, for the sentence.
        """
        if self:
            raise CommandError(f"{model} takes no points or boxes; say in the text which object is meant.")


def _check_numbers(name: str, each: str, count: int, given: Any) -> None:
    """A program in Python can give anything, such as one point without the tuple around it."""

    def is_right(one: Any) -> bool:
        several = isinstance(one, list | tuple | np.ndarray)
        return several and len(one) == count and all(is_kind(number, Real) for number in one)

    if not isinstance(given, list | tuple) or not all(map(is_right, given)):
        raise CommandError(f"The {name} must be a tuple of {each} in pixels; they are {given!r:.80}.")


NO_POINTING = Pointing()
