# SPDX-License-Identifier: Apache-2.0
"""Memory of freed messages is reused."""

import subprocess
import sys

_FAULTS = """
import resource, sys
from lisa_ros.nodes.common.memory import keep_freed_memory
if "keep" in sys.argv:
    assert keep_freed_memory()
def once():
    return [bytes(bytearray(3_000_000)) for _ in range(3)]  # as many copies as an image has on its way
once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    run = subprocess.run([sys.executable, "-c", _FAULTS, *arguments], capture_output=True, text=True, check=True)
    return int(run.stdout)


def test_freed_blocks_are_used_again() -> None:
    assert faults("keep") < 100 < faults()
