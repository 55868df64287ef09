# SPDX-License-Identifier: Apache-2.0
"""The points of a mask in registered depth, without what is not the object: holes, flying pixels, the background.

A depth camera has holes, and at an object's border pixels that lie on neither side ("flying"). A model's mask is wrong
by a few pixels there too. So the mask's border is left out, then the parts that a jump in depth separates from the
rest: the background is such a part, and each flying pixel is one by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.spatial.camera import CameraModel

Depth = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PointSettings:
    """How the object's points are chosen.

    Attributes:
        border_px: of the mask that are left out; fewer, where little would remain.
        least_core: the part of the mask that must remain.
        step_m: neighbouring pixels of one surface differ by at most this in depth...
        step_part: ...or by this part of the depth, whichever is more.
        least_part: a part separated in depth is kept if it has this part of the largest one's pixels.
    """

    border_px: int = 3
    least_core: float = 0.4
    step_m: float = 0.006
    step_part: float = 0.012
    least_part: float = 0.2


@dataclass(frozen=True)
class ObjectPoints:
    """An object's points, one for each pixel that was measured and kept.

    Attributes:
        xyz: (N, 3) float32, metres, camera's optical frame.
        rgb: (N, 3) uint8.
        rows: (N,) of their pixels.
        columns: (N,) of their pixels.
        shape: (H, W) of the picture.
    """

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shape: tuple[int, int]

    def organised(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The same as pictures: xyz (H, W, 3), NaN where there is no point, and rgb (H, W, 3), 0 there."""
        xyz = np.full((*self.shape, 3), np.nan, dtype=np.float32)
        rgb = np.zeros((*self.shape, 3), dtype=np.uint8)
        xyz[self.rows, self.columns], rgb[self.rows, self.columns] = self.xyz, self.rgb
        return xyz, rgb

    def shifted(self, down: int, right: int, shape: tuple[int, int]) -> ObjectPoints:
        """The same points in a picture of another shape, in which their own one lies so far down and to the right."""
        return replace(self, rows=self.rows + down, columns=self.columns + right, shape=shape)


def measured(depth_m: Depth) -> Mask:
    """Where depth was measured: finite and above 0."""
    return np.asarray(np.isfinite(depth_m) & (depth_m > 0.0))


def core(mask: Mask, settings: PointSettings) -> Mask:
    """The mask without its border, or with a thinner one left out where too little would remain."""
    pixels = np.count_nonzero(mask)
    # The picture's edge is not the object's border: nothing is left out along it.
    for border in range(settings.border_px, 0, -1):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * border + 1, 2 * border + 1))
        inner = cv2.erode(mask.view(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=(1,)) > 0
        if np.count_nonzero(inner) >= settings.least_core * pixels:
            return np.asarray(inner)
    return mask


def object_pixels(mask: Mask, depth_m: Depth, settings: PointSettings) -> Mask:
    """The mask's pixels whose depth is the object's.

    Args:
        mask: (H, W).
        depth_m: (H, W), registered to the mask; NaN, infinite or 0 where nothing was measured.
        settings: how they are chosen.

    Returns:
        (H, W).
    """
    kept = np.zeros_like(mask)
    x, y, width, height = bounding_box(mask)
    if not width:
        return kept
    rows, columns = slice(y, y + height), slice(x, x + width)
    depth = depth_m[rows, columns]
    there = core(mask, settings)[rows, columns] & measured(depth)
    kept[rows, columns] = _main_parts(there, depth, settings)
    return kept


def points_of(pixels: Mask, image: NDArray[np.uint8], depth_m: Depth, camera: CameraModel) -> ObjectPoints:
    """The points of pixels whose depth is known; those without a ray are left out.

    Args:
        pixels: (H, W).
        image: RGB (H, W, 3) uint8.
        depth_m: (H, W), along the optical axis (z, not the ray's length), as ROS's depth images have it.
        camera: of the picture.
    """
    rows, columns = np.nonzero(pixels)
    rays, z = camera.rays[rows, columns], depth_m[rows, columns]
    xyz = np.column_stack([rays[:, 0] * z, rays[:, 1] * z, z]).astype(np.float32)
    good = np.isfinite(xyz).all(axis=1)
    rows, columns = rows[good], columns[good]
    return ObjectPoints(xyz[good], image[rows, columns], rows, columns, (pixels.shape[0], pixels.shape[1]))


def _step(depth: Depth, settings: PointSettings) -> Depth:
    """By how much a neighbour of the same surface may differ, metres."""
    return np.maximum(np.float32(settings.step_m), np.float32(settings.step_part) * depth)


def _main_parts(there: Mask, depth: Depth, settings: PointSettings) -> Mask:
    """The largest of the parts between which depth jumps, and those not much smaller.

    Parts are found in a picture of twice the size, in which every second pixel is a pixel and those between them are
    there where both sides are one surface.
    """
    z = np.where(there, depth, np.float32(0.0))
    # A hole takes its deepest neighbour's depth: lone missing pixels do not part a surface.
    filled = np.where(there, z, cv2.dilate(z, np.ones((3, 3), np.uint8))).astype(np.float32)
    links = np.zeros((2 * z.shape[0] - 1, 2 * z.shape[1] - 1), dtype=np.uint8)
    known, step = filled > 0.0, _step(filled, settings)
    links[::2, ::2] = known
    links[1::2, ::2] = known[1:] & known[:-1] & (np.abs(np.diff(filled, axis=0)) <= step[1:])
    links[::2, 1::2] = known[:, 1:] & known[:, :-1] & (np.abs(np.diff(filled, axis=1)) <= step[:, 1:])
    count, labels = cv2.connectedComponents(links, connectivity=4)
    parts = np.where(there, labels[::2, ::2], 0)
    sizes = np.bincount(parts.ravel(), minlength=count)
    sizes[0] = 0
    keep = sizes >= max(1.0, settings.least_part * sizes.max())
    return np.asarray(keep[parts] & there)
