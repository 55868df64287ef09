# SPDX-License-Identifier: Apache-2.0
"""Views of the region of the objects: framing keeps the truth true, in the cache and each time they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lisa_ros.segmentation.region import Region
from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.view_sources import FRAMED, part_of
from lisa_ros.tabletop.views import SPLITS, ViewCache, render_views
from lisa_ros.training.scenes.framed_views import FramedViews, magnified, reframed


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> tuple[ViewCache, ViewCache]:
    folder: Path = tmp_path_factory.mktemp("views")
    render_views(SPLITS["train"], 4, cache=folder / "plain", width=160, height=120, shard_views=4)
    render_views(SPLITS["framed"], 3, cache=folder / "framed", shard_views=3, source=FRAMED)
    return ViewCache(folder / "framed"), ViewCache(folder / "plain")


def check_truth(view: View, slack: int = 3) -> None:
    """Pixels and objects agree, and the camera sees the whole ones where the image shows them."""
    height, width = view.instances.shape
    assert view.rgb.shape == (height, width, 3) and view.rgb.dtype == np.uint8
    assert (view.camera.height, view.camera.width) == (height, width)
    assert view.objects and {item.instance for item in view.objects} == set(np.unique(view.instances)) - {0}
    for item in view.objects:
        rows, columns = np.nonzero(view.instances == item.instance)
        u, v, z = view.camera.k @ (np.linalg.inv(view.camera.pose) @ np.array([*item.position_m, 1.0]))[:3]
        if rows.min() > 0 and rows.max() + 1 < height and columns.min() > 0 and columns.max() + 1 < width:
            assert columns.min() - slack <= u / z <= columns.max() + slack
            assert rows.min() - slack <= v / z <= rows.max() + slack


def test_rendered_views_show_the_region_of_the_objects(caches: tuple[ViewCache, ViewCache]) -> None:
    for view in (caches[0][i] for i in range(len(caches[0]))):
        check_truth(view, slack=8)
        rows, columns = np.nonzero(view.instances)
        height, width = view.instances.shape
        assert max(np.ptp(rows) / height, np.ptp(columns) / width) > 0.4


def test_changed_views_are_true(caches: tuple[ViewCache, ViewCache]) -> None:
    framed, plain = caches
    views, rng = FramedViews([framed], [plain]), np.random.default_rng(0)
    assert len(views) == len(framed) + len(plain)
    unchanged = 0
    for number in range(len(views)):
        for _ in range(8):
            view = views.varied(number, rng)
            check_truth(view, slack=8)
            unchanged += view is views[number]
    assert 0 < unchanged < len(views) * 8 / 2
    first, again = (views.varied(0, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)


def test_a_new_frame_is_a_part_of_the_view(caches: tuple[ViewCache, ViewCache]) -> None:
    view, rng = caches[1][0], np.random.default_rng(1)
    for _ in range(6):
        part = reframed(view, rng)
        check_truth(part)
        left, top = np.rint(view.camera.k[:2, 2] - part.camera.k[:2, 2]).astype(int)
        where = (slice(top, top + part.camera.height), slice(left, left + part.camera.width))
        for whole, shown in ((view.rgb, part.rgb), (view.instances, part.instances), (view.depth_m, part.depth_m)):
            assert np.array_equal(whole[where], shown)


def test_a_view_without_objects_stays_whole(caches: tuple[ViewCache, ViewCache]) -> None:
    view = caches[1][0]
    empty = View(view.rgb, view.depth_m, np.zeros_like(view.instances), (), view.camera)
    assert reframed(empty, np.random.default_rng(0)) is empty
    assert part_of(empty, Region(0, 0, 10, 10)) is empty


def test_a_magnified_view_keeps_size_and_truth(caches: tuple[ViewCache, ViewCache]) -> None:
    view, rng = caches[0][0], np.random.default_rng(2)
    for _ in range(6):
        larger = magnified(view, rng)
        assert larger.rgb.shape == view.rgb.shape and np.array_equal(larger.instances, view.instances)
