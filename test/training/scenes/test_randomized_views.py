# SPDX-License-Identifier: Apache-2.0
"""Views varied each time they are drawn: crops and new backgrounds keep the truth true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.views import SPLITS, ViewCache, render_views
from lisa_ros.training.scenes.batches import draw_view, step_rng
from lisa_ros.training.scenes.compositing import on_another_background
from lisa_ros.training.scenes.randomized_views import RandomizedViews, cropped


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> RandomizedViews:
    folder: Path = tmp_path_factory.mktemp("views")
    render_views(SPLITS["train"], 6, cache=folder, width=160, height=120, shard_views=6)
    return RandomizedViews([ViewCache(folder)])


def check_truth(view: View) -> None:
    assert view.rgb.shape == (*view.instances.shape, 3) and view.rgb.dtype == np.uint8
    assert {item.instance for item in view.objects} == set(np.unique(view.instances)) - {0}
    assert view.objects and (view.camera.height, view.camera.width) == view.instances.shape


def in_image(view: View, point: tuple[float, float, float]) -> np.ndarray:
    optical = np.linalg.inv(view.camera.pose) @ np.array([*point, 1.0])
    pixel = view.camera.k @ optical[:3]
    return np.asarray(pixel[:2] / pixel[2])


@pytest.mark.parametrize("change", [cropped, on_another_background])
def test_changed_views_are_true(views: RandomizedViews, change: object) -> None:
    rng = np.random.default_rng(0)
    for i in range(24):
        view = change(views[i % len(views)], rng)  # type: ignore[operator]
        check_truth(view)
        for item in view.objects:
            rows, columns = np.nonzero(view.instances == item.instance)
            u, v = in_image(view, item.position_m)
            whole = rows.min() > 0 and rows.max() + 1 < view.instances.shape[0]
            if whole and columns.min() > 0 and columns.max() + 1 < view.instances.shape[1]:
                assert columns.min() - 3 <= u <= columns.max() + 3 and rows.min() - 3 <= v <= rows.max() + 3


def test_a_new_background_keeps_the_objects_colours(views: RandomizedViews) -> None:
    rng = np.random.default_rng(1)
    view = views[0]
    changed = on_another_background(view, rng)
    for item in changed.objects:
        before, after = (one.rgb[one.instances == item.instance] for one in (view, changed))
        if len(after) > 150:  # edges blend with the background
            assert np.abs(np.median(before, axis=0) - np.median(after, axis=0)).max() < 40


def test_the_same_step_draws_the_same_views(views: RandomizedViews) -> None:
    first, again, other = (draw_view(views, step_rng(1, "joint", number)) for number in (5, 5, 6))
    assert np.array_equal(first.rgb, again.rgb) and first.rgb.shape == again.rgb.shape
    assert first.rgb.shape != other.rgb.shape or not np.array_equal(first.rgb, other.rgb)


def test_half_of_the_plain_tables_views_are_drawn_as_they_are(tmp_path: Path) -> None:
    render_views(SPLITS["train"], 2, cache=tmp_path, width=160, height=120, shard_views=2)
    cache = ViewCache(tmp_path)
    views, rng = RandomizedViews([cache], plain=[cache]), np.random.default_rng(3)
    unchanged = [
        np.mean([np.array_equal(views.varied(number, rng).rgb, views[number].rgb) for _ in range(60)])
        for number in (0, len(views) - 1)
    ]
    assert unchanged[0] < 0.25 and 0.4 < unchanged[1] < 0.75
