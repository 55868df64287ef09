# SPDX-License-Identifier: Apache-2.0
"""The frame of each dialogue's first command, for `follow_up_frame: dialogue`."""

import threading
from collections import OrderedDict

from lisa_ros.nodes.lisa.camera.frames import EncodedFrame


class DialogueFrames:
    """Frames by operator, in memory only: after a restart, a dialogue takes the frame of its next command.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: OrderedDict[str, EncodedFrame] = OrderedDict()

    def begin(self, operator: str, encoded: EncodedFrame, max_frames: int) -> None:
        """Set the frame of an operator's dialogue. Of all dialogues, the newest max_frames frames are kept."""
        with self._lock:
            self._frames[operator] = encoded
            self._frames.move_to_end(operator)
            while len(self._frames) > max_frames:
                self._frames.popitem(last=False)

    def of(self, operator: str) -> EncodedFrame | None:
        """The frame of an operator's dialogue; None: there is none."""
        with self._lock:
            if operator in self._frames:
                self._frames.move_to_end(operator)
            return self._frames.get(operator)

    def clear(self) -> None:
        """Delete all frames: the model that encoded them is released."""
        with self._lock:
            self._frames.clear()
