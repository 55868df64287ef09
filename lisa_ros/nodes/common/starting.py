# SPDX-License-Identifier: Apache-2.0
"""Starting ROS in a program, so that a slip on its command line ends it with a sentence."""

from collections.abc import Sequence

import rclpy
from rclpy.signals import SignalHandlerOptions


class StartError(RuntimeError):
    """ROS could not start; the text is one sentence."""


def start_ros(args: Sequence[str] | None, signals: SignalHandlerOptions) -> None:
    """What every program does first: rclpy.init.

    Args:
        args: the command line, with --ros-args; None: the process's own.
        signals: which of them rclpy handles.

    Raises:
        StartError: what stands after --ros-args cannot be used.
    """
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=signals)
    except RuntimeError as error:
        # rcl appends places in its source.
        reason = " ".join(str(error).split(", at /")[0].split())
        raise StartError(f"ROS could not start; check what stands after --ros-args: {reason}") from error
