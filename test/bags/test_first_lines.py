# SPDX-License-Identifier: Apache-2.0
"""What `lisa bag` checks and prints before much of the bag is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_bags import DEPTH, IMAGE, INFO, write_bag
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.bags.commands import BagCommand
from lisa_ros.bags.frames import Topics
from lisa_ros.bags.run import BagJob, Progress, run_bag
from lisa_ros.cli import bag
from lisa_ros.segmentation.files.output_folders import OutputError

TOPICS = Topics(IMAGE, DEPTH, INFO)


def _not_loaded() -> Any:
    raise AssertionError("the model was loaded")


def test_no_time_is_estimated_before_anything_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lisa_ros.bags.run._ESTIMATED_FROM", 0.1)  # 0.01 of a bag of two seconds is one image
    seen: list[Progress] = []
    commands = (BagCommand(0.0, "a", "two"), BagCommand(1.0, "a", "two"))
    run_bag(
        BagJob(write_bag(tmp_path / "in"), tmp_path / "out", TOPICS, commands), lambda: ScriptedSegmenter(), seen.append
    )
    first, second = [one for one in seen if one.answer]
    assert first.done < 0.1 and first.left_s is None
    assert second.left_s is not None and second.left_s >= 0
    bag._show(first)
    bag._show(second)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("  5 % | 0 s a: two -> ")
    assert " s left | 1 s a: two -> " in lines[1]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_folder_of_somebody_else_is_not_deleted(tmp_path: Path, kind: str) -> None:
    source, part = write_bag(tmp_path / "in", images=4), tmp_path / "out.part"
    if kind == "file":
        part.write_text("mine")
    elif kind == "link":
        (tmp_path / "mine").mkdir()
        part.symlink_to(tmp_path / "mine")
    else:
        part.mkdir()
        (part / "mine").touch()
    before = sorted(tmp_path.rglob("*"))
    job = BagJob(source, tmp_path / "out", TOPICS, (BagCommand(0.1, "a", "two"),))
    with pytest.raises(OutputError, match=r"out\.part, which is needed for a moment, is something else"):
        run_bag(job, _not_loaded, lambda _: None)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_run_left_is_deleted(tmp_path: Path) -> None:
    source, left = write_bag(tmp_path / "in", images=4), tmp_path / "out.part" / "out"
    left.mkdir(parents=True)
    (left / "out.mcap").touch()
    job = BagJob(source, tmp_path / "out", TOPICS, (BagCommand(0.1, "a", "two"),))
    run_bag(job, lambda: ScriptedSegmenter(), lambda _: None)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "out"]
