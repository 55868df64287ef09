# SPDX-License-Identifier: Apache-2.0
"""The output folder of a conversion: written by one process, and resumed after an interruption."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lisa_ros.models.common.checkpoints.configuration import CONVERSION, UNFINISHED
from lisa_ros.models.common.config_file import read_json
from lisa_ros.segmentation.errors import LisaError


def check_output(folder: Path) -> None:
    """Refuses a folder that holds anything but an unfinished conversion.

    Raises:
        LisaError: it does; the text says what it holds.
    """
    if folder.exists() and not folder.is_dir():
        raise LisaError(f"{folder} is a file; name a folder that does not exist yet")
    if not folder.is_dir() or (folder / UNFINISHED).is_file() or not any(folder.iterdir()):
        return
    config = folder / "config.json"
    if config.is_file() and CONVERSION in read_json(config):
        raise LisaError(
            f"{folder} holds a converted checkpoint already; nothing was changed. Name another folder, or delete it"
        )
    raise LisaError(f"{folder} exists and is not empty; nothing was changed. Name another folder, or delete it")


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
        _lock(stream, folder)
        stream.seek(0)
        text = stream.read()
        if text:
            _compare(text, identity, folder)
        else:
            json.dump(identity, stream, indent=1)
            stream.flush()
        yield
        file.unlink()


def _lock(stream: TextIO, folder: Path) -> None:
    """Locks the folder for this process; the system releases the lock when the process ends, however it ends."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LisaError(f"another process is writing {folder} now") from None
    except OSError:  # a file system without locks
        pass


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
