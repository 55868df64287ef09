# SPDX-License-Identifier: Apache-2.0
"""An image pyramid, and windows in it: a tracker works on a window around the object, not on the whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box

COARSE = 4
"""The coarse image is this many times smaller than the frame."""


class Pyramid:
    """A frame in several sizes, each computed when it is first needed.

    Attributes:
        shape: (H, W) of the frame.
        coarse: brightness at a quarter of the size, uint8.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """Takes an RGB image, (H, W, 3)."""
        height, width = image.shape[:2]
        self.shape = (height, width)
        self._levels = [_bytes(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YCrCb))]
        small = (max(16, width // COARSE), max(16, height // COARSE))
        self.coarse = _bytes(cv2.resize(brightness(self._levels[0]), small, interpolation=cv2.INTER_AREA))

    def level(self, number: int) -> NDArray[np.uint8]:
        """YCrCb, halved `number` times."""
        while len(self._levels) <= number:
            last = self._levels[-1]
            size = ((last.shape[1] + 1) // 2, (last.shape[0] + 1) // 2)
            self._levels.append(_bytes(cv2.resize(last, size, interpolation=cv2.INTER_AREA)))
        return self._levels[number]


def brightness(ycrcb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first channel, contiguous in memory as OpenCV needs it."""
    return np.ascontiguousarray(ycrcb[:, :, 0])


def _bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class Window:
    """A rectangle in one level of a pyramid, in that level's pixels. It may reach beyond the image."""

    x: int
    y: int
    width: int
    height: int
    level: int

    @staticmethod
    def around(mask: NDArray[np.bool_], margin_px: int, max_px: int) -> Window:
        """The window around a mask.

        Args:
            mask: (H, W), not empty.
            margin_px: Pixels of the frame around the mask's box; larger objects get an eighth of their size more.
            max_px: Maximum of the longer side, in pixels of the level. The finest level that allows it is used.
        """
        x, y, width, height = bounding_box(mask)
        margin = margin_px + max(width, height) // 8
        level = 0
        while (max(width, height) + 2 * margin) >> level > max_px:
            level += 1
        width, height = (width + 2 * margin) >> level, (height + 2 * margin) >> level
        return Window((x - margin) >> level, (y - margin) >> level, width, height, level)

    def moved(self, dx: float, dy: float) -> Window:
        """The window moved by about so many pixels of the frame."""
        scale = 2**self.level
        return Window(self.x + round(dx / scale), self.y + round(dy / scale), self.width, self.height, self.level)

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The window's part of an image of its level. Beyond the image, the pixels at its edge are repeated."""
        rows, columns = np.arange(self.y, self.y + self.height), np.arange(self.x, self.x + self.width)
        return image.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")

    def crop_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The window's part of a mask of the frame's size, in the window's level."""
        scale = 2**self.level
        full = Window(self.x * scale, self.y * scale, self.width * scale, self.height * scale, 0)
        part = full.crop(mask.view(np.uint8)) * np.uint8(255)
        if scale > 1:
            part = _bytes(cv2.resize(part, (self.width, self.height), interpolation=cv2.INTER_AREA))
        return np.asarray(part > 127)

    def inside(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which of the window's pixels lie in an image of its level of that (H, W)."""
        rows, columns = np.arange(self.y, self.y + self.height), np.arange(self.x, self.x + self.width)
        row_in, column_in = (rows >= 0) & (rows < shape[0]), (columns >= 0) & (columns < shape[1])
        return np.asarray(row_in[:, None] & column_in[None, :])

    def paste(self, score: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """A mask of the frame's (H, W): True where the scores of the window's pixels are above 0."""
        scale = 2**self.level
        if scale > 1:
            size = (self.width * scale, self.height * scale)
            score = np.asarray(cv2.resize(score, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
        x, y = self.x * scale, self.y * scale
        left, top = max(0, -x), max(0, -y)
        right, bottom = min(score.shape[1], shape[1] - x), min(score.shape[0], shape[0] - y)
        mask = np.zeros(shape, dtype=np.bool_)
        if right > left and bottom > top:
            mask[y + top : y + bottom, x + left : x + right] = score[top:bottom, left:right] > 0
        return mask
