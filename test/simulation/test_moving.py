# SPDX-License-Identifier: Apache-2.0
"""The simulated table seen by a moving camera, and what is measured on it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.benchmark import depth as depth_benchmark
from lisa_ros.benchmark import tracking as tracking_benchmark
from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.simulation import moving
from lisa_ros.simulation.depth_camera import Kind, spoiled
from lisa_ros.simulation.moving import MovingFrame, moving_frames, read_sequence, write_sequence
from lisa_ros.simulation.tabletop import Tabletop

SMALL = {"width": 160, "height": 120}


def test_the_same_seed_gives_the_same_frames_and_they_move() -> None:
    one, other = (list(moving_frames("sway", 1, frames=3, **SMALL)) for _ in "ab")
    for a, b in zip(one, other, strict=True):
        assert (a.rgb == b.rgb).all() and (a.target == b.target).all()
        assert a.rgb.shape == (120, 160, 3) and a.target.any()
    assert all((a.target != b.target).any() for a, b in pairwise(one))


def test_an_unknown_motion_is_named() -> None:
    with pytest.raises(ValueError, match="'fly'"):
        next(moving_frames("fly", 0))


def test_a_thing_is_carried_and_seen_from_elsewhere() -> None:
    with Tabletop(2, **SMALL) as table:
        before = table.render()
        item = max(before.objects, key=lambda o: np.count_nonzero(before.instances == o.instance))
        x, y, z = item.position_m
        table.carry(item.instance, (x, y, z + 0.05))
        after = table.render()
        (raised,) = (o for o in after.objects if o.instance == item.instance)
        assert raised.position_m == pytest.approx((x, y, z + 0.05), abs=1e-6)
        assert raised.extent_m == pytest.approx(item.extent_m, abs=1e-6)
        with pytest.raises(ValueError, match="instance 99"):
            table.carry(99, (0.0, 0.0, 0.0))
        away = table.camera.pose.copy()
        away[:3, 3] -= 2.0 * away[:3, 2]
        table.set_camera(type(table.camera)(160, 120, table.camera.k, away))
        far = table.render(least_visible=0.0)
        boxes = [bounding_box(view.instances == item.instance) for view in (after, far)]
        assert boxes[1][2] < 0.5 * boxes[0][2]
        assert len(far.objects) >= len(table.render().objects)


def test_a_sequence_is_written_and_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [MovingFrame(rng.integers(0, 256, (8, 9, 3)).astype(np.uint8), rng.random((8, 9)) < 0.5) for _ in "abc"]
    write_sequence(tmp_path / "a.npz", frames)
    for wrote, read in zip(frames, read_sequence(tmp_path / "a.npz"), strict=True):
        assert (wrote.rgb == read.rgb).all() and (wrote.target == read.target).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_sequences_that_are_there_are_not_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def frames(motion: str, seed: int) -> list[MovingFrame]:
        made.append(f"{motion}-{seed}")
        return [MovingFrame(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool))]

    monkeypatch.setattr(moving, "moving_frames", frames)
    arguments = [str(tmp_path), "--motions", "orbit", "pan", "--seeds", "4"]
    assert moving.main(arguments) == 0 and moving.main(arguments) == 0
    assert made == ["orbit-4", "pan-4"]


def test_the_tracking_benchmark_tells_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = list(moving_frames("orbit", 3, frames=4, width=320, height=240))
    gone = MovingFrame(np.roll(frames[-1].rgb[::-1], 91, axis=1), np.zeros_like(frames[0].target))
    write_sequence(tmp_path / "orbit-3.npz", [*frames, *[gone] * 6])
    assert tracking_benchmark.main([str(tmp_path), "--starts", "exact", "--json", str(tmp_path / "told.json")]) == 0
    (told,) = json.loads((tmp_path / "told.json").read_text())
    assert told["iou"] > 0.9 and told["gone_after"] == 4 and 4 <= told["lost_after"] <= 9
    assert told["frame_ms"] > 0
    assert "| orbit-3 | exact |" in capsys.readouterr().out


def test_no_sequences_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tracking_benchmark.main([str(tmp_path)])
    assert "lisa_ros.simulation.moving" in capsys.readouterr().err


def test_a_poor_depth_camera_is_as_poor_as_it_is_said_to_be() -> None:
    true = np.full((200, 200), 0.8, np.float32)
    true[:, 100:] = 1.5
    seen = spoiled(true, Kind(0.001, 0.0, 0.3, True), np.random.default_rng(0))
    assert np.isnan(seen).mean() == pytest.approx(0.28, abs=0.03)  # holes of both kinds overlap
    assert np.nanstd((seen - true)[:, :90]) == pytest.approx(0.001, rel=0.05)
    flying = np.abs(seen - true)[:, 98:102] > 0.02
    assert flying.any() and not (np.abs(seen - true)[:, :98] > 0.02).any()
    clean = spoiled(true, Kind(0.0, 0.0, 0.0, False), np.random.default_rng(0))
    assert (clean == true).all()


def test_the_depth_benchmark_locates_what_the_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert depth_benchmark.main(["--scenes", "1", "--seed", "3", "--json", str(tmp_path / "told.json")]) == 0
    told = json.loads((tmp_path / "told.json").read_text())
    assert len(told) == 9
    for case, errors in told.items():
        assert all(error["located"] for error in errors), case
        assert np.median([error["point_mm"] for error in errors]) < 10.0, case
        assert min(error["on_object"] for error in errors) > 0.95, case
    assert "30 % holes, wider" in capsys.readouterr().out
