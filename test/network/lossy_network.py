# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces, and between them a cable that loses, delays and reorders IP packets.

For kernels without netem: each namespace has a TUN device, and a thread of this process carries the packets.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


@dataclass
class Cable:
    """What happens to packets; may be changed while they are carried.

    Attributes:
        loss: share of packets that are lost.
        delay_s, jitter_s: each packet is delayed by delay_s and up to jitter_s more, which reorders packets.
        cut: whether all are lost.
        carried, lost: packets so far.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    cut: bool = False
    carried: int = 0
    lost: int = 0
    sides: tuple[str, str] = ("", "")
    _random: random.Random = field(default_factory=lambda: random.Random(5))

    def on(self, side: int, command: Sequence[str]) -> list[str]:
        """The command line that runs a command in the first (0) or second (1) namespace."""
        # Its own /sys and mounts are not needed, and `ip netns exec` would need them.
        return ["nsenter", f"--net=/run/netns/{self.sides[side]}", "--", *command]

    def carry(self, ends: tuple[int, int], ended: threading.Event) -> None:
        """Reads packets of both devices and writes each to the other one, until `ended`."""
        waiting: list[tuple[float, int, int, bytes]] = []
        numbers = itertools.count()
        while not ended.is_set():
            pause_s = max(0.0, min(0.05, waiting[0][0] - time.monotonic())) if waiting else 0.05
            for end in select.select(ends, [], [], pause_s)[0]:
                packet = os.read(end, 65_536)
                if self.cut or self._random.random() < self.loss:
                    self.lost += 1
                    continue
                due_s = time.monotonic() + self.delay_s + self._random.uniform(0, self.jitter_s)
                heapq.heappush(waiting, (due_s, next(numbers), ends[1 - ends.index(end)], packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(waiting)
                os.write(end, packet)
                self.carried += 1


@contextmanager
def lossy_network() -> Iterator[Cable]:
    """Two connected namespaces; skips the test where they cannot be made."""
    if os.geteuid() or not os.path.exists("/dev/net/tun"):  # noqa: PTH110
        pytest.skip("network namespaces need root and /dev/net/tun")
    names = (f"lisa{os.getpid()}a", f"lisa{os.getpid()}b")
    cable, ended = Cable(sides=names), threading.Event()
    with ExitStack() as stack:
        ends = tuple(stack.enter_context(_namespace(name, f"10.77.0.{side + 1}")) for side, name in enumerate(names))
        thread = threading.Thread(target=cable.carry, args=(ends, ended))
        thread.start()
        stack.callback(thread.join)
        stack.callback(ended.set)
        yield cable


@contextmanager
def _namespace(name: str, address: str) -> Iterator[int]:
    """A namespace with an address on a TUN device; gives the device's file descriptor."""
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made: {error}")
    end = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name[:15].encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("link", "set", name, "netns", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
        _ip("-n", name, "link", "set", name, "up", "multicast", "on", "txqueuelen", "5000")
        _ip("-n", name, "route", "add", "224.0.0.0/4", "dev", name)
        yield end
    finally:
        os.close(end)
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
