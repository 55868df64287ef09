# SPDX-License-Identifier: Apache-2.0
"""Points to grip on objects of known shape, with depth as cameras make it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.grips.gripping import grip_of
from lisa_ros.spatial.locating import Located, locate
from lisa_ros.spatial.parts import separate_objects
from lisa_ros.spatial.rotation import rotation_of

WIDTH, HEIGHT, FOCAL = 320, 240, 400.0
CAMERA = CameraModel.from_info(WIDTH, HEIGHT, (FOCAL, 0, 159.5, 0, FOCAL, 119.5, 0, 0, 1), "", ())
TABLE_M, HIGH_M = 0.7, 0.06


def plane_z(tilt: float, height_m: float = 0.0) -> NDArray[np.float64]:
    """Depth of a surface above the table; the table is tilted by this angle about the image's x axis."""
    rays = np.dstack([CAMERA.rays.astype(np.float64), np.ones((HEIGHT, WIDTH))])
    normal = np.array([0.0, np.sin(tilt), -np.cos(tilt)])
    return (normal @ np.array([0.0, 0.0, TABLE_M]) + height_m) / (rays @ normal)


def located(z: NDArray[np.float64], mask: NDArray[np.bool_], noise: float = 0.0, holes: float = 0.0) -> Located:
    rng = np.random.default_rng(1)
    noisy = z * (1.0 + noise * rng.normal(size=z.shape))
    noisy[rng.random(z.shape) < holes] = np.nan
    found = locate(np.zeros((HEIGHT, WIDTH, 3), np.uint8), mask, noisy.astype(np.float32), CAMERA)
    assert isinstance(found, Located)
    return found


def disc(radius_px: float) -> NDArray[np.bool_]:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray(np.hypot(u - 160, v - 120) < radius_px)


def box_scene(tilt: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[90:150, 110:210] = True
    return np.where(mask, plane_z(tilt, HIGH_M), plane_z(tilt)), mask


@pytest.mark.parametrize("tilt_deg", [0.0, 15.0, -30.0])
@pytest.mark.parametrize(("noise", "holes"), [(0.0, 0.0), (0.002, 0.3), (0.02, 0.1)])
def test_a_box_is_gripped_on_its_top_along_its_normal(tilt_deg: float, noise: float, holes: float) -> None:
    tilt = np.deg2rad(tilt_deg)
    z, mask = box_scene(tilt)
    grip = grip_of(located(z, mask, noise, holes), "top_plane")
    assert isinstance(grip, Grip), grip
    normal = np.array([0.0, np.sin(tilt), -np.cos(tilt)])
    approach = rotation_of(grip.orientation)[:, 2]
    assert np.rad2deg(np.arccos(-approach @ normal)) < 10.0
    height_m = normal @ (np.asarray(grip.position_m) - (0.0, 0.0, TABLE_M))
    assert abs(height_m - HIGH_M) < 0.005
    u, v = CAMERA.pixels_of(np.array([grip.position_m]))[0]
    assert mask[round(v), round(u)]
    if noise < 0.01:
        assert grip.clear_diameter_m > 0.04 and grip.patch_size_m[0] > grip.patch_size_m[1]


def test_a_hollow_object_is_never_gripped_in_the_air() -> None:
    outer, inner = disc(50.0), disc(42.0)
    z = np.where(inner, plane_z(0.0, 0.01), np.where(outer, plane_z(0.0, HIGH_M), plane_z(0.0)))
    found = located(z, outer, 0.002, 0.1)
    for strategy in ("top_plane", "centroid"):
        grip = grip_of(found, strategy)
        assert isinstance(grip, Grip)
        u, v = (round(float(value)) for value in CAMERA.pixels_of(np.array([grip.position_m]))[0])
        assert abs(grip.position_m[2] - z[v, u]) < 0.004


def test_an_antipodal_grip_spans_the_object_and_is_refused_with_a_reason() -> None:
    z, mask = box_scene(0.0)
    found = located(z, mask, 0.002, 0.1)
    grip = grip_of(found, "antipodal", Gripper(opening_m=0.15, clearance_m=0.005))
    assert isinstance(grip, Grip)
    across_m = 60 * (TABLE_M - HIGH_M) / FOCAL
    assert abs(grip.opening_m - 0.01 - across_m) < 0.008
    assert abs(rotation_of(grip.orientation)[1, 1]) > 0.99, "the fingers close across the shorter side"
    assert 0.0 < TABLE_M - grip.position_m[2] < HIGH_M
    narrow = grip_of(found, "antipodal", Gripper(opening_m=0.08))
    assert isinstance(narrow, NoGrip) and "it opens 80 mm at most" in narrow.detail
    flat = grip_of(located(plane_z(0.0, 0.001), mask), "antipodal")
    assert isinstance(flat, NoGrip) and "too flat" in flat.detail
    with pytest.raises(ValueError, match="must be none, centroid"):
        grip_of(found, "magnet")


def test_what_has_no_level_patch_says_so() -> None:
    mask = disc(4.0)
    grip = grip_of(located(np.where(mask, plane_z(0.0, 0.02), plane_z(0.0)), mask), "top_plane")
    assert isinstance(grip, Grip | NoGrip)
    wall = np.zeros((HEIGHT, WIDTH), np.bool_)
    wall[80:160, 140:180] = True
    steep = np.where(wall, 0.5 + (np.arange(WIDTH) - 160.0) * 0.005, TABLE_M)
    refused = grip_of(located(steep, wall), "top_plane")
    assert isinstance(refused, NoGrip) and "level patch" in refused.detail


def test_parts_without_depth_are_objects_and_scraps_belong_to_the_nearest() -> None:
    mask = np.zeros((60, 100), np.bool_)
    mask[10:30, 60:90] = mask[20:50, 5:35] = mask[5:8, 92:95] = True
    left, right = separate_objects(mask, None)
    assert (left | right == mask).all() and not (left & right).any()
    assert left[:, :40].sum() == left.sum() and right[6, 93]
    assert len(separate_objects(left, None)) == 1


def test_a_bowl_that_is_too_wide_is_gripped_at_its_rim() -> None:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    outer, inside = disc(50.0), np.minimum(1.0, np.hypot(u - 160.0, v - 120.0) / 44.0) ** 4
    hollow = np.where(outer, TABLE_M - HIGH_M * inside, TABLE_M)
    grip = grip_of(located(hollow, outer, 0.002, 0.1), "antipodal", Gripper(opening_m=0.08))
    assert isinstance(grip, Grip) and grip.strategy == "rim"
    at = CAMERA.pixels_of(np.array([grip.position_m]))[0] - (160.0, 120.0)
    assert 42.0 < np.linalg.norm(at) < 52.0, "the middle between the finger tips is in the wall"
    closing = rotation_of(grip.orientation)[:2, 1]
    assert abs(closing @ at) > 0.98 * np.linalg.norm(at), "one finger inside, one outside"
    assert 0.005 < grip.position_m[2] - (TABLE_M - HIGH_M) < 0.025, (
        "the tips are below the rim, above the hollow's floor"
    )
    assert 6 * (TABLE_M - HIGH_M) / FOCAL < grip.opening_m < 0.04
    filled = np.where(outer, plane_z(0.0, HIGH_M), plane_z(0.0))
    refused = grip_of(located(filled, outer, 0.002, 0.1), "antipodal", Gripper(opening_m=0.08))
    assert isinstance(refused, NoGrip) and "would have to open" in refused.detail
