# SPDX-License-Identifier: Apache-2.0
"""The short form of `make soak`, and that its bars can be missed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from usage import Sample, trend


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.timeout(600)
def test_two_minutes_of_everything_together(tmp_path: Path) -> None:
    script = Path(__file__).with_name("soak.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(script), "--minutes", "2", "--output", str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr[-3000:]}"
    assert {file.name for file in tmp_path.iterdir()} == {"soak.json", "soak.svg"}


def samples(growth_mib: float, files: int) -> list[Sample]:
    return [Sample(minute, 700 + growth_mib * minute, 25 + files * minute // 10, 30) for minute in range(30)]


def test_a_process_that_grows_has_a_slope() -> None:
    flat, growing = trend(samples(0.0, 0), 5), trend(samples(1.0, 3), 5)
    assert (flat.memory_change, flat.memory_mib_per_hour, flat.files_per_hour) == pytest.approx((0, 0, 0), abs=1e-6)
    assert growing.memory_change > 0.02 and growing.memory_mib_per_hour == pytest.approx(60)
    assert growing.files == (26, 33) and growing.files_per_hour > 10
