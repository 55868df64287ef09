# SPDX-License-Identifier: Apache-2.0
"""What a run is about: two runs that differ in any of it must not share a folder, let alone a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lisa_ros.datasets.samples import Sample
from lisa_ros.evaluation.items import OutputError
from lisa_ros.segmentation.atomic_files import write_text


def hash_of_questions(samples: Iterable[Sample]) -> str:
    """A hash of what is asked about which picture; pictures and masks are not read for it."""
    told = [[sample.name, sample.dialogue, [asked.text for asked in sample.rounds]] for sample in samples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Makes a folder the output of a run, or finds that it is already.

    Args:
        folder: made if it is not there; run.json in it says what run it belongs to.
        identity: what must be the same, plain values by name.

    Raises:
        OutputError: it is the folder of another run, or of something else.
        OSError: it cannot be written.
    """
    file = folder / "run.json"
    if file.is_file():
        _compare(file, identity)
        return
    foreign = [name for name in ("items.jsonl", "results.json") if (folder / name).exists()]
    if foreign:
        raise OutputError(f"{folder} has {' and '.join(foreign)}, but no run.json that says of which run; name another")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(identity, indent=2) + "\n")


def _compare(file: Path, identity: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_bytes())
    except ValueError as error:
        raise OutputError(f"{file} is damaged ({error}); name another output folder") from error
    if not isinstance(before, dict):
        raise OutputError(f"{file} says nothing of a run; name another output folder")
    now = json.loads(json.dumps(identity))
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        changes = "; ".join(f"{name} was {before.get(name)!r:.90}, now {now.get(name)!r:.90}" for name in differing)
        raise OutputError(
            f"{file.parent} belongs to another run, and results of two must not mix: {changes}. Name another --output."
        )
