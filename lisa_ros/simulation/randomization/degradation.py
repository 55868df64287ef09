# SPDX-License-Identifier: Apache-2.0
"""What a real camera and its driver do to an image: exposure, white balance, vignette, blur, noise and JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB (H, W, 3)."""


def degraded(rgb: Image, rng: Generator, frame: float | None = None) -> Image:
    """The image as a random camera would give it; each effect comes up by itself, mild enough for a person.

    Args:
        rgb: the image.
        rng: source of all random numbers.
        frame: longer side of the camera's image, of which this is a part, in units of 320 pixels; None: it is whole.
    """
    values = rgb.astype(np.float32) / 255.0
    values = _exposed(values, rng)
    if rng.random() < 0.3:
        values = values * _vignette(values.shape[:2], rng)
    if rng.random() < 0.35:
        values = _blurred(values, rng, frame or max(values.shape[:2]) / 320.0)
    if rng.random() < 0.5:
        values = values + rng.normal(0.0, rng.uniform(0.004, 0.03), values.shape).astype(np.float32)
    image = np.rint(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
    return _compressed(image, rng) if rng.random() < 0.4 else image


def _exposed(values: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """Gain, white balance and gamma."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
    bright = np.clip(values * gain.astype(np.float32), 0.0, 1.0)
    return np.asarray(bright ** np.float32(np.exp(rng.uniform(-0.25, 0.25))))


def _vignette(shape: tuple[int, ...], rng: Generator) -> NDArray[np.float32]:
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j].astype(np.float32)
    return np.asarray(1.0 - rng.uniform(0.1, 0.4) * (rows**2 + columns**2) / 2.0)[:, :, None].astype(np.float32)


def _blurred(values: NDArray[np.float32], rng: Generator, side: float) -> NDArray[np.float32]:
    """Out of focus, or moved along a line."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(0.3, 1.1) * side))
    length = max(2, round(rng.uniform(2.0, 5.0) * side))
    kernel = np.zeros((length, length), dtype=np.float32)
    angle = rng.uniform(0.0, np.pi)
    reach, middle = (length - 1) / 2.0, (length - 1) / 2.0
    ends = [(round(middle + s * reach * np.cos(angle)), round(middle + s * reach * np.sin(angle))) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], (1.0,))
    return np.asarray(cv2.filter2D(values, -1, kernel / kernel.sum()))


def _compressed(rgb: Image, rng: Generator) -> Image:
    quality = int(rng.integers(35, 95))
    _, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1], dtype=np.uint8)


def hide_behind_arm(rgb: Image, instances: NDArray[np.uint8], rng: Generator) -> tuple[Image, NDArray[np.uint8]]:
    """A rounded arm with two fingers that reaches in from the image's border, over the objects.

    Args:
        rgb: the image.
        instances: (H, W), the object at each pixel; 0 where the arm hides it.
        rng: source of all random numbers.

    Returns:
        copies of both.
    """
    height, width = instances.shape
    side = max(height, width)
    start = _on_border(rng, width, height)
    tip = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.9) * height])
    along = (tip - start) / max(1.0, float(np.linalg.norm(tip - start)))
    across = np.array([-along[1], along[0]])
    covered = np.zeros((height, width), dtype=np.uint8)
    thick = rng.uniform(0.03, 0.09) * side
    _stroke(covered, start, tip, thick)
    for sign in (-1, 1):
        _stroke(
            covered, tip + sign * 0.4 * thick * across, tip + along * thick + sign * 0.7 * thick * across, thick / 3
        )
    arm = covered > 0
    shade = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), thick / 4 + 0.5) / 255.0
    colour = rng.uniform(0.05, 0.95) * 255.0 * rng.uniform(0.75, 1.0, 3)
    painted = np.where(arm[:, :, None], colour * (0.5 + 0.5 * shade[:, :, None]), rgb)
    return np.clip(painted, 0, 255).astype(np.uint8), np.where(arm, 0, instances).astype(np.uint8)


def _on_border(rng: Generator, width: int, height: int) -> NDArray[np.float64]:
    share = rng.random()
    sides = ((share * width, 0.0), (share * width, height), (0.0, share * height), (width, share * height))
    return np.array(sides[int(rng.integers(4))], dtype=np.float64)


def _stroke(mask: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64], thick: float) -> None:
    points = [(int(np.rint(point[0])), int(np.rint(point[1]))) for point in (start, end)]
    cv2.line(mask, points[0], points[1], (255,), max(1, round(thick)))
