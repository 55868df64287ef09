# SPDX-License-Identifier: Apache-2.0
"""`lisa listen` where the recogniser is slower than the sound: it drops a part, says so once, and goes on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lisa_ros.speech import terminal
from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.listener import Event

_BLOCKS = 100


class FastMicrophone:
    """Delivers 100 blocks of a second, numbered, before the first one is read."""

    def __init__(self, device: str, on_block: Callable[..., None], fault: Callable[[str], None]) -> None:
        fault("The microphone is in use.")
        for number in range(_BLOCKS):
            on_block(np.full(RATE, number, np.float32), RATE, number * 10**9)
        fault("")

    def close(self) -> bool:
        return True


class Noting:
    """A listener that notes what it is given, and is interrupted after the last block."""

    speaking = False

    def __init__(self) -> None:
        self.given: list[tuple[int, int, bool] | str] = []

    def feed(self, samples: Samples, rate: int, start_ns: int, *, behind: bool = False) -> Iterator[Event]:
        self.given.append((int(samples[0]), start_ns // 10**9, behind))
        if samples[0] == _BLOCKS - 1:
            raise KeyboardInterrupt
        return iter(())

    def drop(self) -> None:
        self.given.append("drop")


def test_sound_that_waits_too_long_is_dropped_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "Microphone", FastMicrophone)
    listener: Any = Noting()
    with pytest.raises(KeyboardInterrupt):
        terminal._from_microphone("", listener, terminal._Lines(is_terminal=False))
    first, *blocks = listener.given
    assert first == "drop"
    numbers = [number for number, _, _ in blocks]
    assert numbers == list(range(numbers[0], _BLOCKS)) and len(numbers) <= 30
    assert all(behind for _, _, behind in blocks)
    dropped, trouble = capsys.readouterr().out.splitlines()
    assert dropped == f"The recogniser is too slow: {numbers[0]} s of sound were dropped."
    assert trouble == "The microphone is in use."
