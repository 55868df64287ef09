# SPDX-License-Identifier: Apache-2.0
"""Reads on without the index where a bag turns out to be damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lisa_ros.bags import reading
from lisa_ros.bags.reading import Bag

IMAGE, DEPTH = "/image", "/depth"


class DamagedReader:
    """Ends with an error between two messages of one time."""

    connections = (SimpleNamespace(topic=IMAGE), SimpleNamespace(topic=DEPTH))

    def messages(self, wanted: Any) -> Iterator[tuple[Any, int, bytes]]:
        image, _ = wanted
        yield image, 5, b"first"
        yield image, 10, b"image"
        raise RuntimeError("damaged")


def test_a_message_of_the_time_of_the_last_whole_one_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [(IMAGE, 5, b"first"), (IMAGE, 10, b"image"), (DEPTH, 10, b"depth"), (IMAGE, 10, b"second")]
    monkeypatch.setattr(reading, "storage_files", lambda path: [path])
    monkeypatch.setattr(reading, "recover", lambda file, found: iter(stored))
    reader: Any = DamagedReader()
    bag = Bag(Path("bag"), {}, 5, 10, reader)
    assert [one.data for one in bag.messages([IMAGE, DEPTH])] == [b"first", b"image", b"depth", b"second"]
