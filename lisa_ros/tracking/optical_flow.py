# SPDX-License-Identifier: Apache-2.0
"""Dense optical flow between two pictures, both ways, and what of it is one thing's motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

LEAST_SIDE_PX = 64
"""Flow is sought in pictures of at least this width and height."""
FITTED = 400
"""A motion is fitted to about so many pixels."""
LEAST_FITTED = 50
FIT_ROUNDS, FIT_PX = 3, 0.5


def flow_between(search: cv2.DISOpticalFlow, before: Bytes, now: Bytes) -> Floats:
    """Where each pixel of `before` went.

    OpenCV chooses its pyramid by the width alone, and reads beyond its arrays (seen as a crash, OpenCV 4.11) where the
    height is then too small for a patch. So low pictures are made higher for it.

    Args:
        search: what seeks it.
        before: (H, W) brightness.
        now: (H, W) brightness.

    Returns:
        (H, W, 2): x and y, pixels.
    """
    height, width = before.shape
    below, right = max(0, LEAST_SIDE_PX - height, width // 2 - height), max(0, LEAST_SIDE_PX - width)
    if below or right:
        before, now = (
            np.asarray(cv2.copyMakeBorder(one, 0, below, 0, right, cv2.BORDER_REPLICATE), dtype=np.uint8)
            for one in (before, now)
        )
    flow = search.calc(before, now, None)  # type: ignore[call-overload]
    return np.asarray(flow[:height, :width], dtype=np.float32)


def flow_both_ways(search: cv2.DISOpticalFlow, before: Bytes, now: Bytes) -> tuple[Floats, Floats]:
    """Where each pixel of `now` came from, and whether the way there leads back.

    Returns:
        backward flow (H, W, 2), and by how much the forward flow disagrees with it (H, W), pixels.
    """
    forward, back = flow_between(search, before, now), flow_between(search, now, before)
    gap = fetch(forward, back, cv2.BORDER_CONSTANT) + back
    return back, np.asarray(cv2.magnitude(gap[:, :, 0], gap[:, :, 1]), dtype=np.float32)


def fetch(values: Floats, flow: Floats, border: int) -> Floats:
    """The values where the flow points to; beyond the edge, with a constant border, they are far too large."""
    x, y = _places(flow.shape)
    there = (x + flow[:, :, 0], y + flow[:, :, 1])
    fetched = cv2.remap(values, *there, cv2.INTER_LINEAR, borderMode=border, borderValue=(1e3, 1e3, 1e3, 1e3))
    return np.asarray(fetched, dtype=np.float32)


def apart_from(flow: Floats, known: NDArray[np.bool_]) -> Floats:
    """By how much each pixel moves otherwise than the known ones, pixels.

    An affine motion is fitted to the known pixels: least squares, weighted anew so that what differs hardly counts
    (Cauchy's weights).

    Args:
        flow: (H, W, 2).
        known: (H, W), pixels of one thing; where they are few, nothing is said to move otherwise.

    Returns:
        (H, W).
    """
    rows, columns = np.nonzero(known)
    if rows.size < LEAST_FITTED:
        return np.zeros(known.shape, dtype=np.float32)
    some = slice(None, None, rows.size // FITTED + 1)
    motion = _fit(flow, rows[some], columns[some]).astype(np.float32)
    x, y = _places(flow.shape)
    gaps = (flow[:, :, i] - (motion[0, i] + motion[1, i] * x + motion[2, i] * y) for i in (0, 1))
    return np.asarray(cv2.magnitude(*gaps), dtype=np.float32)


def _fit(flow: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """(3, 2): flow at the origin, and its change by x and by y."""
    moved = flow[rows, columns].astype(np.float64)
    places = np.column_stack([np.ones(rows.size), columns, rows])
    motion = np.zeros((3, 2))
    motion[0] = np.median(moved, axis=0)
    for _ in range(FIT_ROUNDS):
        apart = np.linalg.norm(moved - places @ motion, axis=1)
        weights = (1.0 / (1.0 + (apart / FIT_PX) ** 2))[:, None]
        motion = np.linalg.lstsq(places * weights, moved * weights, rcond=None)[0]
    return motion


def _places(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """X and y of each pixel."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    return x, y
