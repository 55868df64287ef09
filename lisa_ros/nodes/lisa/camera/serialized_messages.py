# SPDX-License-Identifier: Apache-2.0
"""Camera messages that stay serialized until somebody needs their content.

Most images of a camera are never asked about. Deserializing one of 1280 x 720 pixels copies 2.8 MB; the stamp and the
frame_id stand in the first bytes.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header

from lisa_ros.segmentation.errors import ImageError

# CDR (OMG DDSI-RTPS 2.5, 10.5): two bytes name the representation, odd: little-endian; two bytes of options follow.
_ENCAPSULATION = 4


class SerializedMessage:
    """A message with a header, as the middleware delivers it. Safe to use from several threads.

    Attributes:
        header: The message's header.
    """

    def __init__(self, kind: type, data: bytes) -> None:
        """Read the header.

        Args:
            kind: Class of the message; its first field is a std_msgs/Header.
            data: The message in CDR, with its encapsulation.

        Raises:
            ImageError: The data is too short for its header.
        """
        self.header = _header(data)
        self._kind, self._lock = kind, threading.Lock()
        self._data: bytes | None = data
        self._message: Any = None

    @property
    def message(self) -> Any:
        """The whole message, deserialized once.

        Raises:
            ImageError: The data is not a message of this class.
        """
        with self._lock:
            if self._data is not None:
                try:
                    self._message = deserialize_message(self._data, self._kind)
                except Exception as error:  # rclpy has no narrower class for the middleware's refusals
                    raise ImageError(
                        f"The message of {len(self._data)} bytes is not a {self._kind.__name__}: {error}."
                    ) from error
                self._data = None
            return self._message


def _header(data: bytes) -> Header:
    order = "<" if len(data) > 1 and data[1] & 1 else ">"
    start = _ENCAPSULATION + struct.calcsize("iII")
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, _ENCAPSULATION) if len(data) >= start else (0, 0, 1)
    if length > len(data) - start:
        raise ImageError(f"A serialized message of {len(data)} bytes is too short for its header.")
    frame_id = data[start : start + length].rstrip(b"\0").decode("utf-8", errors="replace")
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def message_of(received: Any) -> Any:
    """The message itself, deserialized if it is serialized.

    Raises:
        ImageError: As of `SerializedMessage.message`.
    """
    return received.message if isinstance(received, SerializedMessage) else received
