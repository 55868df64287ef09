# SPDX-License-Identifier: Apache-2.0
"""Sound that waits for a recogniser, of a limited length."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from lisa_ros.speech.audio.samples import Samples

LONGEST_S = 30.0
"""Sound that may wait, s."""


@dataclass(frozen=True)
class Block:
    """Sound without a gap.

    Attributes:
        samples: of one channel.
        rate: samples a second.
        start_ns: time of the first sample, nanoseconds.
    """

    samples: Samples
    rate: int
    start_ns: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Dropped:
    """A gap in the sound, of so many seconds."""

    seconds: float


class Backlog:
    """Takes sound and sentences from any thread, for one that reads them.

    Where too much sound waits, all of it is dropped. That makes one long gap, behind which whole commands can be
    understood again. To drop only what has no room would leave a gap behind each block that is read.
    """

    def __init__(self) -> None:
        """Nothing waits."""
        self._changed = threading.Condition()
        self._waiting: deque[Block | Dropped | str] = deque()
        self._waiting_s = 0.0

    def add(self, samples: Samples, rate: int, start_ns: int) -> None:
        """A block of sound, see Block."""
        block = Block(samples, rate, start_ns)
        with self._changed:
            if self._waiting_s + block.seconds > LONGEST_S:
                self._drop()
            self._waiting.append(block)
            self._waiting_s += block.seconds
            self._changed.notify()

    def say(self, sentence: str) -> None:
        """A sentence, which has its place in the sound."""
        with self._changed:
            self._waiting.append(sentence)
            self._changed.notify()

    def take(self) -> Block | Dropped | str:
        """Waits for the next block, gap or sentence."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            item = self._waiting.popleft()
            if isinstance(item, Block):
                self._waiting_s -= item.seconds
            return item

    def __bool__(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def _drop(self) -> None:
        """Replaces all sound that waits, and the gaps in it, by one gap. Of the sentences the last one counts."""
        seconds = sum(one.seconds for one in self._waiting if not isinstance(one, str))
        sentences = [one for one in self._waiting if isinstance(one, str)]
        self._waiting = deque([Dropped(seconds), *sentences[-1:]])
        self._waiting_s = 0.0
