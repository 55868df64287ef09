# SPDX-License-Identifier: Apache-2.0
"""A program in a pseudo terminal, with a person who types and a terminal that answers what programs ask of it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ros_harness import private_environment, wait_until

_ESCAPES = re.compile(r"\x1b\][^\x07]*\x07|\x1b[\[(][0-9;?>=]*[A-Za-z]|\x1b[=>]")
_ASKS_FOR_CURSOR = b"\x1b[6n"
_ASKS_FOR_LINE = "\x1b[?2004h"  # brackets around pasted text, which prompt_toolkit switches on for each line
ASKS = "[asks for a line]"
START_S = 200.0


class Terminal:
    """One program. `parts` is what it wrote, as it came."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

        def own_terminal() -> None:
            """Ctrl-C must reach this program alone, as in a terminal's window."""
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self._child = subprocess.Popen(
            list(command), stdin=slave, stdout=slave, stderr=slave, env=environment, preexec_fn=own_terminal
        )
        os.close(slave)
        self.parts: list[bytes] = []
        self._read_so_far = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that came, without escape sequences; ASKS stands where the program asked for a line."""
        whole = b"".join(self.parts).decode(errors="replace").replace(_ASKS_FOR_LINE, ASKS)
        return _ESCAPES.sub("", whole)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def send_signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait_for(self, text: str, deadline_s: float = 120.0) -> None:
        """Wait until the text comes, after what was waited for before."""

        def found() -> bool:
            at = self.text.find(text, self._read_so_far)
            if at >= 0:
                self._read_so_far = at + len(text)
            return at >= 0

        try:
            wait_until(found, repr(text), deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the terminal showed {self.text[self._read_so_far :]!r}") from None

    def wait(self) -> int:
        code = self._child.wait(120)
        self._reader.join(10)
        return code

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL)
            self._child.wait()
        os.close(self._master)

    def _read(self) -> None:
        with suppress(OSError):  # EIO: the program has ended
            while data := os.read(self._master, 65536):
                self.parts.append(data)
                for _ in range(data.count(_ASKS_FOR_CURSOR)):
                    os.write(self._master, b"\x1b[1;1R")  # without it prompt_toolkit waits, and warns


@contextmanager
def terminal(*command: str, **environment: str) -> Iterator[Terminal]:
    shown = Terminal(command, {**private_environment(), "TERM": "xterm-256color", **environment})
    try:
        yield shown
    finally:
        shown.end()
