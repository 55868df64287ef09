# SPDX-License-Identifier: Apache-2.0
"""A synthetic voice -> `speech` -> lisa_node with the embedded model and a simulated camera -> mask; each a process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ros_harness import private_environment

from lisa_ros.benchmark.speech.sounds import VOICES

pytestmark = pytest.mark.skipif(
    not (shutil.which("text2wave") and shutil.which("flite")), reason="festival and flite are not installed"
)
_SHARE = "IoU >= 0.95"


def measured(folder: Path, *arguments: str) -> dict[str, Any]:
    """What `python -m lisa_ros.benchmark.speech` writes of its part end_to_end."""
    command = [sys.executable, "-m", "lisa_ros.benchmark.speech", "--parts", "end_to_end", "--output", str(folder)]
    subprocess.run([*command, *arguments], env=private_environment(), check=True)
    report: dict[str, Any] = json.loads((folder / "speech.json").read_text())["end_to_end"]
    return report


def test_spoken_commands_get_the_mask_of_typed_ones(tmp_path: Path) -> None:
    report = measured(tmp_path, "--tables", "1", "--commands", "2")
    for voice in ("slt", "rms"):
        for condition in ("clean", "noise"):
            rows = report["rows"][f"{voice} {condition}"]
            assert len(rows) == 2
            assert all(row["heard"] for row in rows)
            # Of two commands in noise one may be misheard; the bars are those of the 24 below.
            assert report[f"{voice} {condition}"][_SHARE] >= {"clean": 1.0, "noise": 0.5}[condition], rows


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_24_commands_meet_the_bars(tmp_path: Path) -> None:
    report = measured(tmp_path)
    assert set(report["rows"]) == {f"{voice} {kind}" for voice in VOICES[:2] for kind in ("clean", "noise")}
    for kind, bar in (("clean", 0.85), ("noise", 0.70)):
        shares = [report[f"{voice} {kind}"] for voice in VOICES[:2]]
        assert sum(share["commands"] for share in shares) == 48
        assert sum(share[_SHARE] for share in shares) / 2 >= bar
