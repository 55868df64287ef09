# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that the executor does not wait for while nobody needs their messages.

rclpy builds its wait set anew for every message, and taking a serialized image copies it twice. A 30 Hz camera with
depth (1280 x 720) costs 17 % of a core if every message is taken, and 6 % if the newest ones are taken five times per
second (docs/benchmarks.md). The middleware keeps the newest messages meanwhile.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.event_handler import QoSSubscriptionEventType, UnsupportedEventTypeError
from rclpy.impl.implementation_singleton import rclpy_implementation

PERIOD_S = 0.2
"""While their group is not active, the newest messages are taken this often, in seconds."""


class OnDemandGroup(MutuallyExclusiveCallbackGroup):
    """A callback group that the executor leaves out while it is not active.

    Attributes:
        active: Whether the executor takes each message when it arrives. Set on the executor's thread.
    """

    def __init__(self) -> None:
        """Start active."""
        super().__init__()
        self.active = True

    def can_execute(self, entity: Any) -> bool:
        """See rclpy's CallbackGroup."""
        return self.active and bool(super().can_execute(entity))


class LostMessages:
    """The number of a subscription's messages that were lost, asked for instead of waited for.

    The executor would wake up for each message of a subscription whose events it waits for.
    """

    def __init__(self, subscription: Any) -> None:
        """Count from now on; without effect if the middleware does not report lost messages."""
        kind = QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST
        try:
            self._event = rclpy_implementation.EventHandle(subscription.handle, kind)
        except UnsupportedEventTypeError:
            self._event = None

    def since_last(self) -> int:
        """The number of messages that were lost since the last call.

        Raises:
            InvalidHandle: `close` was called.
        """
        if self._event is None:
            return 0
        with self._event:
            return int(self._event.take_event().total_count_change)

    def close(self) -> None:
        """Free the event, before the subscription is destroyed."""
        if self._event is not None:
            self._event.destroy_when_not_in_use()
