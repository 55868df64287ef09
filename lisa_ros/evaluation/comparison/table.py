# SPDX-License-Identifier: Apache-2.0
"""Runs side by side: a row for each family of questions, a column for each run, with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lisa_ros.evaluation.comparison.bootstrap import Interval, difference, mean_iou, share
from lisa_ros.evaluation.comparison.runs import FinishedRun
from lisa_ros.evaluation.items import Item
from lisa_ros.evaluation.tables import row_of

UNITS = {"value": "0 to 1", "low": "0 to 1", "high": "0 to 1", "images": "count"}


@dataclass(frozen=True)
class Measure:
    """A number of some items.

    Attributes:
        name: of it.
        of: items -> the number with its interval; None where it means nothing.
    """

    name: str
    of: Callable[[Sequence[Item]], Interval | None]


def _giou(items: Sequence[Item]) -> Interval | None:
    return mean_iou(items) if any(not item.absent for item in items if item.failed is None) else None


def _absent_refused(items: Sequence[Item]) -> Interval | None:
    absent = [item for item in items if item.failed is None and item.absent]
    return share(absent, [item.refused for item in absent])


def _present_refused(items: Sequence[Item]) -> Interval | None:
    present = [item for item in items if item.failed is None and not item.absent]
    return share(present, [item.refused for item in present])


def _named_rightly(items: Sequence[Item]) -> Interval | None:
    scored = [item for item in items if item.failed is None and item.said is not None]
    return share(scored, [bool(item.said) for item in scored])


MEASURES = (
    Measure("gIoU", _giou),
    Measure("absent refused", _absent_refused),
    Measure("refused though present", _present_refused),
    Measure("named rightly", _named_rightly),
)


@dataclass(frozen=True)
class Comparison:
    """One number of one family, of every run.

    Attributes:
        family: of questions; "all".
        measure: the number's name.
        of_runs: by the run's label; None where it means nothing.
    """

    family: str
    measure: str
    of_runs: Mapping[str, Interval | None]


def compare(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Every measure of all items, and gIoU of each family, where at least one run has it."""
    families = dict.fromkeys(item.group for run in runs for item in run.items if item.group)
    found = [_compared("all", measure, runs, lambda item: True) for measure in MEASURES]
    for family in families:
        members = _members(family)
        found += [_compared(family, measure, runs, members) for measure in MEASURES[:2]]
    return [one for one in found if any(interval is not None for interval in one.of_runs.values())]


def _members(family: str) -> Callable[[Item], bool]:
    return lambda item: item.group == family


def _compared(
    family: str, measure: Measure, runs: Sequence[FinishedRun], belongs: Callable[[Item], bool]
) -> Comparison:
    numbers = {run.label: measure.of([item for item in run.items if belongs(item)]) for run in runs}
    return Comparison(family, measure.name, numbers)


def differences(runs: Sequence[FinishedRun]) -> list[tuple[str, Interval | None]]:
    """The mean IoU of each run less the first one's, over the questions of both: (label, difference)."""
    return [(run.label, difference(run.items, runs[0].items)) for run in runs[1:]]


def cells(compared: Sequence[Comparison], runs: Sequence[FinishedRun]) -> list[list[str]]:
    """The table as texts, titles first."""
    titles = ["questions", "number", *(run.label for run in runs)]
    lines = [[one.family, one.measure, *(shown(one.of_runs[run.label]) for run in runs)] for one in compared]
    counts = ["all", "scored / failed", *(_counts(run) for run in runs)]
    ciou = ["all", "cIoU", *(_ciou(run) for run in runs)]
    return [titles, counts, ciou, *lines]


def _counts(run: FinishedRun) -> str:
    row = row_of("", run.items)
    return f"{row['items']} / {row['failed']}"


def _ciou(run: FinishedRun) -> str:
    value = row_of("", run.items)["ciou"]
    return "-" if value is None else f"{value:.4f}"


def shown(interval: Interval | None) -> str:
    """For people: value [low, high]."""
    if interval is None:
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def flat(compared: Sequence[Comparison]) -> list[dict[str, Any]]:
    """For JSON and CSV: a row for each number of each run."""
    return [
        {"questions": one.family, "number": one.measure, "run": label, **({} if found is None else asdict(found))}
        for one in compared
        for label, found in one.of_runs.items()
    ]
