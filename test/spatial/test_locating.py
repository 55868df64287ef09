# SPDX-License-Identifier: Apache-2.0
"""Objects in metres, on hand-made geometry: planes, a sphere, a block on a table, lenses."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.spatial.box import FRAME_UP, IMAGE_UP, OrientedBox, box_around
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.locating import Located, NotLocated, NotLocatedReason, locate
from lisa_ros.spatial.points import PointSettings, core
from lisa_ros.spatial.registration import depth_on_grid, scaled
from lisa_ros.spatial.rotation import quaternion

WIDTH, HEIGHT, FOCAL = 320, 240, 280.0
K = (FOCAL, 0.0, 159.5, 0.0, FOCAL, 119.5, 0.0, 0.0, 1.0)
PINHOLE = CameraModel.from_info(WIDTH, HEIGHT, K, "plumb_bob", [0.0] * 5)
LENSES = {
    "plumb_bob": [-0.28, 0.07, 0.001, -0.0005, 0.01],
    "rational_polynomial": [0.6, -2.6, 0.0003, -0.0002, 1.5, 0.48, -2.4, 1.4],
    "equidistant": [-0.02, 0.01, -0.003, 0.0005],
}
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)

Floats = NDArray[np.float64]
Depth = NDArray[np.float32]
Mask = NDArray[np.bool_]


def located(mask: Mask, depth_m: Depth, camera: CameraModel = PINHOLE) -> Located:
    found = locate(IMAGE, mask, depth_m, camera)
    assert isinstance(found, Located), found
    return found


def axes_of(found: Located) -> Floats:
    """The box's rotation matrix, by the textbook formula."""
    x, y, z, w = found.box.orientation
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def plate(camera: CameraModel, z: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Mask, Depth]:
    """A rectangle at depth z that faces the camera, drawn by OpenCV's own projection; a wall 2 m behind it."""
    t = np.linspace(0.0, 1.0, 200)
    sides = [(x[0] + t * (x[1] - x[0]), 0 * t + y[0]), (0 * t + x[1], y[0] + t * (y[1] - y[0]))]
    sides += [(sides[0][0][::-1], 0 * t + y[1]), (0 * t + x[0], sides[1][1][::-1])]
    outline = np.concatenate([np.column_stack([a, b, 0 * t + z]) for a, b in sides])
    k, d, zero = camera.matrix, np.array(camera.coefficients), np.zeros(3)
    if camera.distortion == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(outline.reshape(-1, 1, 3), zero, zero, k, d)
    else:
        pixels, _ = cv2.projectPoints(outline.reshape(-1, 1, 3), zero, zero, k, d if d.size else None)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(pixels.reshape(-1, 2)).astype(np.int32)], 1)
    return mask > 0, np.where(mask > 0, z, z + 2.0).astype(np.float32)


def ball(centre: tuple[float, float, float], radius: float) -> tuple[Mask, Depth]:
    """A ball before a wall at 3 m, by ray casting."""
    rays = np.dstack([PINHOLE.rays.astype(np.float64), np.ones((HEIGHT, WIDTH))])
    a, b = (rays**2).sum(axis=2), rays @ np.array(centre)
    under = b**2 - a * (np.dot(centre, centre) - radius**2)
    depth = np.where(under > 0, (b - np.sqrt(np.maximum(under, 0))) / a, 3.0)
    return under > 0, depth.astype(np.float32)


def tilted(degrees: float) -> Floats:
    """The table's axes (x right, y away, z up) as columns in the optical frame of a camera that looks down on it."""
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, -sine, -cosine], [0.0, cosine, -sine]])


def block(size: tuple[float, float, float], yaw: float, table: Floats, origin: Floats) -> tuple[Mask, Depth]:
    """A block on a table, by ray casting; `origin` is the middle of its foot in the optical frame."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    axes = table @ turn
    rays = np.dstack([PINHOLE.rays.astype(np.float64), np.ones((HEIGHT, WIDTH))]) @ axes
    eye = -origin @ axes
    low, high = np.array([-size[0] / 2, -size[1] / 2, 0.0]), np.array([size[0] / 2, size[1] / 2, size[2]])
    with np.errstate(divide="ignore"):
        one, other = (low - eye) / rays, (high - eye) / rays
    enters, leaves = np.minimum(one, other).max(axis=2), np.maximum(one, other).min(axis=2)
    hit = (enters < leaves) & (enters > 0)
    ground = np.where(rays[:, :, 2] < -1e-6, -eye[2] / rays[:, :, 2], np.inf)
    return hit, np.where(hit, enters, ground).astype(np.float32)


@pytest.mark.parametrize("model", list(LENSES))
def test_rays_are_the_inverse_of_opencvs_projection(model: str) -> None:
    camera = CameraModel.from_info(WIDTH, HEIGHT, K, model, LENSES[model])
    rays = camera.rays.reshape(-1, 2).astype(np.float64)
    points = np.column_stack([1.7 * rays, np.full(len(rays), 1.7)]).reshape(-1, 1, 3)
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    seen, _ = project(points, np.zeros(3), np.zeros(3), camera.matrix, np.array(LENSES[model]))
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    assert np.abs(seen.reshape(-1, 2) - np.column_stack([u.ravel(), v.ravel()])).max() < 1e-3
    assert np.abs(rays - PINHOLE.rays.reshape(-1, 2)).max() > 0.005


def test_without_distortion_a_ray_is_the_pinholes() -> None:
    assert PINHOLE.rays[119, 20] == pytest.approx([(20 - 159.5) / FOCAL, -0.5 / FOCAL])
    assert CameraModel.from_info(WIDTH, HEIGHT, list(K), "", []) == PINHOLE


def test_where_a_distortion_model_is_ambiguous_there_is_no_ray() -> None:
    folding = CameraModel.from_info(WIDTH, HEIGHT, K, "plumb_bob", [-1.5, 0.0, 0.0, 0.0, 0.0])
    assert np.isnan(folding.rays[0, 0]).all() and np.isfinite(folding.rays[119, 159]).all()
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    assert np.isfinite(located(np.ones((HEIGHT, WIDTH), bool), depth, folding).points.xyz).all()


@pytest.mark.parametrize(
    ("k", "model", "d", "message"),
    [
        ([0.0] * 9, "plumb_bob", [], "not calibrated"),
        (K[:6], "plumb_bob", [], "nine numbers"),
        (K, "thin_prism", [0.1], "thin_prism"),
        (K, "equidistant", [0.1] * 5, "4 coefficients, not 5"),
        (K, "plumb_bob", [float("nan")] * 5, "not a number"),
    ],
)
def test_invalid_cameras_are_refused_with_the_reason(k: list[float], model: str, d: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraModel.from_info(WIDTH, HEIGHT, k, model, d)


@pytest.mark.parametrize("model", ["", *LENSES])
def test_a_plate_is_located_through_any_lens(model: str) -> None:
    camera = CameraModel.from_info(WIDTH, HEIGHT, K, model, LENSES.get(model, []))
    mask, depth = plate(camera, 0.8, (0.15, 0.35), (-0.25, -0.1))
    found = located(mask, depth, camera)
    # The outermost 3 pixels, 9 mm, are left out, and the outline was drawn in whole pixels.
    assert found.centroid_m == pytest.approx((0.25, -0.175, 0.8), abs=0.006)
    low, high = found.points.xyz.min(axis=0), found.points.xyz.max(axis=0)
    assert low == pytest.approx((0.159, -0.241, 0.8), abs=0.006)
    assert high == pytest.approx((0.341, -0.109, 0.8), abs=0.006)
    assert found.measured == 1.0 and found.spread_m == pytest.approx(0.0, abs=1e-6)


def test_holes_noise_and_flying_pixels_move_a_ball_hardly() -> None:
    rng = np.random.default_rng(1)
    mask, depth = ball((0.05, -0.03, 0.7), 0.06)
    clean = located(mask, depth)
    assert clean.points.xyz.shape[0] > 0.7 * mask.sum()
    assert np.linalg.norm(clean.points.xyz - np.array([0.05, -0.03, 0.7]), axis=1) == pytest.approx(0.06, abs=1e-4)
    border = cv2.dilate(mask.view(np.uint8), np.ones((3, 3))) - cv2.erode(mask.view(np.uint8), np.ones((3, 3))) > 0
    poor = np.where(border & (rng.random(depth.shape) < 0.8), rng.uniform(0.7, 3.0, depth.shape), depth)
    poor = poor + rng.normal(0.0, 0.0015, depth.shape)
    for missing in (np.nan, 0.0, np.inf):
        holed = np.where(rng.random(depth.shape) < 0.3, missing, poor).astype(np.float32)
        for wrong in (mask, cv2.dilate(mask.view(np.uint8), np.ones((7, 7))) > 0):
            found = located(np.asarray(wrong), holed)
            assert np.linalg.norm(np.subtract(found.centroid_m, clean.centroid_m)) < 0.005
            gaps = np.linalg.norm(found.points.xyz - np.array([0.05, -0.03, 0.7]), axis=1) - 0.06
            assert (np.abs(gaps) < 0.005).mean() > 0.97
            assert 0.6 < found.measured < 0.8


def test_background_inside_a_mask_is_not_part_of_the_object() -> None:
    mask, depth = plate(PINHOLE, 0.8, (-0.1, 0.1), (-0.1, 0.1))
    leaking = mask.copy()
    leaking[100:112, 20:110] = True  # a strip onto the wall
    assert located(leaking, depth).points.xyz[:, 2].max() == pytest.approx(0.8)


@pytest.mark.parametrize("far", [1e38, 3.4e38, 101.0, np.inf, -1.0, 1e-40])
def test_depth_that_no_camera_measures_does_not_count(far: float) -> None:
    """Drivers and simulators write 1e38 or FLT_MAX where nothing was measured."""
    mask, depth = plate(PINHOLE, 0.8, (-0.1, 0.1), (-0.1, 0.1))
    clean = located(mask, depth)
    partly = depth.copy()
    partly[::3] = far
    with np.errstate(all="raise"):
        found = located(mask, partly)
    assert found.points.xyz[:, 2].max() < 1.0 and max(found.box.size_m) < 0.3
    assert found.centroid_m == pytest.approx(clean.centroid_m, abs=0.005) and found.measured < 0.7
    nothing = locate(IMAGE, mask, np.full_like(depth, far), PINHOLE)
    assert isinstance(nothing, NotLocated) and nothing.reason is NotLocatedReason.TOO_SPARSE


def test_depth_without_pixels_is_not_that_of_the_image() -> None:
    mask, _ = plate(PINHOLE, 0.8, (-0.1, 0.1), (-0.1, 0.1))
    nothing = locate(IMAGE, mask, np.zeros((0, 0), np.float32), PINHOLE)
    assert isinstance(nothing, NotLocated) and nothing.reason is NotLocatedReason.NOT_REGISTERED


def test_a_thin_mask_loses_only_a_thin_border() -> None:
    line = np.zeros((40, 40), dtype=bool)
    line[20:24, 5:35] = True
    assert core(line, PointSettings()).sum() >= 0.4 * line.sum()
    line[:] = True
    assert core(line, PointSettings()).all()


@pytest.mark.parametrize("yaw", [0.0, 0.4, 1.1, 2.5])
def test_the_box_of_a_block_on_a_table(yaw: float) -> None:
    table, foot = tilted(50.0), np.array([0.04, 0.05, 0.75])
    mask, depth = block((0.2, 0.11, 0.09), yaw, table, foot)
    found = located(mask, depth)
    assert found.box.on_support
    assert found.box.size_m == pytest.approx((0.2, 0.11, 0.09), abs=0.02)
    assert np.linalg.norm(np.array(found.box.centre_m) - (foot + 0.045 * table[:, 2])) < 0.012
    axes = axes_of(found)
    assert axes[:, 2] @ table[:, 2] > 0.999
    assert abs(axes[:, 0] @ table @ np.array([np.cos(yaw), np.sin(yaw), 0.0])) > 0.99
    assert axes[0, 0] > 0
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_box_reaches_down_to_the_table_if_its_foot_is_not_visible() -> None:
    table, foot = tilted(50.0), np.array([0.04, 0.05, 0.75])
    mask, depth = block((0.2, 0.11, 0.09), 0.4, table, foot)
    rays = np.dstack([PINHOLE.rays, np.ones((HEIGHT, WIDTH))])
    height = (rays * depth[:, :, None] - foot) @ table[:, 2]
    around = depth.copy()
    around[mask & (height < 0.01)] = np.nan
    box = located(mask & (height > 0.01), around).box
    assert box.on_support and box.size_m[2] == pytest.approx(0.09, abs=0.004)


def test_without_a_table_the_box_is_the_smallest() -> None:
    rng = np.random.default_rng(0)
    turn = cv2.Rodrigues(np.array([0.3, -0.5, 0.9]))[0]
    xyz = ((rng.random((4000, 3)) - 0.5) * (0.3, 0.12, 0.05)) @ turn.T + (0.1, 0.0, 1.0)
    box = box_around(xyz.astype(np.float32))
    assert not box.on_support
    assert box.size_m == pytest.approx((0.3, 0.12, 0.05), rel=0.05)
    assert box.centre_m == pytest.approx((0.1, 0.0, 1.0), abs=0.003)


def test_a_point_beyond_a_box_in_any_direction() -> None:
    quarter = quaternion(cv2.Rodrigues(np.array([0.0, 0.0, np.pi / 2]))[0])
    box = OrientedBox((0.1, 0.2, 1.0), (0.3, 0.12, 0.05), quarter, on_support=False)
    assert box.beyond(IMAGE_UP, 0.01) == pytest.approx((0.1, 0.2 - 0.15 - 0.01, 1.0))
    assert box.beyond(FRAME_UP, 0.01) == pytest.approx((0.1, 0.2, 1.0 + 0.025 + 0.01))


def test_few_points_have_a_box_too() -> None:
    for count in (1, 2, 3, 5):
        box = box_around(np.array([[0.01 * i, 0.0, 1.0] for i in range(count)], np.float32))
        assert np.isfinite([*box.centre_m, *box.size_m]).all()
        assert np.linalg.norm(box.orientation) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no points"):
        box_around(np.zeros((0, 3), np.float32))


def test_quaternions_are_those_of_the_axis_and_angle() -> None:
    rng = np.random.default_rng(0)
    for angle in (0.0, 1e-9, 0.5, 2.0, 3.1, np.pi):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        made = np.array(quaternion(cv2.Rodrigues(angle * axis)[0]))
        expected = np.array([*(np.sin(angle / 2) * axis), np.cos(angle / 2)])
        assert made[3] >= 0 and abs(made @ expected) == pytest.approx(1.0)


def test_points_have_their_pixels_colours_and_can_be_organised() -> None:
    mask, depth = plate(PINHOLE, 0.8, (-0.1, 0.1), (-0.1, 0.1))
    points = located(mask, depth).points
    assert (points.rgb == IMAGE[points.rows, points.columns]).all()
    xyz, rgb = points.organised()
    assert xyz.shape == (HEIGHT, WIDTH, 3) and xyz.dtype == np.float32
    there = np.isfinite(xyz).all(axis=2)
    assert (np.isnan(xyz).all(axis=2) == ~there).all() and there.sum() == len(points.xyz)
    assert not (there & ~mask).any()
    assert (xyz[there] == points.xyz).all() and (rgb[there] == points.rgb).all()


def test_the_reason_for_no_position_is_returned() -> None:
    mask, depth = plate(PINHOLE, 0.8, (-0.1, 0.1), (-0.1, 0.1))
    nothing, sparse = np.full_like(depth, np.nan), np.full_like(depth, np.nan)
    sparse[::9, ::9] = depth[::9, ::9]
    other = CameraModel.from_info(640, 480, K, "", [])
    cases = [
        (locate(IMAGE, mask, None, PINHOLE), NotLocatedReason.NO_DEPTH, "no depth"),
        (locate(IMAGE, mask, depth, None), NotLocatedReason.NO_CAMERA, "intrinsics"),
        (locate(IMAGE, mask, depth[::2], PINHOLE), NotLocatedReason.NOT_REGISTERED, "depth is 320x120"),
        (locate(IMAGE, mask, depth, other), NotLocatedReason.NOT_REGISTERED, "camera_info is 640x480"),
        (locate(IMAGE, mask, nothing, PINHOLE), NotLocatedReason.TOO_SPARSE, "0 %"),
        (locate(IMAGE, mask, sparse, PINHOLE), NotLocatedReason.TOO_SPARSE, "too few"),
        (locate(IMAGE, mask, np.full_like(sparse, 800.0), PINHOLE), NotLocatedReason.TOO_SPARSE, "not millimetres"),
        (locate(IMAGE, np.zeros_like(mask), depth, PINHOLE), NotLocatedReason.NO_OBJECT, "no object"),
    ]
    for found, reason, message in cases:
        assert isinstance(found, NotLocated) and found.reason is reason and message in found.detail
    with pytest.raises(ValueError, match="the mask must be"):
        locate(IMAGE, mask[1:], depth, PINHOLE)


@pytest.mark.parametrize("factor", [0.5, 0.25, 0.8, 2.0])
@pytest.mark.parametrize("lens", [None, *LENSES])
def test_depth_of_another_resolution_is_brought_to_the_images_grid(factor: float, lens: str | None) -> None:
    """With the intrinsics of either image, the position is right within a pixel of depth."""
    d = LENSES[lens] if lens else []
    camera = CameraModel.from_info(WIDTH, HEIGHT, K, lens or "", d)
    mask, depth = plate(camera, 0.8, (-0.1, 0.12), (-0.08, 0.1))
    width, height = round(WIDTH * factor), round(HEIGHT * factor)
    # What a camera of that resolution measures along the rays through its own pixels' centres.
    rows = np.clip(np.rint((np.arange(height) + 0.5) / factor - 0.5).astype(int), 0, HEIGHT - 1)
    columns = np.clip(np.rint((np.arange(width) + 0.5) / factor - 0.5).astype(int), 0, WIDTH - 1)
    other = np.ascontiguousarray(depth[np.ix_(rows, columns)])
    k = (FOCAL * factor, 0.0, 160.0 * factor - 0.5, 0.0, FOCAL * factor, 120.0 * factor - 0.5, 0.0, 0.0, 1.0)
    of_depth = CameraModel.from_info(width, height, k, lens or "", d)
    pixel_m = 0.8 / (FOCAL * min(factor, 1.0))
    expected = located(mask, depth, camera)
    for given in (camera, of_depth):
        found = located(mask, other, given)
        assert np.abs(np.subtract(found.centroid_m, expected.centroid_m)).max() <= 1e-6
        for edge in (np.min, np.max):
            assert np.abs(edge(found.points.xyz, axis=0) - edge(expected.points.xyz, axis=0)).max() <= pixel_m
        assert np.allclose(found.points.xyz[:, 2], 0.8)  # no value between the plate and the wall


def test_depth_is_taken_from_the_pixel_that_contains_the_centre() -> None:
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(depth_on_grid(depth, (8, 6)), depth.repeat(2, axis=0).repeat(2, axis=1))
    assert depth_on_grid(depth, (4, 3)) is depth and depth_on_grid(depth, (8, 7)) is depth
    assert scaled(PINHOLE, (640, 480)) is scaled(replace(PINHOLE), (640, 480))  # its rays are computed once


def test_arguments_are_not_changed() -> None:
    mask, depth = plate(PINHOLE, 0.8, (-0.02, 0.02), (-0.004, 0.004))
    depth[::2] = np.nan
    copies = mask.copy(), depth.copy()
    locate(IMAGE, mask, depth, PINHOLE)
    assert (mask == copies[0]).all() and np.array_equal(depth, copies[1], equal_nan=True)


def test_cameras_with_the_same_numbers_are_equal() -> None:
    assert replace(PINHOLE) == PINHOLE and replace(PINHOLE, width=10) != PINHOLE
