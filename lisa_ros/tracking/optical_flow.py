# SPDX-License-Identifier: Apache-2.0
"""Dense optical flow between two images, in both directions, and how far it deviates from one object's motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MIN_SIDE_PX = 64
"""Flow is computed in images of at least this width and height."""
FIT_PIXELS = 400
"""A motion is fitted to about so many pixels."""
MIN_FIT_PIXELS = 50
FIT_ROUNDS, FIT_SCALE_PX = 3, 0.5


def flow_between(search: cv2.DISOpticalFlow, before: Bytes, now: Bytes) -> Floats:
    """Compute where each pixel of `before` moved.

    OpenCV chooses its pyramid by the width alone, and reads beyond its arrays (seen as a crash, OpenCV 4.11) where the
    height is then too small for a patch. Low images are padded to avoid that.

    Args:
        search: OpenCV's dense inverse search.
        before: (H, W) brightness.
        now: (H, W) brightness.

    Returns:
        (H, W, 2): displacement in x and y, pixels.
    """
    height, width = before.shape
    below, right = max(0, MIN_SIDE_PX - height, width // 2 - height), max(0, MIN_SIDE_PX - width)
    if below or right:
        before, now = (
            np.asarray(cv2.copyMakeBorder(one, 0, below, 0, right, cv2.BORDER_REPLICATE), dtype=np.uint8)
            for one in (before, now)
        )
    flow = search.calc(before, now, None)  # type: ignore[call-overload]
    return np.asarray(flow[:height, :width], dtype=np.float32)


def flow_both_ways(search: cv2.DISOpticalFlow, before: Bytes, now: Bytes) -> tuple[Floats, Floats]:
    """Compute where each pixel of `now` came from, and whether the forward flow leads back to it.

    Returns:
        The backward flow (H, W, 2), and its disagreement with the forward flow (H, W), both in pixels.
    """
    forward, back = flow_between(search, before, now), flow_between(search, now, before)
    gap = warp(forward, back, cv2.BORDER_CONSTANT) + back
    return back, np.asarray(cv2.magnitude(gap[:, :, 0], gap[:, :, 1]), dtype=np.float32)


def warp(values: Floats, flow: Floats, border: int) -> Floats:
    """The values at the positions that the flow points to; with a constant border, 1000 beyond the edge."""
    x, y = _grid(flow.shape)
    position = (x + flow[:, :, 0], y + flow[:, :, 1])
    warped = cv2.remap(values, *position, cv2.INTER_LINEAR, borderMode=border, borderValue=(1e3, 1e3, 1e3, 1e3))
    return np.asarray(warped, dtype=np.float32)


def deviation_from_motion(flow: Floats, known: NDArray[np.bool_]) -> Floats:
    """How far each pixel's flow deviates from the common motion of the known pixels, in pixels.

    An affine motion is fitted to the known pixels by iteratively reweighted least squares with Cauchy's weights, so
    that outliers hardly count.

    Args:
        flow: (H, W, 2).
        known: (H, W), pixels of one object. If there are fewer than MIN_FIT_PIXELS, all deviations are 0.

    Returns:
        (H, W).
    """
    rows, columns = np.nonzero(known)
    if rows.size < MIN_FIT_PIXELS:
        return np.zeros(known.shape, dtype=np.float32)
    sample = slice(None, None, rows.size // FIT_PIXELS + 1)
    motion = _fit(flow, rows[sample], columns[sample]).astype(np.float32)
    x, y = _grid(flow.shape)
    gaps = (flow[:, :, i] - (motion[0, i] + motion[1, i] * x + motion[2, i] * y) for i in (0, 1))
    return np.asarray(cv2.magnitude(*gaps), dtype=np.float32)


def _fit(flow: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """(3, 2): the flow at the origin, and its change with x and with y."""
    moved = flow[rows, columns].astype(np.float64)
    positions = np.column_stack([np.ones(rows.size), columns, rows])
    motion = np.zeros((3, 2))
    motion[0] = np.median(moved, axis=0)
    for _ in range(FIT_ROUNDS):
        residual = np.linalg.norm(moved - positions @ motion, axis=1)
        weights = (1.0 / (1.0 + (residual / FIT_SCALE_PX) ** 2))[:, None]
        motion = np.linalg.lstsq(positions * weights, moved * weights, rcond=None)[0]
    return motion


def _grid(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The x and y of each pixel."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return x, y
