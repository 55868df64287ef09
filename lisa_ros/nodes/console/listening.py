# SPDX-License-Identifier: Apache-2.0
"""The console's address: what can never be one is refused, what is not free or not there yet is waited for."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from lisa_ros.segmentation.errors import LisaError

_PAUSES_S = 0.5, 60.0
"""The first and the longest pause between attempts; each is twice the one before."""
_OTHER_PORT = (
    "choose another port (ros2 launch: console_port:=8081, lisa console: --port 8081, ros2 run: -p port:=8081)."
)
_COMES = {
    errno.EADDRINUSE: (
        "the port is taken by another program, perhaps by a console that is still closing",
        f"it is free; or end it and {_OTHER_PORT}",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine does not have the address, perhaps because its network is not up yet",
        "it has it.",
    ),
    socket.EAI_AGAIN: ("the name cannot be resolved now, perhaps because the network is not up yet", "it can."),
}
"""What may become right by itself: errno or getaddrinfo's number -> what is wrong, and until when the console waits."""


class AddressError(LisaError):
    """An address on which no console can listen; the text is one sentence."""


def check_address(host: str, port: int) -> None:
    """Raises an AddressError where a console could never listen on this address."""
    with suppress(_NotYetError):
        _server(host, port).close()


def listening(host: str, port: int, warn: Callable[[str], None]) -> socket.socket:
    """The server's socket; warns once and waits while the address is not free or not there.

    Raises:
        AddressError: it will never be.
    """
    pause_s = _PAUSES_S[0]
    while True:
        try:
            return _server(host, port)
        except _NotYetError as error:
            if pause_s == _PAUSES_S[0]:
                warn(f"The console cannot listen on host {host!r}, port {port} yet: {error}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _PAUSES_S[1])


class _NotYetError(Exception):
    """What is wrong now, and until when the console waits."""


def _server(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason, number = (error.strerror, error.errno) if isinstance(error, OSError) else ("no host name", None)
        if number in _COMES:
            wrong, until = _COMES[number]
            raise _NotYetError(f"{wrong}. The console waits until {until}") from error
        needs_rights = f"this port needs more rights: {_OTHER_PORT}"
        advice = needs_rights if number == errno.EACCES else "host must be an address or a name of this machine."
        raise AddressError(f"The console cannot listen on host {host!r}, port {port} ({reason}); {advice}") from error
