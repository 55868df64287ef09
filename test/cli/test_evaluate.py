# SPDX-License-Identifier: Apache-2.0
"""`lisa evaluate` with the embedded checkpoint, killed in the middle, and two runs compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_datasets import reason, write_reason_seg
from toy_checkpoints import sam2_checkpoint, sam3_checkpoint

from lisa_ros.cli.main import main

TEXTS = ("the red cube", "the blue cube", "the green duck", "something to drink from", "the red thing", "all cubes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reason_seg")
    write_reason_seg(folder / "val", {f"{i}": reason(text, is_sentence=False) for i, text in enumerate(TEXTS)})
    return folder


def evaluate(data: Path, output: Path, *options: str) -> list[str]:
    basis = ["evaluate", "--dataset", "reason_seg", "--data", str(data), "--output", str(output), "--device", "cpu"]
    return [*basis, *options]


def results(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "results.json").read_text())
    return found


def test_teacher_forced(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(evaluate(data, tmp_path, "--protocol", "teacher_forced", "--limit", "2")) == 0
    found = results(tmp_path)
    assert found["rows"][0]["items"] == 2 and all(item["masks"] == 1 for item in found["items"])
    assert (tmp_path / "report.html").stat().st_size > 1000
    printed = capsys.readouterr()
    assert "gIoU" in printed.out and f"{tmp_path}: results.json" in printed.out
    assert main([*evaluate(data, tmp_path), "--protocol", "generate"]) == 2
    assert "belongs to another run" in capsys.readouterr().err


def test_quantization(data: Path, tmp_path: Path) -> None:
    options = ["--protocol", "quantization", "--quantization", "8bit", "--phrasing", "plain", "--limit", "2"]
    assert main(evaluate(data, tmp_path, *options)) == 0
    (row,) = results(tmp_path)["rows"]
    assert row["row"] == "8bit" and row["items"] == 2 and row["giou"] > 0.5


def test_quantization_none_has_nothing_to_compare(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(evaluate(data, tmp_path, "--protocol", "quantization", "--quantization", "none")) == 2
    assert "compares 8bit and 4bit with the weights as they are; name one of the two" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--protocol", "generate", "--limit", "0"],
        ["--protocol", "generate", "--limit", "-3"],
        ["--protocol", "generate", "--limit", "ten"],
        ["--protocol", "generate", "--report-images", "-1"],
        ["--protocol", "guess"],
        [],
    ],
)
def test_invalid_options(data: Path, tmp_path: Path, options: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(evaluate(data, tmp_path, *options))
    assert stopped.value.code == 2


def test_killed_in_the_middle_at_most_one_item_is_lost(data: Path, tmp_path: Path) -> None:
    """SIGKILL, then SIGINT, then to the end; what was scored before stays as it was."""
    command = [sys.executable, "-m", "lisa_ros.cli", *evaluate(data, tmp_path, "--protocol", "generate")]
    log = tmp_path / "items.jsonl"
    stop(command, log, 2, signal.SIGKILL)
    before = log.read_bytes().splitlines()
    assert stop(command, log, len(before) + 1, signal.SIGINT) in (130, 0)  # it may have been quicker
    assert subprocess.run(command, timeout=250, check=False, env=environment()).returncode == 0
    after = log.read_bytes().splitlines()
    assert after[: len(before) - 1] == before[: len(before) - 1]
    assert len(after) == len(TEXTS), "nothing was scored twice"
    found = results(tmp_path)
    assert found["complete"] and found["rows"][0]["items"] == len(TEXTS)


def stop(command: list[str], log: Path, lines: int, how: signal.Signals) -> int:
    """Runs the command until the log has so many lines, and sends the signal."""
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") >= lines):
            time.sleep(0.005)
        process.send_signal(how)
        return process.wait(timeout=250)


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def test_names_answered_by_sam_3(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--segmenter auto`; the same folder with other weights is another run."""
    sam3 = sam3_checkpoint(tmp_path / "sam3")
    options = ["--protocol", "generate", "--phrasing", "plain", "--segmenter", "auto", "--names-checkpoint", str(sam3)]
    command = [*evaluate(data, tmp_path / "run", *options), "--limit", "4"]
    assert main(command) == 0
    found = results(tmp_path / "run")
    assert found["rows"][0]["items"] == 4 and found["names_checkpoint"] == "sam3"
    by_lisa = "tabletop (float32, none, cpu)"
    assert [item["model"] for item in found["items"]] == [*3 * ["sam3, float32 on cpu"], by_lisa], (
        "three names, and something to drink from"
    )
    sam3_checkpoint(sam3, seed=1)
    assert main(command) == 2
    assert "names_checkpoint_sha256 was" in capsys.readouterr().err


def test_masks_refined_by_sam_2(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--refine sam2`; the toy's masks are unlike the model's, and taken all the same."""
    monkeypatch.setattr("lisa_ros.models.combined.refined.LEAST_IOU", 0.0)
    sam2 = sam2_checkpoint(tmp_path / "sam2")
    refine = ["--refine", "sam2", "--refine-checkpoint", str(sam2)]
    masks = []
    for name, options in (("plain", []), ("refined", refine)):
        output = tmp_path / name
        assert main(evaluate(data, output, "--protocol", "generate", *options)) == 0
        masks.append([item["found_pixels"] for item in results(output)["items"]])
    assert masks[0] != masks[1]
    found = results(tmp_path / "refined")
    assert found["refine_checkpoint"] == "sam2" and len(found["refine_checkpoint_sha256"]) == 64
