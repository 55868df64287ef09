# SPDX-License-Identifier: Apache-2.0
"""Finished runs, read from their folders, and whether they can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_ros.evaluation.items import Item, ItemLog
from lisa_ros.segmentation.files.output_folders import OutputError

_SAME = ("protocol", "dataset", "split", "partition", "phrasing", "mask", "references", "answer")
"""What the runs of one table have in common."""


@dataclass(frozen=True)
class FinishedRun:
    """One run.

    Attributes:
        folder: its output.
        label: the checkpoint and, where two runs share it, the folder; unique.
        settings: its results.json but rows and items.
        items: its items, in the data set's order.
    """

    folder: Path
    label: str
    settings: Mapping[str, Any]
    items: tuple[Item, ...]


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Reads runs that can be compared.

    Args:
        folders: outputs of `lisa evaluate`, two or more.

    Raises:
        OutputError: a folder is no finished run, or two runs differ in questions or protocol.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise OutputError("--compare takes the folders of two runs or more, each once")
    found = [(folder, *_read(folder)) for folder in folders]
    for folder, settings, items in found[1:]:
        _check_same(folders[0], found[0][1], folder, settings)
        _check_questions(folders[0], found[0][2], folder, items)
    labels = _labels([(folder, settings) for folder, settings, _ in found])
    return [
        FinishedRun(folder, label, settings, items)
        for (folder, settings, items), label in zip(found, labels, strict=True)
    ]


def _read(folder: Path) -> tuple[dict[str, Any], tuple[Item, ...]]:
    file = folder / "results.json"
    if not file.is_file():
        raise OutputError(f"{folder} has no results.json; name the output folder of a `lisa evaluate`")
    try:
        settings = json.loads(file.read_bytes())
        listed = [(str(one["variant"]), str(one["sample"]), int(one["round"])) for one in settings["items"]]
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{file} is damaged; repeat the `lisa evaluate` that wrote it") from error
    with ItemLog(folder / "items.jsonl") as log:
        missing = [key for key in listed if key not in log.items]
        if missing:
            raise OutputError(
                f"{folder}/items.jsonl lacks {len(missing)} of the questions of results.json, such as "
                f"{missing[0][1]}, round {missing[0][2]}; repeat the `lisa evaluate` that wrote them"
            )
        items = tuple(log.items[key] for key in listed)
    return {name: value for name, value in settings.items() if name not in ("items", "rows")}, items


def _check_same(first: Path, settings: Mapping[str, Any], folder: Path, others: Mapping[str, Any]) -> None:
    differing = [name for name in _SAME if settings.get(name) != others.get(name)]
    if differing:
        changes = "; ".join(f"{name} {settings.get(name)!r} and {others.get(name)!r}" for name in differing)
        raise OutputError(f"{first} and {folder} cannot be compared, since they differ in: {changes}")


def _check_questions(first: Path, items: Sequence[Item], folder: Path, others: Sequence[Item]) -> None:
    """Raises an OutputError where a question of both runs has another text: they are of different data."""
    texts = {item.key[1:]: item.text for item in items if item.text}
    for item in others:
        if item.text and texts.get(item.key[1:], item.text) != item.text:
            raise OutputError(
                f"{first} and {folder} cannot be compared: they asked different questions ({item.sample}, round "
                f"{item.round}: {texts[item.key[1:]]!r:.60} and {item.text!r:.60})"
            )


def _labels(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> list[str]:
    """Checkpoints' names; where two runs have the same, with the folder's name or, if that is the same, its path."""
    names = [str(settings.get("checkpoint", folder.name)) for folder, settings in runs]
    named = [f"{name} ({folder.name})" for name, (folder, _) in zip(names, runs, strict=True)]
    placed = [f"{name} ({folder})" for name, (folder, _) in zip(names, runs, strict=True)]
    return [
        name if names.count(name) == 1 else short if named.count(short) == 1 else long
        for name, short, long in zip(names, named, placed, strict=True)
    ]
