# SPDX-License-Identifier: Apache-2.0
"""Starts ROS in a program. A mistake on the command line ends the program with one sentence."""

from collections.abc import Sequence

import rclpy
from rclpy.signals import SignalHandlerOptions


class StartError(RuntimeError):
    """ROS could not start; the text is one sentence."""


def start_ros(args: Sequence[str] | None, signals: SignalHandlerOptions) -> None:
    """Call rclpy.init.

    Args:
        args: The command line, with --ros-args; None: the process's own.
        signals: The signals that rclpy handles.

    Raises:
        StartError: The arguments after --ros-args are invalid.
    """
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=signals)
    except RuntimeError as error:
        # rcl appends positions in its source code.
        reason = " ".join(str(error).split(", at /")[0].split())
        raise StartError(f"ROS could not start; check the arguments after --ros-args: {reason}") from error
