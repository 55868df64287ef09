# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` interrupted and resumed, and outputs that it refuses."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conversion import EMBEDDED, SHARD_BYTES, assert_same_network, contents, converted, load

from lisa_ros.cli.main import main
from lisa_ros.models.common.checkpoints.configuration import UNFINISHED
from lisa_ros.models.common.conversion import plan as converted_files
from lisa_ros.models.common.conversion import work, writing
from lisa_ros.models.common.conversion.unfinished import claimed
from lisa_ros.models.common.weights import aligned_files
from lisa_ros.models.common.weights.quantized_weights import quantize_weight
from lisa_ros.models.lisa import CheckpointError
from lisa_ros.segmentation.errors import LisaError

KILLED = """
import os, signal, sys
import shutil
from pathlib import Path
from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.converting import convert
from lisa_ros.models.common.weights import aligned_files
source, output, shard_bytes, puts = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
put, count = aligned_files.PlannedFile.put, 0
def dying(*arguments):
    global count
    count += 1
    if count > puts:
        os.kill(os.getpid(), signal.SIGKILL)
    put(*arguments)
aligned_files.PlannedFile.put = dying
convert(Conversion(source, output, "8bit", device="cpu", shard_bytes=shard_bytes))
"""


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C after so many weights are quantized."""
    left = [count]

    def quantize(*arguments: Any) -> dict[str, torch.Tensor]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return quantize_weight(*arguments)

    monkeypatch.setattr(converted_files, "quantize_weight", quantize)


def command(source: Path, output: Path, *more: str) -> list[str]:
    return ["convert", "--quantization", "8bit", "--device", "cpu", str(source), str(output), *more]


def test_ctrl_c_and_resume(
    eight_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SHARD_BYTES", SHARD_BYTES)
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 30)
        assert main(command(EMBEDDED, output)) == 130
    assert "resumes here" in capsys.readouterr().err
    before = {file.name: file.stat().st_mtime_ns for file in output.glob("*.safetensors")}
    assert 1 < len(before) < len(list(eight_bit.glob("*.safetensors")))
    assert not list(output.rglob("*.part"))
    with pytest.raises(CheckpointError, match="is incomplete"):
        load(output)
    quantized = []
    monkeypatch.setattr(converted_files, "quantize_weight", lambda *a: quantized.append(1) or quantize_weight(*a))
    assert main(command(EMBEDDED, output)) == 0
    assert "is ready" in capsys.readouterr().out
    assert 0 < len(quantized) < 7 * 6
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before
    assert contents(output) == contents(eight_bit)


def test_kill_and_resume(eight_bit: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = [str(EMBEDDED), str(output), str(SHARD_BYTES), "60"]
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, stderr=subprocess.DEVNULL)
    assert died.returncode == -signal.SIGKILL
    assert list(output.glob("*.safetensors")) and list(output.glob("*.part"))
    converted(EMBEDDED, output, shard_bytes=SHARD_BYTES)
    assert contents(output) == contents(eight_bit)


@pytest.fixture
def unfinished(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            converted(source, tmp_path / "unfinished", shard_bytes=SHARD_BYTES)
    return tmp_path / "unfinished"


def test_another_conversion_does_not_resume(source: Path, unfinished: Path) -> None:
    before = contents(unfinished)
    with pytest.raises(LisaError, match="quantization was '8bit', now '4bit'"):
        converted(source, unfinished, "4bit", shard_bytes=SHARD_BYTES)
    (source / "config.json").write_text((source / "config.json").read_text() + "\n")
    (source / "clip" / "model.safetensors").touch()
    with pytest.raises(LisaError, match=r"in source config\.json differ; in clip model\.safetensors differ"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)
    assert contents(unfinished) == before


def test_other_files_stay(source: Path, unfinished: Path) -> None:
    last = max(unfinished.glob("model-*.safetensors"))
    last.write_bytes(b"mine")
    with pytest.raises(LisaError, match="is not what an interrupted conversion leaves"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)
    assert last.read_bytes() == b"mine"


@pytest.mark.parametrize("state", [b"{", b"[]"])
def test_a_damaged_state(source: Path, unfinished: Path, state: bytes) -> None:
    (unfinished / UNFINISHED).write_bytes(state)
    with pytest.raises(LisaError, match="is damaged; delete"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)


def test_two_processes_at_once(tmp_path: Path) -> None:
    with claimed(tmp_path / "out", {"anything": 1}), pytest.raises(LisaError, match="another process is writing"):
        converted(EMBEDDED, tmp_path / "out")


def test_a_finished_conversion_is_found_and_another_one_is_not_overwritten(
    eight_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SHARD_BYTES", SHARD_BYTES)
    before = contents(eight_bit)
    assert main(command(EMBEDDED, eight_bit)) == 0, "a script that runs twice goes on"
    assert "holds this conversion already; nothing was changed" in capsys.readouterr().out
    assert main(["convert", "--quantization", "none", str(EMBEDDED), str(eight_bit)]) == 2
    error = capsys.readouterr().err
    assert "of another source or with other options; nothing was changed" in error and error.count("\n") == 1
    assert contents(eight_bit) == before


def test_nothing_else_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for output in (tmp_path / "full", EMBEDDED):
        assert main(command(EMBEDDED, output)) == 2
        assert "exists and is not empty" in capsys.readouterr().err
    assert main(command(EMBEDDED, tmp_path / "full" / "notes")) == 2
    error = capsys.readouterr().err
    assert "is a file" in error and error.count("\n") == 1
    assert contents(tmp_path / "full") == {"notes": b"mine"}


def test_a_folder_in_the_source_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights in it count as the source's: its scores would no longer be calibrated, its manifest would not fit."""
    shutil.copytree(EMBEDDED, tmp_path / "source")
    assert main(command(tmp_path / "source", tmp_path / "source" / "4bit")) == 2
    assert "is in the source" in capsys.readouterr().err
    assert contents(tmp_path / "source") == contents(EMBEDDED)


def test_an_empty_output_folder_is_accepted(tmp_path: Path) -> None:
    converted(EMBEDDED, tmp_path, "none")
    assert_same_network(load(tmp_path), load(EMBEDDED))


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    with pytest.raises(LisaError, match=r"needs 0\.02 GB, but its disk has 0\.00 GB free"):
        converted(EMBEDDED, tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_becomes_full(
    eight_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SHARD_BYTES", SHARD_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(aligned_files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert main(command(EMBEDDED, tmp_path / "out")) == 2
    assert "full; correct this and repeat the command, it resumes" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]
    assert main(command(EMBEDDED, tmp_path / "out")) == 0
    assert contents(tmp_path / "out") == contents(eight_bit)
