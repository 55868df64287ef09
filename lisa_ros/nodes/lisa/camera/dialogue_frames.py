# SPDX-License-Identifier: Apache-2.0
"""The picture that each operator's dialogue stays with, for follow-ups about it when the camera has moved on."""

import threading
from collections import OrderedDict

from lisa_ros.nodes.lisa.camera.frames import EncodedFrame


class DialogueFrames:
    """Kept in memory alone: after a restart, a dialogue goes on with the picture of its next turn. For any thread."""

    def __init__(self) -> None:
        """No dialogue has begun."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, EncodedFrame] = OrderedDict()

    def begin(self, operator: str, encoded: EncodedFrame, most: int) -> None:
        """A dialogue stays with this picture; `most` pictures are kept, each of another dialogue."""
        with self._lock:
            self._seen[operator] = encoded
            self._seen.move_to_end(operator)
            while len(self._seen) > most:
                self._seen.popitem(last=False)

    def of(self, operator: str) -> EncodedFrame | None:
        """The picture; None: it is not known."""
        with self._lock:
            if operator in self._seen:
                self._seen.move_to_end(operator)
            return self._seen.get(operator)

    def forget_all(self) -> None:
        """The model that saw them is gone."""
        with self._lock:
            self._seen.clear()
