# SPDX-License-Identifier: Apache-2.0
"""A bag of five minutes: faster than real time, and memory that does not grow with its length."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from recorded_bags import DEPTH, IMAGE, INFO, write_bag

MEASURED = """
import resource, sys
from lisa_ros.cli.main import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")
sys.exit(code)
"""


def run(source: Path, output: Path, seconds: int, commands: int) -> tuple[float, int]:
    """Seconds for the bag without loading the model, and the peak of memory in MiB."""
    asked = [f"--command={(i + 0.5) * seconds / commands}s ann: the blue bottle" for i in range(commands)]
    topics = ["--image", IMAGE, "--depth", DEPTH, "--camera-info", INFO]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "bag", str(source), str(output), *topics, *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    took = re.search(r"s of recording in ([\d.]+) s", done.stdout)
    peak = re.search(r"peak (\d+) MiB", done.stdout)
    assert took is not None and peak is not None
    return float(took[1]), int(peak[1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_five_minutes_take_less_than_five_minutes_and_no_more_memory_than_one(tmp_path: Path, storage: str) -> None:
    short = write_bag(tmp_path / "short", images=600, storage=storage)
    _, short_mib = run(short, tmp_path / "short_out", 59, 20)
    long = write_bag(tmp_path / "long", images=3000, storage=storage)  # 4.6 GB
    took_s, long_mib = run(long, tmp_path / "long_out", 299, 20)
    assert took_s < 300
    assert long_mib < 1.1 * short_mib + 50
