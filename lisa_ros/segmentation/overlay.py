# SPDX-License-Identifier: Apache-2.0
"""An answer as a picture for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import centroid_pixel

COLOURS_RGB = ((255, 0, 200), (0, 230, 230), (150, 255, 0), (255, 176, 0), (120, 90, 255), (255, 80, 80))


def draw_overlay(image: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], caption: str = "") -> NDArray[np.uint8]:
    """Tints the masks, draws their outlines and centroids, and writes a caption below.

    Args:
        image: RGB (H, W, 3).
        masks: each (H, W); each gets its own colour.
        caption: text for the strip below the picture; without it there is no strip.

    Returns:
        RGB uint8, (H + strip, W, 3).
    """
    picture = image.copy()
    width = max(1, round(max(image.shape[:2]) / 400))
    for i, mask in enumerate(masks):
        if mask.any():
            _draw_mask(picture, mask, COLOURS_RGB[i % len(COLOURS_RGB)], width)
    return np.vstack([picture, _caption_strip(caption, picture.shape[1])]) if caption else picture


def _draw_mask(picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int], width: int) -> None:
    tint = np.array(colour, dtype=np.float32)
    picture[mask] = (0.55 * picture[mask] + 0.45 * tint).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A white halo: the outline must show on an object of any colour, its own too.
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), width + 2)
    cv2.drawContours(picture, outlines, -1, colour, width)
    u, v = (round(c) for c in centroid_pixel(mask))
    cv2.drawMarker(picture, (u, v), (255, 255, 255), cv2.MARKER_CROSS, 8 * width, width + 2)
    cv2.drawMarker(picture, (u, v), (0, 0, 0), cv2.MARKER_CROSS, 8 * width, width)


def _caption_strip(caption: str, width: int) -> NDArray[np.uint8]:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.35, width / 1280)
    sample = "the quick brown fox jumps over the lazy dog"
    (sample_width, height), _ = cv2.getTextSize(sample, font, scale, 1)
    # OpenCV's font has ASCII only.
    plain = caption.encode("ascii", "replace").decode()
    letters = int(0.94 * width * len(sample) / sample_width)
    lines = [line for part in plain.splitlines() for line in textwrap.wrap(part, max(8, letters)) or [""]]
    step = 2 * height + 4
    strip = np.full((step * len(lines) + 8, width, 3), 24, dtype=np.uint8)
    for i, line in enumerate(lines):
        cv2.putText(strip, line, (6, step * (i + 1) - height // 2), font, scale, (235, 235, 235), 1, cv2.LINE_AA)
    return strip
