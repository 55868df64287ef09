# SPDX-License-Identifier: Apache-2.0
"""Keeps the memory of messages that were freed, so that each new image does not pay for new pages."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST_KEPT = 32 << 20
"""Bytes of one allocation: glibc accepts no larger threshold on 64-bit machines."""
_MOST_KEPT = 64 << 20
"""Bytes at the heap's end that are free and not given back to the system."""


def keep_freed_memory() -> bool:
    """Makes glibc's malloc reuse large blocks instead of giving each back to the system.

    A 720p image of 2.8 MB is allocated and freed several times on its way to a callback, and each time may cost 700
    page faults: three quarters of the processor time of a bare subscription at 30 images/s (docs/benchmarks.md). glibc
    adapts by itself only after a process has freed such a block often enough. mallopt(3) describes the two parameters.

    Returns:
        Whether it was set; False where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT))
