# SPDX-License-Identifier: Apache-2.0
"""How large the masks of one message may be."""

from __future__ import annotations


class PixelBudget:
    """Bounds the masks of one message: a few bytes of run lengths can stand for a mask of any size."""

    def __init__(self, pixels: int) -> None:
        """Allows masks of so many pixels, all together."""
        self._left = pixels

    def take(self, size: tuple[int, int]) -> None:
        """Raises a ValueError unless a mask of this size (H, W) is allowed."""
        height, width = size
        if height < 1 or width < 1 or height * width > self._left:
            raise ValueError(f"a mask of {width} x {height} pixels: the masks of a message have too many pixels")
        self._left -= height * width
