# SPDX-License-Identifier: Apache-2.0
"""How much processor time programs take, from Linux's /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Of /proc/PID/stat, counted from the state, which follows the name: see proc(5).
_USER, _SYSTEM = 11, 12


def process_s(process_id: int) -> float:
    """Seconds of one core that a process has taken so far, all its threads together."""
    return _seconds(Path(f"/proc/{process_id}/stat"))


def running_threads_s(process_id: int) -> float:
    """Seconds of one core that the threads of a process that live have taken, to the microsecond.

    `process_s` counts in hundredths of a second, which is too coarse for one command. See "schedstat" in Linux's
    Documentation/scheduler/sched-stats.rst: the first number is nanoseconds on a core.
    """
    return _schedstat_s(process_id, 0)


def waiting_threads_s(process_id: int) -> float:
    """Seconds that the threads of a process that live could have run, and waited for a core; all threads together."""
    return _schedstat_s(process_id, 1)


def _schedstat_s(process_id: int, field: int) -> float:
    total_ns = 0
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            total_ns += int((thread / "schedstat").read_text().split()[field])
    return total_ns / 1e9


def threads_s(process_id: int) -> dict[str, float]:
    """The same by thread; those of one name together."""
    found: dict[str, float] = {}
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            name, seconds = (thread / "comm").read_text().strip(), _seconds(thread / "stat")
            found[name] = found.get(name, 0.0) + seconds
    return found


def machine_s() -> float:
    """Seconds that all cores together have worked since the machine was started."""
    _, user, nice, system, _idle, _waiting, interrupts, soft, *_ = _words(Path("/proc/stat"))
    return sum(map(int, (user, nice, system, interrupts, soft))) / _TICKS_PER_S


def _words(file: Path) -> list[str]:
    return file.read_text().splitlines()[0].split()


def _seconds(file: Path) -> float:
    # The name is in brackets and may hold anything, also brackets.
    words = file.read_text().rpartition(")")[2].split()
    return (int(words[_USER]) + int(words[_SYSTEM])) / _TICKS_PER_S


@dataclass(frozen=True)
class Usage:
    """Processor time over a while, as shares of one core (1.0: one core all the time).

    Attributes:
        process: of the process.
        threads: of its threads, by name, those above a thousandth of a core.
        machine: of everything that ran on the machine.
    """

    process: float
    threads: dict[str, float]
    machine: float


class Meter:
    """Measures from its making on."""

    def __init__(self, process_id: int, now_s: float) -> None:
        """Begin; `now_s` is monotonic seconds."""
        self._process_id, self._began_s = process_id, now_s
        self._before = process_s(process_id), threads_s(process_id), machine_s()

    def read(self, now_s: float) -> Usage:
        """The usage since the beginning.

        Raises:
            FileNotFoundError: the process is gone.
        """
        took_s = now_s - self._began_s
        process, threads, machine = self._before
        shares = {
            name: (seconds - threads.get(name, 0.0)) / took_s for name, seconds in threads_s(self._process_id).items()
        }
        return Usage(
            process=(process_s(self._process_id) - process) / took_s,
            threads={name: share for name, share in sorted(shares.items()) if share > 0.001},
            machine=(machine_s() - machine) / took_s,
        )
