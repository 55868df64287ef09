# SPDX-License-Identifier: Apache-2.0
"""Grey patterns for the table top (grain, speckle, weave), multiplied by a tint when they are shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SIZE = 512
"""Edge of a pattern, pixels."""


def write_patterns(folder: Path) -> list[Path]:
    """Writes the patterns, always the same ones, as PNG files and says where they are."""
    rng = np.random.default_rng(20260)
    patterns = {
        "grain": _grain(rng),
        "fine_grain": _grain(rng, strength=0.12),
        "speckle": _speckle(rng),
        "clouds": _clouds(rng),
        "weave": _weave(),
        "plain": np.ones((SIZE, SIZE)),
    }
    paths = []
    for name, brightness in patterns.items():
        grey = np.rint(255.0 * np.clip(brightness, 0.0, 1.0)).astype(np.uint8)
        path = folder / f"{name}.png"
        cv2.imwrite(str(path), np.repeat(grey[:, :, None], 3, axis=2))
        paths.append(path)
    return paths


def _noise(rng: Generator, rows: int, columns: int) -> NDArray[np.float64]:
    """Soft noise, 0 to 1, with features of about SIZE / rows by SIZE / columns pixels."""
    coarse = rng.random((rows, columns))
    return np.asarray(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), dtype=np.float64)


def _grain(rng: Generator, strength: float = 0.25) -> NDArray[np.float64]:
    bands = np.sin(2.0 * np.pi * (9.0 * _noise(rng, 12, 2) + np.linspace(0.0, 6.0, SIZE)[:, None]))
    return np.asarray(0.9 - strength * (0.25 + 0.25 * bands) - strength * 0.5 * (_noise(rng, 200, 6) - 0.5))


def _speckle(rng: Generator) -> NDArray[np.float64]:
    return 0.9 + 0.18 * (_noise(rng, 160, 160) - 0.5)


def _clouds(rng: Generator) -> NDArray[np.float64]:
    return 0.9 + 0.15 * (_noise(rng, 8, 8) - 0.5) + 0.06 * (_noise(rng, 60, 60) - 0.5)


def _weave() -> NDArray[np.float64]:
    phase = np.arange(SIZE) * (2.0 * np.pi * 14.0 / SIZE)
    stripes = (np.sin(phase) > 0.0).astype(np.float64)
    return np.asarray(0.94 - 0.07 * (stripes[:, None] + stripes[None, :]))
