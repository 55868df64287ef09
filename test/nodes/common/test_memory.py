# SPDX-License-Identifier: Apache-2.0
"""Memory that was freed between blocks in use goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

from lisa_ros.nodes.common import memory

_FRAGMENTED = """
import ctypes
from pathlib import Path
from lisa_ros.nodes.common.memory import give_back_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
blocks = [malloc(100_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the arena's end
    free(block)
before_mb = resident_mb()
assert give_back_freed_memory()
print(before_mb - resident_mb())
"""


def test_free_memory_below_a_used_block_is_given_back() -> None:
    """Of 100 MB that were freed, most is given back."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    given_back_mb = subprocess.run([sys.executable, "-c", _FRAGMENTED], capture_output=True, text=True, check=True)
    assert float(given_back_mb.stdout) > 80


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without malloc_trim nothing is done."""
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    assert not memory.give_back_freed_memory()
