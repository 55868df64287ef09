# SPDX-License-Identifier: Apache-2.0
"""`lisa` where its output has no room or nobody reads it. A limit on the size of files stands for a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from paths import ROOT

from lisa_ros.segmentation.errors import sentence_of

IMAGE = ROOT / "examples" / "table.png"


def lisa(*arguments: object, shell: str) -> subprocess.CompletedProcess[str]:
    """Runs `lisa` in a shell that sets limits and redirects streams: "$@" is the command."""
    command = [sys.executable, "-m", "lisa_ros.cli.main", *map(str, arguments)]
    return subprocess.run(
        ["bash", "-c", shell, "_", *command], text=True, capture_output=True, check=False, timeout=120
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
def test_closed_streams_end_no_command() -> None:
    ran = lisa("chat", "--image", IMAGE, "--device", "cpu", shell='exec "$@" <&- >&-')
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)


def test_the_systems_errors_are_sentences() -> None:
    assert sentence_of(OSError(28, "No space left on device")) == "No space left on device"
    assert sentence_of(OSError(30, "Read-only file system", "/map/x")) == "/map/x: Read-only file system"
    assert sentence_of(OSError("/map/x cannot be written")) == "/map/x cannot be written"
