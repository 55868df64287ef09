# SPDX-License-Identifier: Apache-2.0
"""What the benchmark counts as right: whole answers with the expected masks, each part once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("httpx")

from lisa_ros.benchmark.fleet.robots import alike, ask, local_processes
from lisa_ros.segmentation.answers import Event, Finished, MaskFound, ObjectMask, TextDelta
from lisa_ros.segmentation.errors import LisaError

FOUND = ObjectMask(np.tri(20, dtype=bool), (6, 11))
RIGHT = Finished("It is [SEG].", (FOUND,), "end")
PARTS: list[Event] = [TextDelta("It is "), TextDelta("[SEG]."), MaskFound(FOUND), RIGHT]


def asked(events: Sequence[Event]) -> bool:
    def segment(_: str) -> Iterator[Event]:
        yield from events

    model: Any = SimpleNamespace(session=lambda *_: SimpleNamespace(segment=segment))
    return ask(model, SimpleNamespace(), "the mug").is_whole  # type: ignore[arg-type]


def test_an_answer_whose_parts_come_once_is_whole() -> None:
    assert asked(PARTS)


@pytest.mark.parametrize("doubled", range(len(PARTS)))
def test_a_part_that_comes_twice_or_never_is_seen(doubled: int) -> None:
    assert not asked(PARTS[: doubled + 1] + PARTS[doubled:])
    if PARTS[doubled] is not RIGHT:
        assert not asked(PARTS[:doubled] + PARTS[doubled + 1 :])


def test_another_mask_is_seen() -> None:
    other = replace(FOUND, mask=~FOUND.mask)
    assert alike(RIGHT, Finished(RIGHT.answer, (replace(FOUND, mask=FOUND.mask.copy()),), "end"))
    assert not alike(RIGHT, Finished(RIGHT.answer, (other,), "end"))
    assert not alike(RIGHT, Finished(RIGHT.answer, (), "end"))


def test_a_local_process_that_fails_is_not_counted_as_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started, fails = subprocess.Popen, ["sh", "-c", "echo ready; read go; exit 3"]
    monkeypatch.setattr(subprocess, "Popen", lambda _, **given: started(fails, **given))
    with pytest.raises(LisaError, match=r"2 of 2 local processes failed \(exit status 3\)"):
        local_processes(2, 4, tmp_path / "images.npy", None)
