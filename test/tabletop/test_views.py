# SPDX-License-Identifier: Apache-2.0
"""The shards that rendered views are kept in."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.tabletop import views as scenes
from lisa_ros.tabletop.views import ViewCache, render_views

render_tiny = partial(render_views, width=64, height=48, shard_views=4)


def test_shards_resume_and_do_not_depend_on_workers(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    render_tiny(7, 5, cache=first, workers=2)
    kept = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert sorted(kept) == ["shard_00000007.npz", "shard_00000008.npz"]
    (first / "shard_00000008.npz").unlink()
    render_tiny(7, 8, cache=first)
    assert (first / "shard_00000007.npz").stat().st_mtime_ns == kept["shard_00000007.npz"]
    render_tiny(8, 1, cache=second)
    again, alone = ViewCache(first), ViewCache(second)
    assert len(again) == 8
    assert len(alone) == 4
    for i in range(4):
        assert np.array_equal(again[4 + i].rgb, alone[i].rgb)
        assert np.array_equal(again[4 + i].instances, alone[i].instances)
        assert again[4 + i].objects == alone[i].objects
    with pytest.raises(ValueError, match="64x48"):
        render_views(7, 1, width=32, height=24, cache=first, shard_views=4)


def test_the_cache_gives_back_what_was_rendered(tmp_path: Path) -> None:

    render_tiny(11, 1, cache=tmp_path)
    kept = ViewCache(tmp_path, limit=2)
    with Tabletop(11, width=64, height=48) as table:
        table.rearrange()
        table.move_camera()
        fresh = table.render()
    assert len(kept) == 2
    assert np.array_equal(kept[0].rgb, fresh.rgb)
    assert np.array_equal(kept[0].instances, fresh.instances)
    assert kept[0].objects == fresh.objects
    assert np.array_equal(kept[0].camera.k, fresh.camera.k)
    assert np.array_equal(kept[0].camera.pose, fresh.camera.pose)
    assert np.isinf(kept[0].depth_m).all()
    assert kept[0].depth_m.shape == (48, 64)


def test_an_empty_cache_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render_views"):
        ViewCache(tmp_path)


def test_splits_never_meet() -> None:
    seeds = sorted(scenes.SPLITS.values())
    assert min(b - a for a, b in pairwise(seeds)) * scenes.SHARD_VIEWS > 10_000_000
