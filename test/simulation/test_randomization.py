# SPDX-License-Identifier: Apache-2.0
"""Randomized tables by both renderers: the same seed, the same views; true instances; ranges that are respected."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from lisa_ros.simulation.randomization.degradation import degraded, hide_behind_arm
from lisa_ros.simulation.randomization.ranges import FAR, TRAINING, Ranges
from lisa_ros.simulation.randomization.surroundings import OBJECT_M, draw_camera, jittered
from lisa_ros.simulation.randomization.textures import PAINTERS, SIZE, draw_texture
from lisa_ros.simulation.randomized_table import RandomizedTable, Renderer
from lisa_ros.simulation.scene import COLOURS, KINDS, View

RENDERERS: tuple[Renderer, ...] = ("pybullet", "software")


def views_of(renderer: Renderer, ranges: Ranges = TRAINING, seed: int = 3) -> list[View]:
    taken = []
    with RandomizedTable(seed, ranges=ranges, renderer=renderer, width=160, height=120, oversampling=1) as table:
        for _ in range(2):
            table.rearrange()
            table.move_camera()
            taken.append(table.render(least_visible=0.0))
    return taken


@pytest.fixture(scope="module")
def views() -> dict[str, list[View]]:
    return {renderer: views_of(renderer) for renderer in RENDERERS}


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_same_seed_gives_the_same_views(views: dict[str, list[View]], renderer: Renderer) -> None:
    for one, again in zip(views[renderer], views_of(renderer), strict=True):
        assert np.array_equal(one.rgb, again.rgb) and np.array_equal(one.instances, again.instances)
        assert one.objects == again.objects and one.has_distractors == again.has_distractors


def test_both_renderers_see_the_same_objects_at_the_same_pixels(views: dict[str, list[View]]) -> None:
    for one, other in zip(views["pybullet"], views["software"], strict=True):
        assert not np.array_equal(one.rgb, other.rgb)
        for item in one.objects:
            first, second = one.instances == item.instance, other.instances == item.instance
            if np.count_nonzero(first) > 60:
                assert np.count_nonzero(first & second) > 0.75 * np.count_nonzero(first | second), item


def test_depths_of_both_renderers_agree(views: dict[str, list[View]]) -> None:
    for one, other in zip(views["pybullet"], views["software"], strict=True):
        both = (one.instances > 0) & (one.instances == other.instances)
        assert both.any()
        assert np.median((np.abs(one.depth_m - other.depth_m) / one.depth_m)[both]) < 0.01


@pytest.mark.parametrize("renderer", RENDERERS)
def test_what_is_listed_is_what_is_shown(views: dict[str, list[View]], renderer: Renderer) -> None:
    for view in views[renderer]:
        assert {item.instance for item in view.objects} == set(np.unique(view.instances)) - {0}
        assert all(item.kind in KINDS and item.colour in COLOURS for item in view.objects)


def test_cameras_give_objects_the_wanted_size() -> None:
    rng = np.random.default_rng(0)
    for ranges in (TRAINING, FAR):
        for _ in range(50):
            camera = draw_camera(rng, ranges, 640, 480)
            distance = float(np.linalg.norm(camera.pose[:3, 3] - (0.0, 0.0, 0.02)))
            share = OBJECT_M * camera.k[0, 0] / distance / 640
            assert 0.8 * ranges.object_share[0] < share < 1.3 * ranges.object_share[1]
            assert camera.pose[2, 3] > 0


def test_the_far_table_lies_outside_the_training_ranges() -> None:
    assert not set(FAR.textures) & set(TRAINING.textures)
    assert set(FAR.textures) | set(TRAINING.textures) == set(PAINTERS)
    assert FAR.field_of_view_deg[1] < TRAINING.field_of_view_deg[0]
    assert FAR.ambient[1] < TRAINING.ambient[0]


@pytest.mark.parametrize("name", sorted(PAINTERS))
def test_textures_are_colours_that_vary(name: str) -> None:
    texture = draw_texture(np.random.default_rng(1), [name])
    assert texture.shape == (SIZE, SIZE, 3) and texture.dtype == np.float32
    assert texture.min() >= 0.0 and texture.max() <= 1.0 and texture.std() > 0.0


def test_a_degraded_image_is_still_that_image() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.stack([rows, columns, 200 - rows], axis=-1).astype(np.uint8)
    for _ in range(30):
        changed = degraded(image, rng)
        assert changed.shape == image.shape and changed.dtype == np.uint8
        assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.8
    assert not np.array_equal(changed, image)


def test_an_arm_hides_the_objects_behind_it() -> None:
    image, instances = np.zeros((120, 160, 3), np.uint8), np.ones((120, 160), np.uint8)
    for seed in range(10):
        rgb, left = hide_behind_arm(image, instances, np.random.default_rng(seed))
        assert 0 < np.count_nonzero(left == 0) < 0.6 * left.size
        assert not rgb[left == 1].any(), "only the arm is painted"
    assert (instances == 1).all() and not image.any(), "the inputs stay as they are"


def test_a_jittered_colour_is_still_that_colour() -> None:
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for _ in range(50):
            changed = jittered(colour, rng, TRAINING.colour_jitter)
            (hue, saturation, value), (h, s, v) = colorsys.rgb_to_hsv(*colour), colorsys.rgb_to_hsv(*changed)
            if name in ("white", "black"):
                assert s < 0.15 and (v > 0.7) == (name == "white")
            else:
                assert abs((hue - h + 0.5) % 1.0 - 0.5) < 6.1 / 360.0
                assert s > 0.7 * saturation and v > 0.7 * value
