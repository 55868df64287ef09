# SPDX-License-Identifier: Apache-2.0
"""A folder that is being written: whose it is, that only one process writes it, and what an interruption leaves."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lisa_ros.models.common.configuration import CONVERSION, UNFINISHED, read_json


def check_output(folder: Path) -> None:
    """Refuses a folder that holds anything but an unfinished conversion.

    Raises:
        ValueError: it does; the text says what it is.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder that does not exist yet")
    if not folder.is_dir() or (folder / UNFINISHED).is_file() or not any(folder.iterdir()):
        return
    config = folder / "config.json"
    if config.is_file() and CONVERSION in read_json(config):
        raise ValueError(f"{folder} is converted already; nothing was changed. Name another folder, or delete it")
    raise ValueError(f"{folder} exists and is not empty; nothing was changed. Name another folder, or delete it")


@contextmanager
def claimed(folder: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Makes a folder the output of one piece of work; it is finished when the context ends without an exception.

    Args:
        folder: made if it is not there.
        identity: what must be the same for an interrupted work to go on, plain values by name.

    Raises:
        ValueError: the folder belongs to another work, or another process writes it now.
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
    """The lock goes with the process, however that ends."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another process is writing {folder} now") from None
    except OSError:  # a file system without locks
        pass


def _compare(text: str, identity: Mapping[str, Any], folder: Path) -> None:
    try:
        before = json.loads(text)
    except ValueError:  # a kill in the moment of writing
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{folder / UNFINISHED} is damaged; delete {folder}, or name another folder")
    now = json.loads(json.dumps(identity))
    changes = [_change(name, before.get(name), now.get(name)) for name in {**before, **now}]
    told = "; ".join(change for change in changes if change)
    if told:
        raise ValueError(
            f"{folder} holds an unfinished conversion of something else: {told}. "
            "Give the same source and options to go on, name another folder, or delete it"
        )


def _change(name: str, before: Any, now: Any) -> str:
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        differing = sorted(key for key in {**before, **now} if before.get(key) != now.get(key))
        return f"in {name} {', '.join(differing[:3])}{' and others' if len(differing) > 3 else ''} differ"
    return f"{name} was {before!r}, now {now!r}"
