# SPDX-License-Identifier: Apache-2.0
"""A process's memory, files and threads over time, and whether they grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Sample:
    """A process at one moment: minutes since the start, private memory (MiB), open files, threads."""

    minutes: float
    memory_mib: float
    files: int
    threads: int


def sample(pid: int, minutes: float) -> Sample:
    """Reads /proc. Memory is what the process has of its own: shared segments and mapped files do not count."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Sample(
        minutes,
        int(fields["RssAnon"].split()[0]) / 1024,
        sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        int(fields["Threads"]),
    )


@dataclass(frozen=True)
class Trend:
    """Samples after the warm-up.

    Attributes:
        memory_change: memory of the last quarter by that of the first, minus 1 (medians).
        memory_mib_per_hour, files_per_hour, threads_per_hour: slopes of fitted lines.
        files, threads: smallest and largest number.
    """

    memory_change: float
    memory_mib_per_hour: float
    files_per_hour: float
    threads_per_hour: float
    files: tuple[int, int]
    threads: tuple[int, int]


def trend(samples: Sequence[Sample], warm_up_minutes: float) -> Trend:
    """What changes after the warm-up."""
    kept = [one for one in samples if one.minutes >= warm_up_minutes]
    quarter = max(1, len(kept) // 4)
    first, last = (np.median([one.memory_mib for one in part]) for part in (kept[:quarter], kept[-quarter:]))
    hours = np.array([one.minutes / 60 for one in kept])

    def slope(values: list[float]) -> float:
        return float(np.polyfit(hours, values, 1)[0])

    return Trend(
        float(last / first - 1),
        slope([one.memory_mib for one in kept]),
        slope([one.files for one in kept]),
        slope([one.threads for one in kept]),
        (min(one.files for one in kept), max(one.files for one in kept)),
        (min(one.threads for one in kept), max(one.threads for one in kept)),
    )


def plot(lines: dict[str, Sequence[tuple[float, float]]], file: Path) -> None:
    """An SVG with one small chart for each line of (minutes, value), one below the other."""
    width, height, left = 760, 130, 70
    parts = []
    for number, (title, points) in enumerate(lines.items()):
        top = number * height
        xs, ys = (np.array(column, dtype=float) for column in zip(*points, strict=True))
        high, end = max(ys.max() * 1.1, 1e-9), max(xs.max(), 1e-9)
        drawn = " ".join(
            f"{left + x / end * (width - left - 10):.1f},{top + height - 25 - y / high * (height - 55):.1f}"
            for x, y in zip(xs, ys, strict=True)
        )
        base = top + height - 25
        parts += [
            f'<text x="{left}" y="{top + 20}" font-weight="bold">{title}</text>',
            f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>',
            f'<text x="{left - 6}" y="{top + 38}" text-anchor="end">{high:.4g}</text>',
            f'<text x="{width - 10}" y="{base + 16}" text-anchor="end">{end:.0f} min</text>',
            f'<path d="M{left},{top + 30}V{base}H{width - 10}" fill="none" stroke="#888"/>',
            f'<polyline points="{drawn}" fill="none" stroke="#06c" stroke-width="1.5"/>',
        ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height * len(lines)}" '
    style = 'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
    file.write_text(head + style + "".join(parts) + "</svg>\n")
