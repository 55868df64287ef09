# SPDX-License-Identifier: Apache-2.0
"""Simulated tables as a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lisa_ros.datasets import tabletop
from lisa_ros.datasets.samples import DataError, Sample
from lisa_ros.datasets.tabletop import Table, read_tabletop, sample_of
from lisa_ros.simulation.scene import Camera, SceneObject, View
from lisa_ros.tabletop.questions.conversation import Question
from lisa_ros.tabletop.questions.relations import is_reserved
from lisa_ros.tabletop.view_sources import CALIBRATION, OWN_TABLE
from lisa_ros.tabletop.views import RESERVED_PAIRS, ViewCache

COUNT = 6
SEEN, UNSEEN = (
    SceneObject(1, "mug", "red", *((0.1, 0.1, 0.1),) * 2),
    SceneObject(2, "duck", "white", *((0.1,) * 3,) * 2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def samples(folder: Path) -> list[Sample]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabletop, "VIEWS", {"validation": COUNT})
        return read_tabletop(folder, "validation", workers=1)


def test_each_view_is_a_dialogue_about_its_objects(folder: Path, samples: list[Sample]) -> None:
    views = ViewCache(folder / f"validation_first_{COUNT}", COUNT)
    assert [sample.name for sample in samples] == [f"view {index:04d}" for index in range(COUNT)]
    for index, sample in enumerate(samples):
        assert sample.dialogue and len(sample.rounds) == tabletop.TURNS and callable(sample.image)
        assert np.array_equal(sample.image(), views[index].rgb)
        for asked in sample.rounds:
            truth = asked.truth()
            assert truth.shape == (240, 320) and truth.dtype == np.uint8
            assert truth.any() == (asked.group != "absent")
            assert not truth[views[index].instances == 0].any()


def test_the_same_split_is_the_same_questions(
    folder: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tabletop, "VIEWS", {"validation": COUNT})
    again = read_tabletop(folder, "validation")
    assert [one.text for sample in again for one in sample.rounds] == [o.text for s in samples for o in s.rounds]
    other = read_tabletop(folder, "validation-held-out")
    assert [one.text for sample in other for one in sample.rounds] != [o.text for s in samples for o in s.rounds]


def test_a_limit_renders_no_more(tmp_path: Path, samples: list[Sample]) -> None:
    few = read_tabletop(tmp_path, "validation", 2, workers=1)
    assert [one.text for sample in few for one in sample.rounds] == [o.text for s in samples[:2] for o in s.rounds]
    assert np.array_equal(few[1].image(), samples[1].image())  # type: ignore[operator]
    (shard,) = tmp_path.rglob("shard_*.npz")
    with np.load(shard) as rendered:
        assert len(rendered["rgb"]) == 2


def test_a_split_of_two_tables_has_the_views_of_both_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = (Table("validation", OWN_TABLE, 2, 2), Table("calibration", CALIBRATION, 2, 2))
    monkeypatch.setitem(tabletop.TABLES, "calibration", tables)
    samples = read_tabletop(tmp_path, "calibration", workers=1)
    assert [sample.name for sample in samples] == [f"view {index:04d}" for index in range(4)]
    plain, randomized = ViewCache(tmp_path / "validation", 2), ViewCache(tmp_path / "calibration", 2)
    for sample, view in zip(samples, (*plain, *randomized), strict=True):
        assert callable(sample.image) and np.array_equal(sample.image(), view.rgb)
    assert len(read_tabletop(tmp_path, "calibration", limit=3)) == 3


def test_an_unknown_split_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'val'; there are test, validation, train, test-held-out"):
        read_tabletop(tmp_path, "val")


def view() -> View:
    instances = np.zeros((4, 6), dtype=np.uint8)
    instances[:2], instances[2:, 3:] = 1, 2
    pixels = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6), np.float32)
    return View(*pixels, instances, (SEEN, UNSEEN), Camera(6, 4, np.eye(3), np.eye(4)))


def asked(family: str, *instances: int, **more: object) -> Question:
    return Question(family, "?", "It is [SEG].", instances, **more)  # type: ignore[arg-type]


def test_tags_name_what_training_never_showed() -> None:
    assert ("duck", "white") in RESERVED_PAIRS and ("mug", "red") not in RESERVED_PAIRS
    anchor = next(kind for kind in ("ball", "cube", "mug", "can", "ring", "duck", "book") if is_reserved("mug", kind))
    rounds = sample_of(
        view(),
        "one",
        [
            asked("direct", 1),
            asked("explain", 2),
            asked("relation", 1, related_to=anchor),
            asked("follow", 1, follows=True),
            asked("several", 1, 2),
        ],
    ).rounds
    assert [one.tags for one in rounds] == [
        (),
        ("reserved pair of kind and colour",),
        ("reserved pair of related kinds",),
        ("follow at turn 4",),
        (),
    ]
    assert [one.must_say for one in rounds] == ["red mug", "white duck", "red mug", "red mug", None]
    assert rounds[4].truth().sum() == 18


def test_a_follow_up_without_an_object_counts_as_absent() -> None:
    (only,) = sample_of(view(), "one", [asked("follow", follows=True)]).rounds
    assert only.group == "absent" and not only.truth().any() and only.tags == ()
