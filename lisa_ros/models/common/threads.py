# SPDX-License-Identifier: Apache-2.0
"""How many CPU threads a model computes with, chosen by what is measured on this machine.

A small network loses by more threads: they wait for each other longer than they compute, above all beside other work.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

LONG_S = 1.0
"""Work that takes longer than this with torch's own number of threads is taken to gain by them, and not measured."""
RUNS = 3
"""Timed runs for each number of threads, after one that is not timed; their median counts."""
GAIN = 0.9
"""More threads are taken only where they need at most this share of the time of fewer ones."""


def choose_threads(wanted: int, work: Callable[[], object]) -> int:
    """Sets torch's number of threads in this process, for threads that start from now on.

    Args:
        wanted: 1 or more; 0: the number with which `work` is fastest, never more than torch's own.
        work: what the model will be asked to do, such as to answer a command about a new image.

    Returns:
        the number that is set.
    """
    most = torch.get_num_threads()
    chosen = wanted or _fastest(most, lambda threads: _seconds(threads, work))
    torch.set_num_threads(chosen)
    return chosen


def _fastest(most: int, seconds: Callable[[int], float]) -> int:
    """The number of threads with the shortest time, of 1, 2, 4 ... and `most`; fewer where more gain little."""
    if most == 1 or seconds(most) > LONG_S:
        return most
    candidates = [threads for threads in (2**power for power in range(most.bit_length())) if threads < most]
    best, shortest = 1, seconds(1)
    for threads in [*candidates[1:], most]:
        taken = seconds(threads)
        if taken <= GAIN * shortest:
            best, shortest = threads, taken
    return best


def _seconds(threads: int, work: Callable[[], object]) -> float:
    """Median time of `work` with this number of threads; a single run where that is long."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(1 + RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
        if times[-1] > LONG_S:
            break
    return statistics.median(times[1:] or times)
