# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM in work that has processes and files to clean up. At SIGTERM, Python itself ends at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cleaning_up_after_sigterm(sentence: str) -> Iterator[None]:
    """Within this context SIGTERM raises SystemExit with 143, so that processes and files in the making are cleaned up.

    The sentence is printed then. A further SIGTERM is ignored while they are. Nothing changes in another thread, or
    where the signal is handled or ignored already.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave_once)
    try:
        yield
    except SystemExit as ended:
        if ended.code == 128 + signal.SIGTERM:  # not printed by the handler: it may interrupt a progress bar's line
            print(f"\n{sentence}", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def signals_waiting() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of this context; in threads and processes that begin in it, for ever."""
    noted: list[signal.Signals] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # which others inherit
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # another thread may receive what this one blocks
        for number in STOPPING:
            if callable(signal.getsignal(number)):
                handlers[number] = signal.signal(number, lambda one, _: noted.append(signal.Signals(one)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in dict.fromkeys(noted):
            signal.raise_signal(number)


def leave_once(number: int, _: FrameType | None) -> NoReturn:
    """A signal's handler: ends the process as an exception does; from then on the signal is ignored.

    Raises:
        SystemExit: with the status that a shell reports for the signal.
    """
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
