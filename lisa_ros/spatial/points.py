# SPDX-License-Identifier: Apache-2.0
"""The points of a mask in registered depth, without what is not the object: holes, flying pixels, the background.

Depth images have holes, and at an object's border "flying" pixels that lie on neither side. A model's mask is wrong by
a few pixels there, too. Therefore the mask's border is left out, and then the parts that a jump in depth separates from
the rest: the background is such a part, and so is each flying pixel.
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

MAX_DEPTH_M = 100.0
"""No depth camera measures farther (16UC1 ends at 65.5 m); drivers and simulators write numbers such as 1e38 or FLT_MAX
for "nothing measured"."""

MIN_DEPTH_M = 0.001
"""The least that 16UC1 can say; 32FC1 of memory that was never set has numbers such as 1e-40."""

NOISY = 0.006
"""Depth with more noise than this part of it is smoothed first."""


@dataclass(frozen=True)
class PointSettings:
    """How the object's points are chosen.

    Attributes:
        border_px: width of the mask's border that is left out; less, if little would remain.
        min_core: the part of the mask that must remain.
        step_m: neighbouring pixels of one surface differ by at most this in depth...
        step_part: ...or by this part of the depth, whichever is more.
        min_part: a part separated in depth is kept if it has this share of the largest part's pixels.
    """

    border_px: int = 3
    min_core: float = 0.4
    step_m: float = 0.006
    step_part: float = 0.012
    min_part: float = 0.2


@dataclass(frozen=True)
class ObjectPoints:
    """An object's points, one for each pixel that was measured and kept.

    Attributes:
        xyz: (N, 3) float32, metres, camera's optical frame.
        rgb: (N, 3) uint8.
        rows: (N,), of their pixels.
        columns: (N,), of their pixels.
        shape: (H, W) of the image.
    """

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shape: tuple[int, int]

    def organised(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The same as images: xyz (H, W, 3), NaN where there is no point, and rgb (H, W, 3), 0 there."""
        xyz = np.full((*self.shape, 3), np.nan, dtype=np.float32)
        rgb = np.zeros((*self.shape, 3), dtype=np.uint8)
        xyz[self.rows, self.columns], rgb[self.rows, self.columns] = self.xyz, self.rgb
        return xyz, rgb

    def packed(self, organised: bool = False) -> NDArray[np.void]:
        """The points in the layout of PCL and RViz: x, y, z float32, and rgb in 4 bytes, blue first.

        Args:
            organised: True: (H, W), one per pixel, NaN where there is no point. False: (1, N).
        """
        xyz, rgb = self.organised() if organised else (self.xyz[None], self.rgb[None])
        packed = np.zeros(xyz.shape[:2], dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
        packed["x"], packed["y"], packed["z"] = xyz[..., 0], xyz[..., 1], xyz[..., 2]
        wide = rgb.astype(np.uint32)
        packed["rgb"] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        return packed

    def shifted(self, down: int, right: int, shape: tuple[int, int]) -> ObjectPoints:
        """The same points in a larger image, in which their own is at this offset, pixels."""
        return replace(self, rows=self.rows + down, columns=self.columns + right, shape=shape)


def measured(depth_m: Depth, max_depth_m: float = MAX_DEPTH_M) -> Mask:
    """Where depth was measured: from MIN_DEPTH_M to max_depth_m. NaN and infinity are not."""
    return np.asarray((depth_m >= np.float32(MIN_DEPTH_M)) & (depth_m <= max_depth_m))


def core(mask: Mask, settings: PointSettings) -> Mask:
    """The mask without its border, or without a thinner border if too little would remain."""
    pixels = np.count_nonzero(mask)
    # The image's edge is not the object's border: nothing is left out along it.
    for border in range(settings.border_px, 0, -1):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * border + 1, 2 * border + 1))
        inner = cv2.erode(mask.view(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=(1,)) > 0
        if np.count_nonzero(inner) >= settings.min_core * pixels:
            return np.asarray(inner)
    return mask


def object_pixels(mask: Mask, depth_m: Depth, settings: PointSettings) -> Mask:
    """The mask's pixels whose depth is the object's.

    Args:
        mask: (H, W).
        depth_m: (H, W), registered to the mask; see `measured`.
        settings: how the pixels are chosen.

    Returns:
        (H, W).
    """
    kept = np.zeros_like(mask)
    x, y, width, height = bounding_box(mask)
    if not width:
        return kept
    rows, columns = slice(y, y + height), slice(x, x + width)
    depth = depth_m[rows, columns]
    known = core(mask, settings)[rows, columns] & measured(depth)
    kept[rows, columns] = _main_parts(known, depth, settings)
    return kept


def points_of(pixels: Mask, image: NDArray[np.uint8], depth_m: Depth, camera: CameraModel) -> ObjectPoints:
    """The points of pixels that have depth; pixels without a ray are left out.

    Args:
        pixels: (H, W).
        image: RGB (H, W, 3) uint8.
        depth_m: (H, W), along the optical axis (z, not the ray's length), as ROS's depth images have it.
        camera: of the image.
    """
    rows, columns = np.nonzero(pixels)
    rays, z = camera.rays[rows, columns], depth_m[rows, columns]
    xyz = np.column_stack([rays[:, 0] * z, rays[:, 1] * z, z]).astype(np.float32)
    good = np.isfinite(xyz).all(axis=1)
    rows, columns = rows[good], columns[good]
    return ObjectPoints(xyz[good], image[rows, columns], rows, columns, (pixels.shape[0], pixels.shape[1]))


def noise_of(depth_m: Depth, known: Mask) -> float:
    """Standard deviation of the depth of one pixel, from second differences along rows, which slopes do not change.

    Args:
        depth_m: (H, W).
        known: (H, W) the pixels that count.
    """
    whole = known[:, :-2] & known[:, 1:-1] & known[:, 2:]
    bends = (depth_m[:, :-2] - 2.0 * depth_m[:, 1:-1] + depth_m[:, 2:])[whole]
    return float(1.4826 * np.median(np.abs(bends)) / np.sqrt(6.0)) if len(bends) else 0.0


def without_noise(depth_m: Depth, mask: Mask) -> Depth:
    """Depth of a noisy camera, smoothed by medians, so that noise is not taken for jumps between surfaces.

    Args:
        depth_m: (H, W).
        mask: (H, W) of the object. Depth whose noise on it is at most NOISY of the depth is returned as it is.
    """
    known = measured(depth_m)
    on_object = known & mask
    z = np.where(known, depth_m, np.float32(0.0)).astype(np.float32)
    if not on_object.any() or noise_of(z, on_object) <= NOISY * float(np.median(z[on_object])):
        return depth_m
    size = (7, 7)
    around = cv2.blur(z, size) / np.maximum(cv2.blur(known.astype(np.float32), size), 1e-6)
    filled = np.where(known, z, around).astype(np.float32)
    smooth = cv2.medianBlur(cv2.medianBlur(filled, 5), 5)
    return np.where(known, smooth, np.float32(np.nan)).astype(np.float32)


def ray_spacing(points: ObjectPoints) -> float:
    """The distance between the rays of neighbouring columns at z = 1: the slope of the rays' x over the columns."""
    ray_x = points.xyz[:, 0].astype(np.float64) / points.xyz[:, 2]
    columns = points.columns - points.columns.mean()
    return float(abs(columns @ (ray_x - ray_x.mean()) / max(1.0, float(columns @ columns))))


def _step(depth: Depth, settings: PointSettings) -> Depth:
    """The largest difference in depth between neighbours of one surface, metres."""
    return np.maximum(np.float32(settings.step_m), np.float32(settings.step_part) * depth)


def _main_parts(valid: Mask, depth: Depth, settings: PointSettings) -> Mask:
    """The largest of the parts that jumps in depth separate, and those not much smaller.

    Parts are the connected components of an image of twice the size: every second pixel is a pixel of the depth image,
    and those between them are set if both neighbours belong to one surface.
    """
    z = np.where(valid, depth, np.float32(0.0))
    # A hole gets its deepest neighbour's depth, so that single missing pixels do not separate a surface.
    filled = np.where(valid, z, cv2.dilate(z, np.ones((3, 3), np.uint8))).astype(np.float32)
    links = np.zeros((2 * z.shape[0] - 1, 2 * z.shape[1] - 1), dtype=np.uint8)
    known, step = filled > 0.0, _step(filled, settings)
    links[::2, ::2] = known
    links[1::2, ::2] = known[1:] & known[:-1] & (np.abs(np.diff(filled, axis=0)) <= step[1:])
    links[::2, 1::2] = known[:, 1:] & known[:, :-1] & (np.abs(np.diff(filled, axis=1)) <= step[:, 1:])
    count, labels = cv2.connectedComponents(links, connectivity=4)
    parts = np.where(valid, labels[::2, ::2], 0)
    sizes = np.bincount(parts.ravel(), minlength=count)
    sizes[0] = 0
    keep = sizes >= max(1.0, settings.min_part * sizes.max())
    return np.asarray(keep[parts] & valid)
