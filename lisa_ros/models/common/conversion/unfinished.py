# SPDX-License-Identifier: Apache-2.0
"""The output folder of a conversion: written by one process, resumed after an interruption, complete at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lisa_ros.models.common.checkpoints.configuration import CONVERSION, UNFINISHED
from lisa_ros.models.common.config_file import read_json
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.output_folders import lock


def check_output(folder: Path) -> None:
    """Refuses a folder that holds anything but a conversion, finished or not.

    Raises:
        LisaError: it does; the text says so.
    """
    if folder.exists() and not folder.is_dir():
        raise LisaError(f"{folder} is a file; name a folder that does not exist yet")
    if not folder.is_dir() or (folder / UNFINISHED).is_file() or not any(folder.iterdir()):
        return
    if _record(folder) is None:
        raise LisaError(f"{folder} exists and is not empty; nothing was changed. Name another folder, or delete it")


def is_finished(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds the finished conversion with this identity, see `claimed`.

    Raises:
        LisaError: it holds the finished conversion of another source, or with other options.
    """
    record = _record(folder)
    if record is None or (folder / UNFINISHED).is_file():
        return False
    if isinstance(record, dict) and record.get("identity") == digest(identity):
        return True
    raise LisaError(
        f"{folder} holds a converted checkpoint of another source or with other options; nothing was changed. "
        "Name another folder, or delete it"
    )


def digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _record(folder: Path) -> Any:
    """The entry about a finished conversion in config.json; None: there is none."""
    config = folder / "config.json"
    return read_json(config).get(CONVERSION) if config.is_file() else None


@contextmanager
def claimed(folder: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Makes a folder the output of one conversion; it is complete when the context ends without an exception.

    Args:
        folder: made if it does not exist.
        identity: what must be the same to resume an interrupted conversion, plain values by name.

    Raises:
        LisaError: the folder belongs to another conversion, or another process is writing it.
        OSError: it cannot be written.
    """
    check_output(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / UNFINISHED
    with file.open("a+", encoding="utf-8") as stream:
        lock(stream, folder)
        stream.seek(0)
        text = stream.read()
        if text:
            _compare(text, identity, folder)
        else:
            json.dump(identity, stream, indent=1)
            stream.flush()
        yield
        file.unlink()


def _compare(text: str, identity: Mapping[str, Any], folder: Path) -> None:
    try:
        before = json.loads(text)
    except ValueError:  # the process was killed while it wrote
        before = None
    if not isinstance(before, dict):
        raise LisaError(f"{folder / UNFINISHED} is damaged; delete {folder}, or name another folder")
    now = json.loads(json.dumps(identity))
    changes = [_change(name, before.get(name), now.get(name)) for name in {**before, **now}]
    differences = "; ".join(change for change in changes if change)
    if differences:
        raise LisaError(
            f"{folder} holds an unfinished conversion of something else: {differences}. "
            "Give the same source and options to resume it, name another folder, or delete it"
        )


def _change(name: str, before: Any, now: Any) -> str:
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        differing = sorted(key for key in {**before, **now} if before.get(key) != now.get(key))
        return f"in {name} {', '.join(differing[:3])}{' and others' if len(differing) > 3 else ''} differ"
    return f"{name} was {before!r}, now {now!r}"
