# SPDX-License-Identifier: Apache-2.0
"""The objects of a rendered view on another background: smaller or larger, with textures and shadows of their own.

It costs milliseconds where rendering takes a large part of a second, so every drawn view can have a new background.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lisa_ros.simulation.randomization.ranges import TRAINING
from lisa_ros.simulation.randomization.textures import draw_texture
from lisa_ros.simulation.scene import Camera, View
from lisa_ros.tabletop.view_sources import replace_pixels

SIZES = ((320, 240), (320, 240), (320, 180), (288, 288), (240, 320))
"""(width, height) of the new images, pixels."""
SCALES = (0.4, 1.15)
"""Smallest and largest size of the objects relative to the rendered view."""

Floats = NDArray[np.float32]


def on_another_background(view: View, rng: Generator) -> View:
    """The view's objects, scaled and shifted, before random textures; distractors are gone.

    Where no object would be left in the image, the view itself.
    """
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    scale = float(np.exp(rng.uniform(*np.log(SCALES)))) * width / view.instances.shape[1]
    shift = _shift(view, scale, (width, height), rng)
    matrix = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    instances = cv2.warpAffine(view.instances, matrix, (width, height), flags=cv2.INTER_NEAREST)
    if not instances.any():
        return view
    objects, cover = _smoothly_warped(view, matrix, (width, height))
    background = _background(width, height, rng) * _shadow(cover, rng)[:, :, None]
    rgb = np.clip(objects + (1.0 - cover[:, :, None]) * 255.0 * background, 0, 255).astype(np.uint8)
    k = view.camera.k.copy()
    k[:2] *= scale
    k[:2, 2] += shift
    depth = np.broadcast_to(np.float32(np.inf), instances.shape)
    camera = Camera(width, height, k, view.camera.pose)
    return replace_pixels(View(rgb, depth, view.instances, view.objects, camera), rgb, np.asarray(instances, np.uint8))


def _shift(view: View, scale: float, size: tuple[int, int], rng: Generator) -> NDArray[np.float64]:
    """Puts the middle of the objects somewhere in the image's inner part."""
    rows, columns = np.nonzero(view.instances)
    middle = np.array([columns.mean(), rows.mean()]) * scale
    return rng.uniform(0.3, 0.7, 2) * size - middle


def _smoothly_warped(view: View, matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The objects' colours times their cover, and the cover 0 to 1 of each pixel; antialiased where they shrink."""
    cover = (view.instances > 0).astype(np.float32)
    painted = view.rgb.astype(np.float32) * cover[:, :, None]
    blur = max(0.0, 0.35 / float(matrix[0, 0]) - 0.3)
    if blur > 0.1:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), blur), dtype=np.float32)
        painted = np.asarray(cv2.GaussianBlur(painted, (0, 0), blur), dtype=np.float32)
    warped = [cv2.warpAffine(layer, matrix, size, flags=cv2.INTER_LINEAR) for layer in (painted, cover)]
    return np.asarray(warped[0], dtype=np.float32), np.asarray(warped[1], dtype=np.float32)


def _background(width: int, height: int, rng: Generator) -> Floats:
    """A table in perspective, at times with a wall or another surface behind its edge, unevenly lit."""
    surface = _in_perspective(width, height, rng)
    if rng.random() < 0.5:
        behind = _in_perspective(width, height, rng)
        edge = height * rng.uniform(0.05, 0.45) + rng.uniform(-0.3, 0.3) * (np.arange(width) - width / 2)
        surface = np.where((np.arange(height)[:, None] < edge)[:, :, None], behind, surface)
    light = cv2.resize(
        rng.uniform(0.6, 1.15, (2, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(np.clip(surface * light[:, :, None], 0.0, 1.0), dtype=np.float32)


def _in_perspective(width: int, height: int, rng: Generator) -> Floats:
    texture = draw_texture(rng, TRAINING.textures)
    side, squeeze = float(texture.shape[0]), rng.uniform(0.0, 0.35)
    source = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=np.float32) * rng.uniform(0.6, 2.5)
    corners = np.array(
        [[squeeze * width, 0], [(1 - squeeze) * width, 0], [1.4 * width, height], [-0.4 * width, height]],
        dtype=np.float32,
    )
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), 1.0)
    source = source @ turn[:, :2].T.astype(np.float32) + turn[:, 2].astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners)
    return np.asarray(cv2.warpPerspective(texture, matrix, (width, height), borderMode=cv2.BORDER_WRAP))


def _shadow(cover: Floats, rng: Generator) -> Floats:
    """What the objects' shadow leaves of the light on the background, a shifted and blurred copy of them."""
    if rng.random() < 0.3:
        return np.ones_like(cover)
    side = cover.shape[1] / 320.0
    matrix = np.array([[1.0, 0.0, rng.uniform(-14, 14) * side], [0.0, 1.0, rng.uniform(-4, 10) * side]])
    moved = cv2.warpAffine(cover, matrix, cover.shape[::-1])
    soft = cv2.GaussianBlur(np.maximum(moved, cover), (0, 0), rng.uniform(0.8, 4.0) * side)
    return np.asarray(1.0 - rng.uniform(0.15, 0.6) * soft, dtype=np.float32)
