# SPDX-License-Identifier: Apache-2.0
"""The German examples that `lisa finetune` is proven with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.shapes import paint, parse_shapes
from lisa_ros.segmentation.files.image_files import read_image
from lisa_ros.simulation.scene import KINDS, Camera, SceneObject, View
from lisa_ros.training.language.german_examples import (
    NOUNS,
    examples,
    main,
    noun_phrases,
    shapes,
    write_examples,
    write_old,
)


def view(items: dict[int, tuple[str, str]]) -> View:
    """An image with a square of 20 x 20 pixels for each object."""
    instances = np.zeros((60, 120), dtype=np.uint8)
    for i, number in enumerate(items):
        instances[10:30, 5 + 25 * i : 25 + 25 * i] = number
    rgb = np.repeat(instances[:, :, None] * 40, 3, axis=2).astype(np.uint8)
    objects = tuple(SceneObject(n, kind, colour, (0.1,) * 3, (0.0,) * 3) for n, (kind, colour) in items.items())
    camera = Camera(120, 60, np.eye(3), np.eye(4))
    return View(rgb, np.full((60, 120), np.inf, dtype=np.float32), instances, objects, camera)


def test_every_kind_has_words_of_its_own() -> None:
    assert set(NOUNS) == set(KINDS)
    assert len({phrase for kind in KINDS for phrase in noun_phrases(kind)}) == 2 * len(KINDS)


@pytest.mark.parametrize(
    ("kind", "definite", "indefinite"),
    [
        ("mug", "die Tasse", "eine Tasse"),
        ("ball", "der Ball", "ein Ball"),
        ("book", "das Buch", "ein Buch"),
        ("teddy bear", "der Teddybär", "ein Teddybär"),
    ],
)
def test_articles(kind: str, definite: str, indefinite: str) -> None:
    assert noun_phrases(kind) == (definite, indefinite)


def test_what_is_meant_is_alone_and_what_was_seldom_asked_comes_first() -> None:
    twins = view({1: ("mug", "red"), 2: ("mug", "red"), 3: ("duck", "blue")})
    both = view({1: ("duck", "blue"), 2: ("ball", "green")})
    found = examples([twins, view({1: ("cube", "red"), 2: ("cube", "red")}), both, both], 3)
    assert [(one.item.kind, one.item.colour) for one in found] == [
        ("duck", "blue"),
        ("ball", "green"),
        ("duck", "blue"),
    ]
    assert len(examples([both] * 5, 2)) == 2


def painted(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return paint(parse_shapes(shapes(mask)), mask.shape)


def test_shapes_are_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((40, 50)) < 0.3
        assert np.array_equal(painted(mask) == 1, mask), "holes and single pixels, too"
    assert shapes(np.zeros((4, 4), dtype=np.bool_)) == []


def test_the_folder_is_one_that_is_read(tmp_path: Path) -> None:
    found = examples([view({1: ("teddy bear", "green"), 2: ("bowl", "white")})] * 2, 2)
    write_examples(found, tmp_path / "train")
    samples = read_reason_seg(tmp_path / "train")
    assert [sample.rounds[0].text for sample in samples] == ["der Teddybär", "die Schüssel"]
    assert [len(sample.rounds) for sample in samples] == [2, 2]
    for sample, example in zip(samples, found, strict=True):
        assert isinstance(sample.image, Path)
        assert np.array_equal(read_image(sample.image), example.view.rgb)
        assert np.array_equal(sample.rounds[0].truth() == 1, example.view.instances == example.item.instance)
    with pytest.raises(FileExistsError):
        write_examples(found, tmp_path / "train")


def test_old_examples_are_asked_in_english(tmp_path: Path) -> None:
    views = [view({1: ("teddy bear", "green"), 2: ("bowl", "white")})] * 30
    assert write_old(views, tmp_path / "old", seed=3) == 30
    samples = read_reason_seg(tmp_path / "old")
    assert all(sample.dialogue and sample.problem is None for sample in samples)
    assert {len(sample.rounds) for sample in samples} == {1, 2, 3, 4}
    rounds = [one for sample in samples for one in sample.rounds]
    denied = [one for one in rounds if not (one.truth() == 1).any()]
    assert 0 < len(denied) < len(rounds) / 2
    assert all(("[SEG]" in (one.answer or "")) == (one not in denied) for one in rounds)


def test_a_negative_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--old", "-1"])
    assert "--old is a number of 0 or more" in capsys.readouterr().err
