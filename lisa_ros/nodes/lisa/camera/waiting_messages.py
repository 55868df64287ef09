# SPDX-License-Identifier: Apache-2.0
"""Messages that wait in the middleware, for callers that do not leave them to the executor."""

from collections.abc import Iterator
from typing import Any


def waiting_messages(subscription: Any) -> Iterator[tuple[Any, Any]]:
    """Take the messages of a subscription until none waits: each with rclpy's information about it.

    Raises:
        InvalidHandle: The subscription was destroyed.
    """
    while True:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        yield taken
