# SPDX-License-Identifier: Apache-2.0
"""ROS domains for one process of this machine, so that runs and checkouts never receive each other's messages."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, LAST = 1, 100
"""Above 100, DDS's ports meet those that Linux hands out to anybody."""


@contextmanager
def reserved_domain(purpose: str) -> Iterator[int]:
    """A domain id, 1 to 100, that no other caller on this machine has until the block or its process ends.

    Args:
        purpose: Decides which id is tried first, so that a run mostly has the same one again.

    Raises:
        RuntimeError: All ids are taken.
    """
    count = LAST - FIRST + 1
    start = zlib.crc32(purpose.encode())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        for number in (FIRST + (start + i) % count for i in range(count)):
            if _bound(lock, number):
                yield number
                return
    raise RuntimeError(f"all ROS domains from {FIRST} to {LAST} are in use on this machine; end other runs first")


def _bound(lock: socket.socket, number: int) -> bool:
    """Takes a name that exists once in a network namespace, as DDS's ports do, and is free when the process ends."""
    try:
        lock.bind(f"\0lisa_ros domain {number}")
    except OSError:
        return False
    return True
