# SPDX-License-Identifier: Apache-2.0
"""PyBullet is imported without a line on the terminal."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("closed", ["", "import os; os.close(2); "])
def test_importing_the_simulation_prints_nothing(closed: str) -> None:
    script = f"{closed}import lisa_ros.simulation.tabletop; print('imported')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")
