# SPDX-License-Identifier: Apache-2.0
"""Triangles to pixels: a depth buffer in numpy, without a loop over triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_M = 0.05
"""Triangles with a corner nearer than this are not drawn."""
CANDIDATES_AT_ONCE = 2_000_000
"""Pixels of bounding boxes that are tested in one go; bounds the memory."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Fragments:
    """What is visible at each pixel.

    Attributes:
        depth_m: (H, W) along the optical axis, inf where there is no triangle.
        face: (H, W) index of the triangle, -1 where there is none.
        weights: (H, W, 3) perspective-correct barycentric coordinates.
    """

    depth_m: Floats
    face: Ints
    weights: Floats


def rasterize(corners: Floats, k: Floats, width: int, height: int) -> Fragments:
    """Draws triangles with a depth buffer; both sides of a triangle are drawn.

    Args:
        corners: (M, 3, 3), the corners of each triangle in the optical frame, metres.
        k: (3, 3) intrinsic matrix, pixels.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    depth = np.full(width * height, np.inf)
    face = np.full(width * height, -1, dtype=np.int64)
    weights = np.zeros((width * height, 3))
    for part in _chunks(*_visible(corners, k, width, height)):
        _draw(part, depth, face, weights, width)
    size = (height, width)
    return Fragments(depth.reshape(size), face.reshape(size), weights.reshape(*size, 3))


@dataclass(frozen=True)
class _Triangles:
    """Triangles in the image: their numbers, corners (u, v), depths and bounding boxes."""

    number: Ints
    uv: Floats
    z: Floats
    low: Ints
    size: Ints

    def some(self, chosen: slice | NDArray[np.bool_]) -> _Triangles:
        return _Triangles(self.number[chosen], self.uv[chosen], self.z[chosen], self.low[chosen], self.size[chosen])


def _visible(corners: Floats, k: Floats, width: int, height: int) -> tuple[_Triangles, Ints]:
    """Triangles whose bounding box has a pixel in the image, and the number of such pixels of each."""
    z = corners[:, :, 2]
    safe = np.maximum(z, 1e-6)
    uv = np.stack([k[0, 0] * corners[:, :, 0] / safe + k[0, 2], k[1, 1] * corners[:, :, 1] / safe + k[1, 2]], axis=2)
    bounds = np.array([width, height])
    low = np.clip(np.ceil(uv.min(axis=1)), 0, bounds).astype(np.int64)
    high = np.clip(np.floor(uv.max(axis=1)) + 1, 0, bounds).astype(np.int64)
    size = np.maximum(high - low, 0)
    count = size[:, 0] * size[:, 1]
    kept = (z.min(axis=1) > NEAR_M) & (count > 0)
    triangles = _Triangles(np.arange(len(corners)), uv, z, low, size).some(kept)
    return triangles, count[kept]


def _chunks(triangles: _Triangles, count: Ints) -> list[tuple[_Triangles, Ints]]:
    """The triangles in groups of about CANDIDATES_AT_ONCE pixels."""
    group = np.cumsum(count) // CANDIDATES_AT_ONCE
    return [(triangles.some(group == number), count[group == number]) for number in np.unique(group)]


def _draw(part: tuple[_Triangles, Ints], depth: Floats, face: Ints, weights: Floats, width: int) -> None:
    triangles, count = part
    of = np.repeat(np.arange(len(count)), count)
    inner = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    u = triangles.low[of, 0] + inner % triangles.size[of, 0]
    v = triangles.low[of, 1] + inner // triangles.size[of, 0]
    bary = _barycentric(triangles.uv, of, u, v)
    inside = (bary >= -1e-9).all(axis=1)
    of, u, v, bary = of[inside], u[inside], v[inside], bary[inside]
    scaled = bary / triangles.z[of]
    z = 1.0 / scaled.sum(axis=1)
    pixel = v * width + u
    np.minimum.at(depth, pixel, z)
    first = z <= depth[pixel]
    face[pixel[first]] = triangles.number[of[first]]
    weights[pixel[first]] = scaled[first] * z[first, None]


def _barycentric(uv: Floats, of: Ints, u: Ints, v: Ints) -> Floats:
    """Barycentric coordinates of pixels (u, v) in the triangles `of`; negative outside."""
    a, b, c = uv[:, 0], uv[:, 1], uv[:, 2]
    area: Floats = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    area = np.where(np.abs(area) < 1e-12, np.nan, area)
    # Each weight is linear in (u, v): its constants are computed once a triangle, not once a pixel.
    planes = [_edge(b, c, area), _edge(c, a, area)]
    first, second = (plane[0][of] + plane[1][of] * u + plane[2][of] * v for plane in planes)
    found = np.stack([first, second, 1.0 - first - second], axis=1)
    return np.asarray(np.nan_to_num(found, nan=-1.0))


def _edge(p: Floats, q: Floats, area: Floats) -> tuple[Floats, Floats, Floats]:
    """Constant, u and v coefficients of the weight of the corner opposite to the edge from p to q."""
    du, dv = (q - p).T
    return (dv * p[:, 0] - du * p[:, 1]) / area, -dv / area, du / area
