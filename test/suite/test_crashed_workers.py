# SPDX-License-Identifier: Apache-2.0
"""A test that crashes its worker is repeated once, and all others run."""

import subprocess
import sys
from pathlib import Path

import crashed_workers

MODULE = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_one(number):
    crashed = pathlib.Path(f"crashed-{{number}}")
    if {crashes} and number == 3 or {crashes} and number == 1 and not crashed.exists():
        crashed.touch()
        os.abort()
"""


def test_the_run_ends_and_repeats_what_crashed_once(tmp_path: Path) -> None:
    """It hung, and CI ended it after hours: the next worker waited for the tests of modules that were finished."""
    for number in range(12):
        (tmp_path / f"test_{number:02}.py").write_text(MODULE.format(crashes=number == 9))
    (tmp_path / "conftest.py").write_text("from crashed_workers import pytest_xdist_make_scheduler\n")
    (tmp_path / "crashed_workers.py").write_bytes(Path(crashed_workers.__file__).read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope", "--reruns", "1", "-rfER"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1, run.stdout
    assert "1 failed, 47 passed, 2 rerun" in run.stdout, run.stdout
    assert "FAILED test_09.py::test_one[3]" in run.stdout
    assert "PASSED test_09.py::test_one[1]" in run.stdout
