# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a request that a long computation respects where it can stop without losing anything."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

from lisa_ros.segmentation.files.stop_signals import STOPPING


class StopRequest:
    """Within this context, the first SIGINT or SIGTERM is noted; a second one interrupts the work at once.

    Python hands signals to the main thread alone, so in another thread nothing is noted. A signal that the process
    was started to ignore stays ignored, as in the background of a script.
    """

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._noted: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        """Handles the signals from here on."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Restores the signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self._noted is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        impatient = self._noted is not None
        self._noted = signal.Signals(number)
        if impatient:
            self.obey()

    def obey(self) -> NoReturn:
        """Ends what was asked to stop.

        Raises:
            KeyboardInterrupt: after SIGINT, as Python does by itself; whoever catches it exits with 130.
            SystemExit: after SIGTERM, with 143, as a shell reports that signal.
        """
        if self._noted == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
