# SPDX-License-Identifier: Apache-2.0
"""What identifies a run. Runs that differ in any of these values must not share an output folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lisa_ros.datasets.samples import Sample
from lisa_ros.segmentation.files.atomic_files import write_text
from lisa_ros.segmentation.files.output_folders import OutputError, make_output_folder

_FILE = "run.json"


def hash_of_questions(samples: Iterable[Sample]) -> str:
    """A hash of the questions and the names of their images; images and masks are not read for it."""
    content = [[sample.name, sample.dialogue, [asked.text for asked in sample.rounds]] for sample in samples]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def check_claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Checks that a folder is the output of a run, or can become it. Nothing is written.

    Args:
        folder: need not exist; its run.json says which run it belongs to.
        identity: what must be the same, plain values by name.

    Raises:
        OutputError: it is the folder of another run, or of something else.
    """
    file = folder / _FILE
    if file.is_file():
        _compare(file, identity)
        return
    foreign = [name for name in ("items.jsonl", "results.json") if (folder / name).exists()]
    if foreign:
        raise OutputError(
            f"{folder} has {' and '.join(foreign)}, but no {_FILE}, so the run is unknown; name another --output"
        )


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Makes a folder the output of a run, see check_claim.

    Raises:
        OutputError: it cannot be used.
    """
    check_claim(folder, identity)
    make_output_folder(folder)
    if not (folder / _FILE).is_file():
        write_text(folder / _FILE, json.dumps(identity, indent=2) + "\n")


def _compare(file: Path, identity: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_bytes())
    except ValueError as error:
        raise OutputError(f"{file} is damaged ({error}); name another output folder") from error
    if not isinstance(before, dict):
        raise OutputError(f"{file} is not the description of a run; name another output folder")
    now = json.loads(json.dumps(identity))
    differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        changes = "; ".join(f"{name} was {before.get(name)!r:.90}, now {now.get(name)!r:.90}" for name in differing)
        raise OutputError(f"{file.parent} belongs to another run: {changes}. Name another --output.")
