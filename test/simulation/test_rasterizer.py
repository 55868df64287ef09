# SPDX-License-Identifier: Apache-2.0
"""The software rasterizer against triangles whose pixels are known."""

from __future__ import annotations

import numpy as np

from lisa_ros.simulation.software_renderer.rasterizer import rasterize

K = np.array([[10.0, 0.0, 10.0], [0.0, 10.0, 10.0], [0.0, 0.0, 1.0]])


def triangle(z: float, corners: tuple[tuple[float, float], ...]) -> list[list[float]]:
    """Corners given in pixels, at a depth."""
    return [[(u - 10.0) / 10.0 * z, (v - 10.0) / 10.0 * z, z] for u, v in corners]


HALF = ((0.0, 0.0), (20.0, 0.0), (0.0, 20.0))


def test_a_triangle_covers_the_pixels_inside_it() -> None:
    found = rasterize(np.array([triangle(2.0, HALF)]), K, 20, 20)
    v, u = np.mgrid[0:20, 0:20]
    assert np.array_equal(found.face == 0, u + v <= 20)
    assert np.allclose(found.depth_m[found.face == 0], 2.0) and np.isinf(found.depth_m[found.face < 0]).all()


def test_the_nearer_triangle_is_seen_in_whatever_order() -> None:
    near, far = triangle(1.0, ((5.0, 5.0), (12.0, 5.0), (5.0, 12.0))), triangle(3.0, HALF)
    for corners, nearer in (([near, far], 0), ([far, near], 1)):
        found = rasterize(np.array(corners), K, 20, 20)
        assert found.face[6, 6] == nearer and found.depth_m[6, 6] == 1.0
        assert found.face[1, 1] == 1 - nearer


def test_weights_are_perspective_correct() -> None:
    corners = np.array([[[-1.0, -1.0, 1.0], [3.0, -3.0, 3.0], [-1.0, 1.0, 1.0]]])
    found = rasterize(corners, K, 20, 20)
    v, u = np.nonzero(found.face == 0)
    points = np.einsum("nc,ncd->nd", found.weights[v, u], corners[found.face[v, u]])
    assert np.allclose(K[0, 0] * points[:, 0] / points[:, 2] + K[0, 2], u)
    assert np.allclose(K[1, 1] * points[:, 1] / points[:, 2] + K[1, 2], v)
    assert np.allclose(points[:, 2], found.depth_m[v, u])


def test_triangles_behind_the_camera_and_without_area_are_not_drawn() -> None:
    flat = triangle(1.0, ((2.0, 2.0), (8.0, 2.0), (5.0, 2.0)))
    found = rasterize(np.array([triangle(-1.0, HALF), flat]), K, 20, 20)
    assert (found.face == -1).all()
