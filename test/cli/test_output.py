# SPDX-License-Identifier: Apache-2.0
"""`lisa` where its output has no room or nobody reads it. A limit on the size of files stands for a full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from paths import ROOT
from reason_folder import make_folder
from tiny_datasets import reason, write_reason_seg

from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import sentence_of

IMAGE = ROOT / "examples" / "table.png"
ENDING = """
import atexit, signal, sys
from lisa_ros.cli import main

def interrupted(*_):
    raise KeyboardInterrupt

main.find_folder = interrupted
atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv = ["lisa", "check", "--checkpoint", "folder"]
sys.exit(main.main())
"""


def lisa(*arguments: object, shell: str) -> subprocess.CompletedProcess[str]:
    """Runs `lisa` in a shell that sets limits and redirects streams: "$@" is the command."""
    command = [sys.executable, "-m", "lisa_ros.cli.main", *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", shell, "_", *command], text=True, capture_output=True, check=False, timeout=250
    )


@pytest.mark.model
def test_a_file_without_room_is_named_and_nothing_is_left_that_looks_complete(tmp_path: Path) -> None:
    output = tmp_path / "out"
    asked = ["segment", "--image", IMAGE, "--text", "the blue bottle", "--output", output, "--device", "cpu"]
    ran = lisa(*asked, shell='ulimit -f 8; "$@"')  # 8 KiB: enough for the mask, not for the overlay
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1] == f"lisa segment: {output}/turn1_overlay.png cannot be written: File too large"
    assert [file.name for file in output.iterdir()] == ["turn1_mask1.png"]
    assert cv2.imread(str(output / "turn1_mask1.png")) is not None


@pytest.mark.model
def test_an_evaluation_without_room_names_its_file_and_resumes(tmp_path: Path) -> None:
    texts = {f"{i}": reason("the red cube", is_sentence=False) for i in range(6)}
    write_reason_seg(tmp_path / "data" / "val", texts)
    output = tmp_path / "out"
    asked = ["evaluate", "--dataset", "reason_seg", "--data", tmp_path / "data", "--output", output, "--device", "cpu"]
    ran = lisa(*asked, "--protocol", "generate", shell='ulimit -f 1; "$@"')  # 1 KiB: some items
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1] == f"lisa evaluate: {output}/items.jsonl cannot be written: File too large"
    assert not (output / "results.json").exists()
    assert lisa(*asked, "--protocol", "generate", shell='"$@"').returncode == 0
    assert len((output / "items.jsonl").read_text().splitlines()) == len(texts)


@pytest.mark.model
@pytest.mark.parametrize(("kib", "file"), [(20, "out.work/finetune.pt"), (9000, "out.part/part-0")])
def test_a_training_without_room_names_its_file(tmp_path: Path, kib: int, file: str) -> None:
    data = make_folder(tmp_path / "data", 2)
    asked = ["finetune", "--checkpoint", embedded_checkpoint(), "--data", data, "--output", tmp_path / "out"]
    options = ["--replay", "none", "--check", "none", "--steps", "1", "--batch", "1", "--device", "cpu"]
    options += ["--freeze", "embed_tokens", "lm_head", "text_hidden_fcs", "mask_decoder"]  # LoRA alone is small
    ran = lisa(*asked, *options, shell=f'ulimit -f {kib}; "$@"')
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert f"lisa finetune: {tmp_path / file} cannot be written: " in ran.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("out.work/*.part"))


@pytest.mark.model
def test_closed_streams_end_no_command() -> None:
    ran = lisa("chat", "--image", IMAGE, "--device", "cpu", shell='exec "$@" <&- >&-')
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)


def test_the_systems_errors_are_sentences() -> None:
    assert sentence_of(OSError(28, "No space left on device")) == "No space left on device"
    assert sentence_of(OSError(30, "Read-only file system", "/map/x")) == "/map/x: Read-only file system"
    assert sentence_of(OSError("/map/x cannot be written")) == "/map/x cannot be written"


def test_a_second_interrupt_while_the_process_ends_prints_nothing_more() -> None:
    """torch's clean-up takes seconds on a busy machine; it ended with a traceback."""
    ran = subprocess.run([sys.executable, "-c", ENDING], text=True, capture_output=True, check=False, timeout=60)
    assert ran.stderr == "lisa check: interrupted\n"
    assert ran.returncode == -signal.SIGINT, "a shell reports 130"
