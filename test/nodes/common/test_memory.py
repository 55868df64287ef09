# SPDX-License-Identifier: Apache-2.0
"""Memory that was freed between blocks in use goes back to the system."""

import ctypes
import os
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


_ARENAS = """
import ctypes, sys, tempfile, threading
from lisa_ros.nodes.common.memory import use_one_arena

assert use_one_arena() is (sys.argv[1] == "expected")
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.fopen.restype = ctypes.c_void_p
c.malloc_info.argtypes, c.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
together = threading.Barrier(4)

def allocate():
    together.wait()
    for _ in range(1000):
        c.malloc(5000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
with tempfile.NamedTemporaryFile() as file:
    stream = c.fopen(file.name.encode(), b"w")
    c.malloc_info(0, stream)
    c.fclose(stream)
    print(file.read().decode().count("<heap nr="))
"""


@pytest.mark.parametrize(("chosen", "arenas"), [(None, 1), ("4", 4)])
def test_threads_share_one_arena_unless_the_environment_says_otherwise(chosen: str | None, arenas: int) -> None:
    """Four threads that allocate at the same time use one arena, or as many as MALLOC_ARENA_MAX says."""
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this C library has no malloc_info")
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": chosen} if chosen else {}
    script = [sys.executable, "-c", _ARENAS, "refused" if chosen else "expected"]
    found = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    assert int(found.stdout) == arenas


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mallopt and malloc_trim nothing is done."""
    monkeypatch.setattr(memory, "_c_function", lambda *_: None)
    assert not memory.use_one_arena()
    assert not memory.give_back_freed_memory()
