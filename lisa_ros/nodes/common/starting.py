# SPDX-License-Identifier: Apache-2.0
"""Starts ROS in a program. A mistake on the command line ends the program with one sentence."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from lisa_ros.nodes.common.memory import use_one_arena
from lisa_ros.nodes.common.threads import use_one_blas_thread

NodeT = TypeVar("NodeT", bound=Node)

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The environment variables of Fast DDS 2 and Fast DDS 3 that name a profile."""
NO_PROFILE_VARIABLE = "LISA_ROS_NO_FASTDDS_PROFILE"
"""If this environment variable is set, Fast DDS's own defaults are used."""


class StartError(RuntimeError):
    """ROS could not start; the text is one sentence."""


def start_ros(args: Sequence[str] | None, signals: SignalHandlerOptions) -> None:
    """Call rclpy.init, after which all threads share one malloc arena and BLAS uses one thread.

    Args:
        args: The command line, with --ros-args; None: the process's own.
        signals: The signals that rclpy handles.

    Raises:
        StartError: The arguments after --ros-args are invalid.
    """
    use_one_arena()
    use_one_blas_thread()
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=signals)
    except RuntimeError as error:
        # rcl appends positions in its source code.
        reason = " ".join(str(error).split(", at /")[0].split())
        raise StartError(f"ROS could not start; check the arguments after --ros-args: {reason}") from error


def create_node(make: Callable[[], NodeT]) -> NodeT:
    """Create a node that takes time to make.

    Raises:
        ExternalShutdownException: A signal has shut ROS down meanwhile.
    """
    try:
        return make()
    except Exception as error:
        if not rclpy.ok():
            raise ExternalShutdownException from error
        raise


def use_fastdds_profile() -> None:
    """Make Fast DDS use config/fastdds.xml, for programs that publish images; a profile that is set already is kept.

    It must be called before `start_ros`. Other middleware ignores it.
    """
    try:
        profile = Path(get_package_share_directory("lisa_ros")) / "config" / "fastdds.xml"
    except PackageNotFoundError:  # the package is not installed, only on the Python path
        return
    own = any(os.environ.get(name) for name in (NO_PROFILE_VARIABLE, *PROFILE_VARIABLES))
    if profile.is_file() and not own:
        for name in PROFILE_VARIABLES:
            os.environ[name] = str(profile)
