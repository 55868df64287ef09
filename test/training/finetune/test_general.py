# SPDX-License-Identifier: Apache-2.0
"""General data sets beside one's own: replay, the check before and after, and the warning where it falls."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from reason_folder import make_folder
from tiny_datasets import reference, write_refer

from lisa_ros.cli.main import main
from lisa_ros.datasets.samples import DataError
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.training.finetune import general
from lisa_ros.training.finetune.general import Figures, GeneralSet, chosen, falls, is_embedded, read_check, read_replay
from lisa_ros.training.finetune.options import AUTO, NONE, General


def test_names_of_general_data_sets(tmp_path: Path) -> None:
    assert General.parse("tabletop") == General("tabletop")
    assert General.parse("tabletop:0.3") == General("tabletop", 0.3)
    assert General.parse("refcoco=/data:60") == General("refcoco=/data", 60.0)
    assert General.parse("/data/a:b") == General("/data/a:b"), "a colon in a path"
    assert chosen(AUTO, embedded_checkpoint()) == General("tabletop") and chosen(NONE, embedded_checkpoint()) is None
    (tmp_path / "tokenizer.model").write_bytes(b"another")
    assert chosen(AUTO, tmp_path) is None and not is_embedded(tmp_path)


def test_folders_and_published_data_sets(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "general", 5)
    found = read_replay(General(str(folder)), 3, seed=1)
    assert len(found.samples) == 3 and found.phrasing == "upstream"
    assert [one.name for one in read_replay(General(str(folder)), 3, seed=1).samples] == [o.name for o in found.samples]
    assert len(read_check(General(str(folder), 9), seed=1).samples) == 5
    references = [reference(1, 11, "the red one", split="train"), reference(2, 22, "blue", image=2)]
    refcoco = write_refer(tmp_path / "refcoco", references)
    assert [one.rounds[0].text for one in read_replay(General(f"refcoco={refcoco}"), 9, 1).samples] == ["the red one"]
    assert [one.rounds[0].text for one in read_check(General(f"refcoco={refcoco}"), 1).samples] == ["blue"]
    with pytest.raises(DataError, match="no data set 'coco'"):
        read_check(General("coco=/data"), seed=1)
    with pytest.raises(DataError, match=r"there is no folder /nowhere \(--check\)"):
        read_check(General("refcoco=/nowhere"), seed=1)
    with pytest.raises(DataError, match=r"name it with --replay"):
        read_replay(General("refcoco="), 9, seed=1)


def test_only_falls_of_more_than_5_points_are_warned_about() -> None:
    before: Figures = {"giou": 0.85, "refused_absent": 0.97, "said": 0.87, "questions": 240}
    after: Figures = {"giou": 0.81, "refused_absent": 0.46, "said": 0.87, "questions": 240}
    (sentence,) = falls(before, after, "tabletop")
    assert "absent refused fell from 97.0 to 46.0 points" in sentence and "tabletop" in sentence
    assert falls(before, before, "tabletop") == [] and falls({"giou": 1.0}, {"said": 0.1}, "x") == []


def test_replay_and_check_of_a_training(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With folders in place of the simulated table, which is slow to render; the fall is set by hand."""
    own, other = make_folder(tmp_path / "own", 2), make_folder(tmp_path / "other", 4)
    score_general = general.score_general

    def fallen(segmenter: object, found: GeneralSet, log: Path, title: str) -> Figures:
        figures = score_general(segmenter, found, log, title)  # type: ignore[arg-type]
        return {**figures, "giou": 0.9 if "before" in title else 0.3}

    monkeypatch.setattr("lisa_ros.training.finetune.before_after.score_general", fallen)
    arguments = ["finetune", "--checkpoint", str(embedded_checkpoint()), "--data", str(own), "--device", "cpu"]
    arguments += ["--steps", "2", "--batch", "2", "--accumulate", "1", "--output", str(tmp_path / "out")]
    arguments += ["--replay", f"{other}:0.5", "--check", f"{other}:2"]
    with caplog.at_level(logging.WARNING, logger="lisa_ros"):
        assert main(arguments) == 0
    said = capsys.readouterr()
    assert "replay: 50% of each batch from 2 images" in said.out
    assert f"before, on {other}: gIoU 0.900" in said.out and f"after, on {other}: gIoU 0.300" in said.out
    assert f"on {other}, gIoU fell from 90.0 to 30.0 points" in caplog.text and "a larger --replay share" in caplog.text
    result = json.loads((tmp_path / "out" / "finetuning.json").read_text())
    assert result["replay"] == {"dataset": str(other), "share": 0.5, "images": 2}
    assert result["check"]["images"] == 2 and result["check"]["before"]["questions"] == 4
    assert result["check"]["after"]["giou"] == 0.3 and len(result["warnings"]) == 1
    assert result["settings"]["replay"]["share"] == 0.5
