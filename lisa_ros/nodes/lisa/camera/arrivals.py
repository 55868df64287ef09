# SPDX-License-Identifier: Apache-2.0
"""Compares what the camera publishes with what arrives, and says why images are missing."""

import math
import threading
import time
from collections.abc import Callable, Sequence

_RECENT_S = 5.0
"""Losses of so many last seconds are counted against the images that arrived in that time."""
_PROMPT_S = 1.0
"""An image that arrived within so many seconds is current, even if a newer one was lost."""

ADVICE = (
    "Fast DDS loses images over 512 kB unless the camera's process uses config/fastdds.xml, too"
    " (FASTRTPS_DEFAULT_PROFILES_FILE); compressed images are smaller."
)


class Arrivals:
    """Counts arrived and lost images. The executor's thread counts; any thread may ask."""

    def __init__(
        self,
        topic: str,
        kind: str,
        publishers: Callable[[], Sequence[str]] = tuple,
        now_s: Callable[[], float] = time.monotonic,
        refused: Callable[[], str] = str,
    ) -> None:
        """Start with nothing.

        Args:
            topic: Of the images.
            kind: Its message type, for example "sensor_msgs/msg/Image".
            publishers: Returns the message type of every publisher of the topic.
            now_s: Returns monotonic seconds.
            refused: Returns why the QoS of no publisher fits the subscription; empty: one's does.
        """
        self._refused = refused
        self._topic, self._kind, self._publishers, self._now_s = topic, kind, publishers, now_s
        self._lock = threading.Lock()
        self._recent: list[tuple[float, int, int]] = []
        """When, images that arrived, images that were lost."""
        self._arrived_s: float | None = None
        self._since_newest = 0
        self._number: int | None = None
        self.numbered = False
        """Whether the images' numbers say how many arrived: the middleware gives them, and there is one publisher."""
        self.lost = 0
        """Number of images that were published and did not arrive, since the start, as the middleware reports it."""

    def count_arrived(self, number: int | None = None) -> int:
        """Count an image, and those that arrived before it and were not taken.

        Args:
            number: Of the image, as its publisher counts; None: the middleware gives none.

        Returns:
            The number of images that arrived since the last one that was counted.
        """
        with self._lock:
            last, self._number, comparable = self._number, number, self.numbered
            step = 0 if number is None or last is None else number - last
            self.numbered = step == 1 or (number is not None and len(self._publishers()) == 1)
            # The last number is of another publisher if there were several.
            count = max(1, step - self._since_newest) if self.numbered and comparable else 1
            self._arrived_s, self._since_newest = self._now_s(), 0
            self._count(count, 0)
            return count

    def count_lost(self, count: int) -> None:
        """Count images that the middleware reports as lost."""
        with self._lock:
            self.lost += count
            self._since_newest += count
            self._count(0, count)

    def since_s(self) -> float:
        """Time since the newest image arrived, in seconds; infinite: none has."""
        with self._lock:
            return math.inf if self._arrived_s is None else self._now_s() - self._arrived_s

    def missing(self) -> str:
        """Why no image has arrived for a while: no publisher, one of another type or QoS, or images that were lost."""
        kinds = self._publishers()
        if not kinds:
            return "Nobody publishes there: start the camera, or remap `image` to its topic."
        if self._kind not in kinds:
            return f"The publisher there sends {kinds[0]}, not {self._kind}: check `image` and image_transport."
        if refused := self._refused():
            return f"The publisher there does not offer the QoS that the parameters qos_overrides demand ({refused})."
        count = f"{len(kinds)} publisher{'s' if len(kinds) > 1 else ''}"
        if not self.lost:
            return f"The topic has {count}, but no image of it arrives: it sends none, or they are lost. {ADVICE}"
        return f"The topic has {count}, but {self.lost} of its images were lost on the way. {ADVICE}"

    def newer_lost(self) -> str:
        """A sentence if images newer than the newest one were lost and it is not current; otherwise empty."""
        with self._lock:
            count, age_s = self._since_newest, 0.0 if self._arrived_s is None else self._now_s() - self._arrived_s
        if not count or age_s <= _PROMPT_S:
            return ""
        return f"The image arrived {age_s:.1f} s ago; since then {count} images on {self._topic} were lost. {ADVICE}"

    def trouble(self) -> str:
        """A sentence if more images were lost than arrived in the last seconds; otherwise empty."""
        with self._lock:
            self._drop_old()
            arrived, lost = (sum(entry[i] for entry in self._recent) for i in (1, 2))
        if lost <= arrived:
            return ""
        return f"Of {arrived + lost} images on {self._topic} in {_RECENT_S:g} s, {lost} were lost. {ADVICE}"

    def _count(self, arrived: int, lost: int) -> None:
        self._drop_old()
        self._recent.append((self._now_s(), arrived, lost))

    def _drop_old(self) -> None:
        oldest_s = self._now_s() - _RECENT_S
        self._recent = [entry for entry in self._recent if entry[0] >= oldest_s]
