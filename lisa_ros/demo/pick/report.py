# SPDX-License-Identifier: Apache-2.0
"""What came of the commands, as Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lisa_ros.demo.pick.trial import Trial

OUTCOMES = ("lifted", "wrong object", "no answer", "no grip", "out of reach", "not lifted")


def report(trials: Sequence[Trial]) -> str:
    """Counts by family of question and by kind of object, and every failure."""
    lifted = sum(one.outcome == "lifted" for one in trials)
    lines = [f"Lifted: {lifted} of {len(trials)}.", ""]
    lines += _table("family", trials, lambda one: one.family)
    lines += ["", *_table("kind", trials, lambda one: one.kind or "?"), ""]
    lines += [f"- {one.text!r}: {one.outcome}. {one.detail}" for one in trials if one.outcome != "lifted"]
    return "\n".join(lines)


def _table(title: str, trials: Sequence[Trial], key: Callable[[Trial], str]) -> list[str]:
    lines = [f"| {title} | commands | " + " | ".join(OUTCOMES) + " |", "|---" * (2 + len(OUTCOMES)) + "|"]
    for name in [*sorted({key(one) for one in trials}), ""]:
        ones = [one for one in trials if not name or key(one) == name]
        counts = Counter(one.outcome for one in ones)
        cells = [name or "all", str(len(ones)), *(str(counts[outcome]) for outcome in OUTCOMES)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def save(file: Path, trials: Sequence[Trial]) -> None:
    """The trials as JSON."""
    file.write_text(json.dumps([dataclasses.asdict(one) for one in trials], indent=2, ensure_ascii=False) + "\n")
