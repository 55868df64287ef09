# SPDX-License-Identifier: Apache-2.0
"""`lisa bag` on a full disk, for which a limit on the size of files stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from recorded_bags import IMAGE, write_bag


def lisa_bag(kib: int, source: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`lisa bag` with one command, where no file may have more than so many KiB."""
    asked = [str(source), str(output), "--command", "0.15s a: the blue bottle", "--device", "cpu", *options]
    command = [sys.executable, "-m", "lisa_ros.cli.main", "bag", *asked]
    return subprocess.run(
        ["bash", "-c", f'ulimit -f {kib}; "$@"', "_", *command],
        text=True,
        capture_output=True,
        check=False,
        timeout=250,
    )


@pytest.mark.model
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_without_room_is_named_and_the_same_command_goes_on(tmp_path: Path, storage: str) -> None:
    source, output = write_bag(tmp_path / "in", images=4), tmp_path / "out"
    options = ["--image", IMAGE, "--storage", storage, "--video", str(tmp_path / "v.mp4")]
    ran = lisa_bag(200, source, output, *options)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    sentence = ran.stderr.splitlines()[-1]
    assert sentence.startswith(f"lisa bag: {output} cannot be written: ") and sentence.endswith("it goes on")
    assert {file.name for file in tmp_path.iterdir()} == {"in", "out.part", "out.answers.jsonl"}
    assert lisa_bag(100_000, source, output, *options).returncode == 0
    assert {file.name for file in tmp_path.iterdir()} == {"in", "out", "v.mp4"}


FILMING = """
import sys, numpy as np, resource
from pathlib import Path
from lisa_ros.bags.video import Video
video = Video(Path(sys.argv[1]), 10.0)
video.show(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
video.finish()
"""


@pytest.mark.parametrize(("room", "code"), [(4096, 1), (10_000_000, 0)])
def test_a_video_without_room_is_no_success(tmp_path: Path, room: int, code: int) -> None:
    video = tmp_path / "v.mp4"
    command = [sys.executable, "-c", FILMING, str(video), str(room)]
    ran = subprocess.run(command, text=True, capture_output=True, check=False, timeout=250)
    assert ran.returncode == code
    assert (f"OSError: the video {video} cannot be written completely" in ran.stderr) == bool(code)
    assert [file.name for file in tmp_path.iterdir()] == ([] if code else ["v.mp4"])
