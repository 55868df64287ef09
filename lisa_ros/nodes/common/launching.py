# SPDX-License-Identifier: Apache-2.0
"""The nodes that the launch files start. Imported by them alone: `launch` comes with ROS 2, not from PyPI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from launch.actions import SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext
from lisa_ros.nodes.common.launch_arguments import FASTDDS_PROFILE, NODE, PARAMETERS, PARAMS_FILE, is_true
from lisa_ros.nodes.common.starting import END_WITH_PARENT_VARIABLE, NO_PROFILE_VARIABLE, PROFILE_VARIABLES

ENDS_WITH_LAUNCH = {END_WITH_PARENT_VARIABLE: "1"}
"""A node's additional environment. `ros2 launch` itself leaves its processes behind when it is ended by SIGTERM."""


def shared_arguments() -> dict[str, LaunchConfiguration]:
    """The arguments that each launch file has, to hand on to an included launch file."""
    return {name: LaunchConfiguration(name) for name in NODE}


def set_fastdds_profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """The environment for large images through shared memory, unless the terminal has a profile of its own."""
    profile = given(context, FASTDDS_PROFILE)
    if not profile:
        return [SetEnvironmentVariable(NO_PROFILE_VARIABLE, "1")]
    return [SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES if name not in os.environ]


def lisa_node(context: LaunchContext, topics: Iterable[str], defaults: Mapping[str, Any] | None = None) -> Node:
    """The segmentation node.

    Args:
        context: of the launch, its arguments checked.
        topics: the node's inputs, which are arguments of the launch file.
        defaults: parameters between those of the parameter file and those that were given as arguments.
    """
    own = [dict(defaults or {}), given_parameters(context, PARAMETERS)]
    return Node(
        package="lisa_ros",
        executable="lisa_node",
        name="lisa",
        namespace=LaunchConfiguration("namespace"),
        # launch_ros would write an empty one to a file, of which the node then says that it has no effect.
        parameters=[given(context, PARAMS_FILE), *(parameters for parameters in own if parameters)],
        remappings=[(name, LaunchConfiguration(name)) for name in topics],
        **process_options(context),
    )


def process_options(context: LaunchContext) -> dict[str, Any]:
    """What `respawn`, `respawn_delay` and `log_level` say, for a Node."""
    return {
        "respawn": is_true(given(context, "respawn")),
        "respawn_delay": float(given(context, "respawn_delay")),
        "ros_arguments": ["--log-level", given(context, "log_level")],
        "output": "screen",
        "emulate_tty": True,
        "additional_env": ENDS_WITH_LAUNCH,
    }


def given_parameters(context: LaunchContext, names: Iterable[str]) -> dict[str, Any]:
    """The parameters that were given as launch arguments, in their types: a folder named 0123 stays a text."""
    return {
        name: is_true(text)
        if PARAMETERS[name].kind is bool
        else ParameterValue(LaunchConfiguration(name), value_type=PARAMETERS[name].kind)
        for name in names
        if (text := given(context, name))
    }


def given(context: LaunchContext, name: str) -> str:
    """The text of a launch argument, its default included."""
    text: str = LaunchConfiguration(name).perform(context)
    return text
