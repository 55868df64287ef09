# SPDX-License-Identifier: Apache-2.0
"""Colour histograms of an object and of its surroundings: which pixels look like which."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = (16, 32, 32)
"""Of brightness and of the two chroma channels. Brightness has fewer, because shading changes it most."""
SHIFTS = (4, 3, 3)
FLOOR = 2e-5
"""Added to a bin's share of pixels, so that a colour that occurs on neither side is no evidence."""
MAX_EVIDENCE = 4.0
"""Limit of the evidence of a single pixel's colour, nats."""

Bins = NDArray[np.intp]
"""(H, W): the histogram bin of each pixel."""


class ColourModel:
    """Histograms of the object and of its surroundings: those of the first frame, and slowly updated ones."""

    def __init__(self, ycrcb: NDArray[np.uint8], inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> None:
        """Learn both sides from the first frame.

        Args:
            ycrcb: (H, W, 3).
            inside: (H, W), pixels of the object.
            outside: (H, W), pixels around it.
        """
        bins = bins_of(ycrcb)
        self._first_inside, self._first_outside = _histogram(bins[inside]), _histogram(bins[outside])
        self._inside, self._outside = self._first_inside.copy(), self._first_outside.copy()
        self._table = self._log_ratio()

    def evidence(self, bins: Bins) -> NDArray[np.float32]:
        """Log-ratio of object and surroundings for each pixel's colour, (H, W), nats, at most MAX_EVIDENCE."""
        return self._table[bins]

    def update(self, bins: Bins, inside: NDArray[np.bool_], outside: NDArray[np.bool_]) -> None:
        """Learn from a later frame: the surroundings faster than the object, which keeps half of its first colours."""
        if np.count_nonzero(inside) > 50:
            self._inside += 0.05 * (_histogram(bins[inside]) - self._inside)
        if np.count_nonzero(outside) > 50:
            self._outside += 0.3 * (_histogram(bins[outside]) - self._outside)
        self._table = self._log_ratio()

    def _log_ratio(self) -> NDArray[np.float32]:
        inside = 0.5 * (self._inside + self._first_inside) + FLOOR
        outside = 0.8 * self._outside + 0.2 * self._first_outside + FLOOR
        return np.asarray(np.clip(np.log(inside / outside), -MAX_EVIDENCE, MAX_EVIDENCE), dtype=np.float32)


def bins_of(ycrcb: NDArray[np.uint8]) -> Bins:
    """The histogram bin of each pixel, (H, W)."""
    y, cr, cb = (ycrcb[:, :, i].astype(np.intp) >> shift for i, shift in enumerate(SHIFTS))
    return np.asarray((y * BINS[1] + cr) * BINS[2] + cb)


def _histogram(bins: Bins) -> NDArray[np.float32]:
    """Shares of pixels, smoothed over neighbouring bins because noise and shading shift colours a little."""
    counts = np.bincount(bins, minlength=BINS[0] * BINS[1] * BINS[2]).astype(np.float32)
    counts /= max(1, bins.size)
    smoothed = cv2.GaussianBlur(counts.reshape(-1, BINS[2]).reshape(BINS[0], -1), (1, 3), 0.6)
    chroma = smoothed.reshape(BINS).transpose(1, 2, 0)
    return np.asarray(cv2.GaussianBlur(chroma, (5, 5), 0.8).transpose(2, 0, 1).ravel(), dtype=np.float32)
