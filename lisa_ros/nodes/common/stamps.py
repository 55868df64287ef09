# SPDX-License-Identifier: Apache-2.0
"""Time stamps of messages and nanoseconds."""

from builtin_interfaces.msg import Time


def nanoseconds(seconds: int, nanoseconds_part: int) -> int:
    """A ROS time stamp in nanoseconds."""
    return seconds * 1_000_000_000 + nanoseconds_part


def time_message(time_ns: int) -> Time:
    """The ROS time stamp of a time in nanoseconds; the last second of a stamp for a later time."""
    sec, nanosec = divmod(time_ns, 1_000_000_000)
    return Time(sec=min(max(sec, -(1 << 31)), (1 << 31) - 1), nanosec=nanosec)
