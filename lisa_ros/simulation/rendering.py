# SPDX-License-Identifier: Apache-2.0
"""Images of the simulator's world: colour, depth, the body at each pixel, and the lamp's shadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.arrangement import Light
from lisa_ros.simulation.bullet import Bullet
from lisa_ros.simulation.engine import pybullet
from lisa_ros.simulation.scene import Camera

NEAR_M, FAR_M = 0.1, 12.0
LAMP_M = 3.0
LAMP_VIEW_DEG = 32.0
LAMP_PIXELS = 224
SHADOW_MARGIN_M = 0.008
"""A point must lie this much behind what the lamp sees to be in its shadow: the lamp's pixels are coarse."""


def take_image(
    bullet: Bullet, camera: Camera, light: Light
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
    """RGB (H, W, 3) uint8, depth in metres along the optical z (H, W), and the body seen (H, W; -1: none)."""
    rgb, depth, bodies = _render(bullet, camera, light)
    if light.shade < 1.0:
        rgb = _shaded(rgb, _lit(bullet, camera, depth, light), light.shade)
    return rgb, depth.astype(np.float32), bodies


def _render(
    bullet: Bullet, camera: Camera, light: Light
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int32]]:
    eye, forward, down = camera.pose[:3, 3], camera.pose[:3, 2], camera.pose[:3, 1]
    # The renderer's own shadows are left off: they depend on the far plane and miss objects as small as these.
    _, _, rgba, buffer, bodies = bullet.getCameraImage(
        camera.width,
        camera.height,
        pybullet.computeViewMatrix(eye.tolist(), (eye + forward).tolist(), (-down).tolist()),
        _projection(camera),
        lightDirection=light.direction,
        lightColor=light.colour,
        lightAmbientCoeff=light.ambient,
        lightDiffuseCoeff=light.diffuse,
        lightSpecularCoeff=light.specular,
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
    )
    size = (camera.height, camera.width)
    z = np.asarray(buffer, dtype=np.float64).reshape(size)
    depth = FAR_M * NEAR_M / (FAR_M - (FAR_M - NEAR_M) * z)
    depth[z >= 1.0] = np.inf
    rgb = np.ascontiguousarray(np.asarray(rgba, dtype=np.uint8).reshape(*size, 4)[:, :, :3])
    return rgb, depth, np.asarray(bodies, dtype=np.int32).reshape(size)


def _projection(camera: Camera) -> list[float]:
    """OpenGL's projection matrix, by columns."""
    width, height, k = camera.width, camera.height, camera.k
    # Views with their principal point in the middle stay the same bit for bit.
    if k[0, 0] == k[1, 1] and np.allclose(k[:2, 2], ((width - 1) / 2.0, (height - 1) / 2.0)):
        fov_deg = float(np.rad2deg(2.0 * np.arctan(height / 2.0 / k[1, 1])))
        return list(pybullet.computeProjectionMatrixFOV(fov_deg, width / height, NEAR_M, FAR_M))
    left, top = -(k[0, 2] + 0.5) / k[0, 0], (k[1, 2] + 0.5) / k[1, 1]
    sides = (left, left + width / k[0, 0], top - height / k[1, 1], top)
    return list(pybullet.computeProjectionMatrix(*(float(NEAR_M * side) for side in sides), NEAR_M, FAR_M))


def lamp_camera(light: Light) -> Camera:
    """The lamp as a camera that faces the table's middle."""
    forward = -np.asarray(light.direction)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(forward, right), forward, -LAMP_M * forward], axis=1)
    focal, middle = LAMP_PIXELS / 2.0 / np.tan(np.deg2rad(LAMP_VIEW_DEG) / 2.0), (LAMP_PIXELS - 1) / 2.0
    k = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    return Camera(LAMP_PIXELS, LAMP_PIXELS, k, pose)


def _lit(bullet: Bullet, camera: Camera, depth: NDArray[np.float64], light: Light) -> NDArray[np.bool_]:
    """Which pixels of an image the lamp reaches, (H, W); all that lies outside the lamp's own view counts as lit."""
    lamp = lamp_camera(light)
    # The farthest of neighbouring pixels counts, or walls that the lamp only grazes would shade themselves in stripes.
    nearest = cv2.dilate(_render(bullet, lamp, light)[1], np.ones((3, 3), np.uint8))
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    z = np.where(np.isfinite(depth), depth, FAR_M)
    rays = np.stack([(u - camera.k[0, 2]) / camera.k[0, 0], (v - camera.k[1, 2]) / camera.k[1, 1], np.ones_like(z)], -1)
    to_lamp = np.linalg.inv(lamp.pose) @ camera.pose
    points = (rays * z[:, :, None]) @ to_lamp[:3, :3].T + to_lamp[:3, 3]
    ahead = np.maximum(points[:, :, 2], NEAR_M)
    column, row = (np.rint(lamp.k[0, 0] * points[:, :, i] / ahead + lamp.k[0, 2]).astype(np.int64) for i in (0, 1))
    seen = (column >= 0) & (column < LAMP_PIXELS) & (row >= 0) & (row < LAMP_PIXELS)
    behind = nearest[row.clip(0, LAMP_PIXELS - 1), column.clip(0, LAMP_PIXELS - 1)] + SHADOW_MARGIN_M
    return np.asarray(~seen | (points[:, :, 2] < behind))


def _shaded(rgb: NDArray[np.uint8], lit: NDArray[np.bool_], shade: float) -> NDArray[np.uint8]:
    """The image with its unlit pixels darkened; the soft edge also hides that the lamp's pixels are coarse."""
    edge = 2 * max(1, rgb.shape[1] // 200) + 1
    light = cv2.blur(np.where(lit, 1.0, shade).astype(np.float32), (edge, edge))
    return np.rint(rgb * light[:, :, None]).astype(np.uint8)
