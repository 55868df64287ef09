# SPDX-License-Identifier: Apache-2.0
"""Depth as depth cameras make it: noise, holes, and flying pixels at borders."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Depth = NDArray[np.float32]

FLYING = 0.7
"""The part of the pixels at a border that fly."""


@dataclass(frozen=True)
class Kind:
    """A depth camera's faults: noise_m + noise_part z^2 is the standard deviation in metres; holes, a part of 1."""

    noise_m: float
    noise_part: float
    holes: float
    flying: bool


KINDS: dict[str, Kind] = {
    "clean": Kind(0.0, 0.0, 0.0, False),
    "10 % holes": Kind(0.0005, 0.0015, 0.1, True),
    "30 % holes": Kind(0.0005, 0.0015, 0.3, True),
}
"""The noise is about Khoshelham and Elberink's (2012) of a structured-light camera: 1.5 mm at 1 m."""


def spoiled(depth_m: Depth, kind: Kind, rng: Generator) -> Depth:
    """True depth (H, W) as a depth camera would see it; NaN where it sees nothing."""
    z = np.where(np.isfinite(depth_m), depth_m, np.float32(12.0)).astype(np.float32)
    if kind.flying:
        square = np.ones((3, 3), np.uint8)
        far, near = cv2.dilate(z, square), cv2.erode(z, square)
        flies = (far - near > 0.02) & (rng.random(z.shape) < FLYING)
        z = np.where(flies, near + (far - near) * rng.random(z.shape), z)
    z = z + rng.normal(0.0, 1.0, z.shape) * (kind.noise_m + kind.noise_part * z**2)
    return np.where(_holes(z.shape, kind.holes, rng), np.nan, z).astype(np.float32)


def _holes(shape: tuple[int, ...], part: float, rng: Generator) -> NDArray[np.bool_]:
    """Half of them single pixels, half patches of about 10 pixels across."""
    single = rng.random(shape) < part / 2.0
    cloud = cv2.GaussianBlur(rng.normal(0.0, 1.0, shape), (0, 0), 5.0)
    return np.asarray(single | (cloud < np.quantile(cloud, part / 2.0)))
