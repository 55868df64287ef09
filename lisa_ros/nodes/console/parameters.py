# SPDX-License-Identifier: Apache-2.0
"""The console's parameters: names, defaults, meanings and bounds."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from lisa_ros.segmentation.errors import LisaError

SHORTEST_TOKEN = 12


class ConsoleParameterError(LisaError):
    """A parameter that cannot be used; the text names it and says what would be right."""


def _parameter(default: Any, description: str, least: int = 0, most: int = 0) -> Any:
    make = {"default_factory": lambda: list(default)} if isinstance(default, list) else {"default": default}
    return field(**make, metadata={"description": description, "least": least, "most": most})


@dataclass(frozen=True)
class ConsoleParameters:
    """The parameters; all are read once, when the process starts."""

    host: str = _parameter(
        "127.0.0.1", "Address to listen on. Any but this machine's own (127.0.0.1, ::1, localhost) needs a token."
    )
    port: int = _parameter(8080, "TCP port. 0: any free one; the log says which.", 0, 65535)
    token: str = _parameter(
        "",
        "Secret that a browser must show once, at least 12 characters. Empty: made at the start where one is needed.",
    )
    tls_cert: str = _parameter("", "File of the TLS certificate (PEM). Empty: plain HTTP.")
    tls_key: str = _parameter("", "File of its private key (PEM).")
    cameras: list[str] = _parameter(
        [""],
        "Namespaces of the cameras, each with the topic `image` and the node `lisa`. An empty name: the console's own.",
    )
    image_transport: str = _parameter("raw", "Subscribe to `image` (raw) or to `image/compressed` (compressed).")
    max_pages: int = _parameter(32, "Pages that may be open at the same time.", 1, 1000)

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self, namespace: str = "/") -> None:
        """Raises a ConsoleParameterError for values that contradict each other or cannot be used.

        Args:
            namespace: the console's own.
        """
        if self.image_transport not in ("raw", "compressed"):
            raise ConsoleParameterError(
                f"Parameter image_transport is {self.image_transport!r}; it can be 'raw' or 'compressed'."
            )
        if not self.cameras or len({_topic(one, namespace) for one in self.cameras}) != len(self.cameras):
            raise ConsoleParameterError(f"Parameter cameras is {self.cameras}; it must be different namespaces.")
        if self.token and (
            len(self.token) < SHORTEST_TOKEN or not self.token.isascii() or not self.token.isprintable()
        ):
            raise ConsoleParameterError(
                f"Parameter token must be {SHORTEST_TOKEN} or more printable ASCII characters; empty: one is made."
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConsoleParameterError("Parameters tls_cert and tls_key go together; one of them is empty.")
        for name in ("tls_cert", "tls_key"):
            file = getattr(self, name)
            if file and not Path(file).is_file():
                raise ConsoleParameterError(f"Parameter {name} is {file!r}, and there is no such file.")
        if self.tls_cert:
            self._check_tls()

    def _check_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
        except OSError as error:  # SSLError is one
            raise ConsoleParameterError(
                f"Parameters tls_cert ({self.tls_cert!r}) and tls_key ({self.tls_key!r}) cannot be used ({error}); "
                "they must be a certificate and its own private key without a pass phrase, both as PEM files."
            ) from error


def topic_prefix(camera: str) -> str:
    """What stands before the topics of a camera, given by its namespace."""
    return f"{camera.rstrip('/')}/" if camera else ""


def _topic(camera: str, namespace: str) -> str:
    """The full name of a camera's images, before remapping. Raises a ConsoleParameterError."""
    try:
        topic = str(expand_topic_name(f"{topic_prefix(camera)}image", "console", namespace))
        validate_full_topic_name(topic)
    except (ValueError, NameValidationException) as error:
        raise ConsoleParameterError(
            f"Parameter cameras: {camera!r} cannot be a namespace, which has letters, digits and _, no digit first, "
            "and / between its parts."
        ) from error
    return topic


def declared(node: Node) -> ConsoleParameters:
    """Declares the parameters on a node and reads them.

    Raises:
        ConsoleParameterError: one has a value that cannot be used.
    """
    defaults = ConsoleParameters()
    values = {entry.name: _declare(node, entry, getattr(defaults, entry.name)) for entry in _fields()}
    for name in ("tls_cert", "tls_key"):
        values[name] = os.path.expanduser(values[name])  # noqa: PTH111  Path's fails for an unknown user
    parameters = ConsoleParameters(**values)
    parameters.check(node.get_namespace())
    return parameters


def descriptions() -> dict[str, str]:
    """Name -> description of each parameter, for the program's help."""
    return {entry.name: entry.metadata["description"] for entry in _fields()}


def _fields() -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(ConsoleParameters)


def _declare(node: Node, entry: dataclasses.Field[Any], default: Any) -> Any:
    about = entry.metadata
    descriptor = ParameterDescriptor(description=about["description"], read_only=True)
    if isinstance(default, int):
        descriptor.integer_range = [IntegerRange(from_value=about["least"], to_value=about["most"])]
    try:
        value = node.declare_parameter(entry.name, default, descriptor).value
    except ParameterException as error:
        kind = {int: "a whole number", str: "a text", list: "a list of texts"}[type(default)]
        bounds = f" from {about['least']} to {about['most']}" if isinstance(default, int) else ""
        raise ConsoleParameterError(f"Parameter {entry.name} must be {kind}{bounds} ({error}).") from error
    return list(value) if isinstance(default, list) else value
