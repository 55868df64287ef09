# SPDX-License-Identifier: Apache-2.0
"""The simulated table: same seed, same images; and the truth it tells is the truth of the image."""

from __future__ import annotations

import colorsys
import hashlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.simulation.arrangement import FEWEST_OBJECTS, MOST_OBJECTS, choose_colours, choose_kinds
from lisa_ros.simulation.scene import COLOURS, KINDS, Camera, SceneObject, View
from lisa_ros.simulation.tabletop import LEAST_VISIBLE, Tabletop

HUES_DEG = {"red": 0.0, "orange": 28.0, "yellow": 54.0, "green": 126.0, "blue": 230.0, "purple": 284.0}
DIGEST = """
import hashlib
from lisa_ros.simulation.tabletop import Tabletop
with Tabletop(11, width=160, height=120) as table:
    first = table.render(); table.rearrange(); table.move_camera(); second = table.render()
    print(hashlib.sha256(b"".join(
        a.tobytes() for view in (first, second) for a in (view.rgb, view.depth_m, view.instances))).hexdigest())
"""


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Images of four arrangements, two of each."""
    taken = []
    with Tabletop(3, width=320, height=240) as table:
        for _ in range(4):
            table.rearrange()
            for _ in range(2):
                table.recolour()
                table.move_camera()
                taken.append(table.render())
    return taken


def seen_objects(views: list[View]) -> Iterator[tuple[View, SceneObject, NDArray[np.bool_]]]:
    for view in views:
        for item in view.objects:
            yield view, item, view.instances == item.instance


def in_table_frame(view: View, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The points (N, 3) that a mask's pixels show, from depth, K and pose."""
    v, u = np.nonzero(mask)
    k = view.camera.k
    z = view.depth_m[mask].astype(np.float64)
    optical = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z, np.ones_like(z)])
    return np.asarray((view.camera.pose @ optical)[:3].T)


def project(camera: Camera, point_m: tuple[float, float, float]) -> NDArray[np.float64]:
    optical = np.linalg.inv(camera.pose) @ np.array([*point_m, 1.0])
    pixel = camera.k @ optical[:3]
    return np.asarray(pixel[:2] / pixel[2])


def test_same_seed_gives_bitwise_the_same_views_in_another_process() -> None:
    runs = [subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True) for _ in "ab"]
    digests = [run.stdout.strip().splitlines()[-1] for run in runs]
    assert digests[0] == digests[1]
    assert len(digests[0]) == hashlib.sha256().digest_size * 2


def test_views_have_the_promised_shapes_and_types(views: list[View]) -> None:
    for view in views:
        assert view.rgb.shape == (240, 320, 3) and view.rgb.dtype == np.uint8
        assert view.depth_m.shape == (240, 320) and view.depth_m.dtype == np.float32
        assert view.instances.shape == (240, 320) and view.instances.dtype == np.uint8
        assert (view.depth_m > 0).all()
        assert (view.camera.width, view.camera.height) == (320, 240)


def test_instances_and_objects_name_the_same_things(views: list[View]) -> None:
    for view in views:
        listed = {item.instance for item in view.objects}
        assert listed == set(np.unique(view.instances)) - {0}
        assert all(item.kind in KINDS and item.colour in COLOURS for item in view.objects)
    for view, _, mask in seen_objects(views):
        assert mask.sum() >= LEAST_VISIBLE * view.instances.size


def test_depth_points_lie_on_the_objects(views: list[View]) -> None:
    for view, item, mask in seen_objects(views):
        half = np.array(item.extent_m) / 2.0 + 0.006
        off = np.abs(in_table_frame(view, mask) - np.array(item.position_m)) > half
        assert off.any(axis=1).mean() < 0.03, item


def test_table_points_lie_on_the_table(views: list[View]) -> None:
    for view in views:
        heights = in_table_frame(view, view.instances == 0)
        near = np.abs(heights[:, :2]).max(axis=1) < 0.3
        assert np.median(np.abs(heights[near, 2])) < 0.003


def test_object_centres_project_into_their_masks(views: list[View]) -> None:
    for view, item, mask in seen_objects(views):
        v, u = np.nonzero(mask)
        if u.min() == 0 or v.min() == 0 or u.max() == 319 or v.max() == 239:
            continue
        centre = project(view.camera, item.position_m)
        assert u.min() - 3 <= centre[0] <= u.max() + 3, item
        assert v.min() - 3 <= centre[1] <= v.max() + 3, item


def test_colours_in_the_image_are_those_named(views: list[View]) -> None:
    for view, item, mask in seen_objects(views):
        hue, saturation, value = colorsys.rgb_to_hsv(*(np.median(view.rgb[mask], axis=0) / 255.0).tolist())
        if item.colour == "white":
            assert saturation < 0.15 and value > 0.45, item
        elif item.colour == "black":
            assert value < 0.25, item
        else:
            difference = abs((hue * 360.0 - HUES_DEG[item.colour] + 180.0) % 360.0 - 180.0)
            assert difference < 14.0 and saturation > 0.5, (item, hue * 360.0)


def test_recolour_keeps_the_objects_and_changes_the_image() -> None:
    with Tabletop(4, width=160, height=120) as table:
        before = table.render()
        table.recolour()
        after = table.render()
    assert np.array_equal(before.instances, after.instances)
    assert [item.kind for item in before.objects] == [item.kind for item in after.objects]
    assert not np.array_equal(before.rgb, after.rgb)


def test_move_camera_keeps_where_things_lie() -> None:
    with Tabletop(5, width=160, height=120) as table:
        before = {item.instance: item for item in table.render().objects}
        table.move_camera()
        after = {item.instance: item for item in table.render().objects}
    assert before.keys() & after.keys()
    assert all(before[number] == after[number] for number in before.keys() & after.keys())


def test_scenes_hold_distractors_but_rarely_twins() -> None:
    rng = np.random.default_rng(0)
    twins = shared_kind = shared_colour = 0
    for _ in range(300):
        kinds = choose_kinds(rng)
        colours = choose_colours(rng, kinds)
        assert FEWEST_OBJECTS <= len(kinds) <= MOST_OBJECTS
        twins += len(set(zip(kinds, colours, strict=True))) < len(kinds)
        shared_kind += len(set(kinds)) < len(kinds)
        shared_colour += len(set(colours)) < len(colours)
    assert twins < 60
    assert shared_kind > 120 and shared_colour > 120


def test_a_tiny_image_is_refused() -> None:
    with pytest.raises(ValueError, match="16 or more"):
        Tabletop(0, width=8, height=8)


def test_closing_twice_is_harmless() -> None:
    table = Tabletop(0, width=32, height=32)
    table.close()
    table.close()
