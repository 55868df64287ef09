# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that comes with the package: an ordinary one, small, and good enough for its table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.evaluation.tabletop import Judged, intersection_over_union, judge, table
from lisa_ros.models.lisa.checkpoint import WeightFiles
from lisa_ros.models.options import LoadOptions
from lisa_ros.segmenter import Segmenter, embedded_checkpoint, load_segmenter
from lisa_ros.simulation.scene import View
from lisa_ros.simulation.tabletop import Tabletop

MEGABYTE = 1_000_000
SCENES = 40
SEED = 9_000_000
"""Far from the seeds of training, validation and test."""


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu"))


@pytest.fixture(scope="module")
def views() -> list[View]:
    return list(fresh_views())


@pytest.fixture(scope="module")
def judged(segmenter: Segmenter, views: list[View]) -> list[Judged]:
    return judge(segmenter, views, seed=1, weights={"direct": 1.0})


def fresh_views() -> Iterator[View]:
    with Tabletop(SEED, width=320, height=240) as table:
        for _ in range(SCENES):
            table.rearrange()
            table.move_camera()
            yield table.render()


def test_it_is_small() -> None:
    size = sum(path.stat().st_size for path in Path(embedded_checkpoint()).resolve().rglob("*") if path.is_file())
    assert size <= 16 * MEGABYTE


def test_keys_are_the_released_ones() -> None:
    keys = WeightFiles(embedded_checkpoint()).shapes()
    assert {"lm_head.weight", "model.embed_tokens.weight", "model.text_hidden_fcs.0.2.weight"} <= set(keys)
    assert all(key.startswith(("model.", "lm_head.")) for key in keys)


def test_direct_questions_on_new_scenes(judged: list[Judged]) -> None:
    assert len(judged) >= 0.9 * SCENES
    print(table(judged))
    assert np.mean([one.iou for one in judged]) >= 0.35


def test_it_looks_at_the_picture(segmenter: Segmenter, views: list[View], judged: list[Judged]) -> None:
    """The same questions about the wrong pictures must fare far worse: nothing is learned by heart."""
    swapped = [
        View(other.rgb, view.depth_m, view.instances, view.objects, view.camera)
        for view, other in zip(views, views[1:] + views[:1], strict=True)
    ]
    wrong = judge(segmenter, swapped, seed=1, weights={"direct": 1.0})
    assert np.mean([one.iou for one in wrong]) < 0.5 * np.mean([one.iou for one in judged])


def test_iou() -> None:
    a, b = np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)
    assert intersection_over_union(a, b) == 1.0
    a[0] = True
    b[0, 0] = True
    assert intersection_over_union(a, b) == 0.5
