# SPDX-License-Identifier: Apache-2.0
"""Procedural colour textures for table, floor and walls, made from random numbers alone."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SIZE = 256
"""Side of a texture, pixels."""
MOST_SATURATED = 0.55
"""Of a surface's colour, so that few tables are as vivid as the objects on them."""

Texture = NDArray[np.float32]
"""(SIZE, SIZE, 3) RGB, each 0 to 1."""


def draw_texture(rng: Generator, names: Sequence[str]) -> Texture:
    """A texture of one of the named kinds in one or two random colours.

    Args:
        rng: source of all random numbers.
        names: keys of PAINTERS; a name that is listed twice comes up twice as often.
    """
    name = names[int(rng.integers(len(names)))]
    shares = np.clip(PAINTERS[name](rng), 0.0, 1.0).astype(np.float32)
    if shares.ndim == 3:
        return shares
    first, second = _two_colours(rng)
    return np.asarray(first + shares[:, :, None] * (second - first), dtype=np.float32)


def _two_colours(rng: Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two colours: most often two shades of one hue, sometimes unrelated."""
    first = _colour(rng)
    if rng.random() < 0.3:
        return first, _colour(rng)
    second = np.clip(first * rng.uniform(0.55, 1.35) + rng.uniform(-0.05, 0.05, 3), 0.0, 1.0)
    return first, second.astype(np.float32)


def _colour(rng: Generator) -> NDArray[np.float32]:
    saturation = MOST_SATURATED * rng.random() ** 1.5
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.12, 0.97)), dtype=np.float32)


def _noise(rng: Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Smooth noise from 0 to 1 with features of about SIZE / rows by SIZE / columns pixels."""
    coarse = rng.random((max(2, rows), max(2, columns)))
    return np.asarray(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), dtype=np.float64)


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return rows, columns


def _turned(rng: Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column coordinates turned by a random angle."""
    (rows, columns), angle = _grid(), rng.uniform(0.0, np.pi)
    return rows * np.cos(angle) - columns * np.sin(angle), rows * np.sin(angle) + columns * np.cos(angle)


def _plain(rng: Generator) -> NDArray[np.float64]:
    return np.asarray(0.15 * _noise(rng, 4, 4) + 0.05 * rng.random((SIZE, SIZE)))


def _wood(rng: Generator) -> NDArray[np.float64]:
    rows, _ = _grid()
    planks = np.floor(rows * rng.integers(1, 7))
    bends = _noise(rng, 12, 2) * rng.uniform(2.0, 10.0)
    grain = 0.5 + 0.5 * np.sin(2 * np.pi * (bends + rows * rng.uniform(3.0, 14.0) + 0.37 * planks))
    return np.asarray(0.7 * grain + 0.3 * _noise(rng, 128, 4))


def _marble(rng: Generator) -> NDArray[np.float64]:
    along, _ = _turned(rng)
    bends = 1.5 * _noise(rng, 5, 5) + 0.6 * _noise(rng, 20, 20)
    return np.asarray(np.abs(np.sin(np.pi * (bends * rng.uniform(1.0, 3.0) + along * rng.uniform(1.0, 4.0)))) ** 0.5)


def _cloth(rng: Generator) -> NDArray[np.float64]:
    rows, columns = _grid()
    threads = rng.uniform(20.0, 64.0)
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * threads * rows) + 0.25 * np.sin(2 * np.pi * threads * columns)
    return np.asarray(0.6 * weave + 0.4 * _noise(rng, 6, 6))


def _checks(rng: Generator) -> NDArray[np.float64]:
    rows, columns = _turned(rng)
    count = rng.uniform(3.0, 16.0)
    odd = (np.floor(rows * count) + np.floor(columns * count)) % 2
    return np.asarray(odd * rng.uniform(0.4, 1.0) + 0.1 * _noise(rng, 32, 32))


def _speckle(rng: Generator) -> NDArray[np.float64]:
    fine = int(rng.integers(24, 128))
    return np.asarray(np.where(_noise(rng, fine, fine) > rng.uniform(0.5, 0.8), 1.0, 0.2 * _noise(rng, 6, 6)))


def _print(rng: Generator) -> NDArray[np.float64]:
    """Blobs, boxes and lines in muted colours, as on a printed cloth or a cluttered poster."""
    image = np.full((SIZE, SIZE, 3), _colour(rng), dtype=np.float32)
    for _ in range(int(rng.integers(8, 40))):
        centre = tuple(int(value) for value in rng.integers(0, SIZE, 2))
        other = tuple(int(value) for value in rng.integers(0, SIZE, 2))
        size, colour = int(rng.integers(4, 34)), tuple(float(value) for value in _colour(rng))
        shape = int(rng.integers(3))
        if shape == 0:
            cv2.circle(image, centre, size, colour, -1, cv2.LINE_AA)
        elif shape == 1:
            cv2.rectangle(image, centre, (centre[0] + size, centre[1] + size), colour, -1)
        else:
            cv2.line(image, centre, other, colour, max(1, size // 8), cv2.LINE_AA)
    return image.astype(np.float64)


def _stripes(rng: Generator) -> NDArray[np.float64]:
    along, _ = _turned(rng)
    return np.asarray((np.sin(2 * np.pi * along * rng.uniform(4.0, 14.0)) > rng.uniform(-0.6, 0.6)).astype(np.float64))


def _dots(rng: Generator) -> NDArray[np.float64]:
    (rows, columns), count = _turned(rng), rng.uniform(5.0, 14.0)
    away = np.hypot((rows * count) % 1.0 - 0.5, (columns * count) % 1.0 - 0.5)
    return np.asarray((away < rng.uniform(0.15, 0.35)).astype(np.float64))


def _tiles(rng: Generator) -> NDArray[np.float64]:
    rows, columns = _grid()
    count = int(rng.integers(4, 10))
    shifted = columns * count + 0.5 * (np.floor(rows * 2 * count) % 2)
    joint = ((rows * 2 * count) % 1.0 < 0.1) | (shifted % 1.0 < 0.05)
    shades = rng.random((2 * count + 1, count + 2))
    tile = shades[np.floor(rows * 2 * count).astype(int), np.floor(shifted).astype(int)]
    return np.asarray(np.where(joint, 1.0, 0.4 * tile))


def _waves(rng: Generator) -> NDArray[np.float64]:
    rows, columns = _turned(rng)
    bent = rows + 0.06 * np.sin(2 * np.pi * columns * rng.uniform(2.0, 5.0))
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * bent * rng.uniform(4.0, 12.0)))


PAINTERS: dict[str, Callable[[Generator], NDArray[np.float64]]] = {
    "plain": _plain,
    "wood": _wood,
    "marble": _marble,
    "cloth": _cloth,
    "checks": _checks,
    "speckle": _speckle,
    "print": _print,
    "stripes": _stripes,
    "dots": _dots,
    "tiles": _tiles,
    "waves": _waves,
}
"""Each returns (SIZE, SIZE) shares of the second colour, or (SIZE, SIZE, 3) RGB."""
