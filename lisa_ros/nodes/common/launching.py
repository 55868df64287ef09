# SPDX-License-Identifier: Apache-2.0
"""What the launch files share. Imported by them alone: `launch` and `launch_ros` come with ROS 2, not from PyPI."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, LogInfo, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext
from lisa_ros.nodes.common.starting import NO_PROFILE_VARIABLE, PROFILE_VARIABLES
from lisa_ros.segmentation.errors import LisaError

PARAMETERS: dict[str, tuple[type, str]] = {
    "checkpoint": (str, "Folder or Hugging Face id of the checkpoint. Empty: the embedded demonstration model."),
    "vision_tower": (str, "Folder or Hugging Face id of CLIP. Empty: as the checkpoint's config.json says."),
    "template": (str, "Conversation template of the checkpoint: llava_v1 or llava_llama_2."),
    "quantization": (str, "auto, none, 8bit or 4bit."),
    "device": (str, "auto, cpu or cuda."),
    "image_transport": (str, "raw or compressed."),
    "depth_transport": (str, "raw or compressedDepth."),
    "use_depth": (bool, "false: depth topics are not subscribed and results have no 3-D position."),
    "use_sim_time": (bool, "true: the clock is /clock, as with Gazebo, Isaac Sim or a played bag."),
}
"""Launch arguments that are parameters of lisa_node: type and meaning. Not given: as the parameter file has it."""

PROCESS: dict[str, tuple[str, str]] = {
    "respawn": ("true", "Restart the node when it ends by itself."),
    "respawn_delay": ("5.0", "Seconds between the node's end and its restart."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}
"""Launch arguments about the process of lisa_node: default and meaning."""

FASTDDS_PROFILE = "fastdds_profile"

CONSOLE: dict[str, tuple[str, str]] = {
    "console": ("false", "true: the operators' page, too (docs/operators.md)."),
    "console_host": ("127.0.0.1", "Address that the page listens on; any but this machine's own needs a token."),
    "console_port": ("8080", "TCP port of the page."),
}
"""Launch arguments about the console: default and meaning."""


def config_file(name: str) -> str:
    """The path of a file in the package's config folder."""
    return str(Path(get_package_share_directory("lisa_ros")) / "config" / name)


def declare_node_arguments() -> list[DeclareLaunchArgument]:
    """The arguments of PARAMETERS and PROCESS, `params_file` and `fastdds_profile`."""
    return [
        DeclareLaunchArgument("params_file", default_value=config_file("lisa.yaml"), description="Parameter file."),
        *(DeclareLaunchArgument(name, default_value="", description=text) for name, (_, text) in PARAMETERS.items()),
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in PROCESS.items()
        ),
        DeclareLaunchArgument(
            FASTDDS_PROFILE,
            default_value=config_file("fastdds.xml"),
            description="Fast DDS profile for large images; empty: Fast DDS's own defaults. "
            "A profile that the terminal has set already is kept.",
        ),
    ]


def shared_arguments() -> dict[str, LaunchConfiguration]:
    """The arguments of `declare_node_arguments`, to hand on to an included launch file."""
    names = ("params_file", *PARAMETERS, *PROCESS, FASTDDS_PROFILE)
    return {name: LaunchConfiguration(name) for name in names}


def given_parameters(context: LaunchContext) -> dict[str, ParameterValue]:
    """The parameters that were given as launch arguments, in their types: a folder named 0123 stays a text."""
    return {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }


def set_fastdds_profile(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """The environment for large images through shared memory, unless the terminal has a profile of its own.

    Raises:
        ValueError: there is no such file.
    """
    profile = LaunchConfiguration(FASTDDS_PROFILE).perform(context)
    if not profile:
        return [SetEnvironmentVariable(NO_PROFILE_VARIABLE, "1")]
    check_file(FASTDDS_PROFILE, profile)
    return [SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES if name not in os.environ]


def check_file(argument: str, path: str) -> None:
    """Raises a ValueError that names a launch argument whose file does not exist."""
    if not Path(path).is_file():
        raise LisaError(f"{argument} is {path!r}, and there is no such file")


def check_arguments(context: LaunchContext, declared: Iterable[str]) -> list[LogInfo]:
    """Looks for launch arguments that no launch file here reads.

    Args:
        context: has every argument that was given, those of an including launch file too.
        declared: the names of this file's arguments.

    Returns:
        a line in the log for each argument that resembles none: an including file may have its own.

    Raises:
        ValueError: an argument resembles a declared one, so that it is a typing error.
    """
    known = list(declared)
    unknown = [name for name in context.launch_configurations if name not in known]
    for name in unknown:
        if meant := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            raise LisaError(f"There is no launch argument {name!r}; is {meant[0]!r} meant?")
    return [LogInfo(msg=f"There is no launch argument {name!r} in this launch file.") for name in unknown]


def declare_console_arguments() -> list[DeclareLaunchArgument]:
    """The arguments of CONSOLE."""
    return [DeclareLaunchArgument(name, default_value=d, description=text) for name, (d, text) in CONSOLE.items()]


def console_nodes(context: LaunchContext, topics: Mapping[str, str], namespace: Any) -> list[Node]:
    """The console, where `console` is true.

    Args:
        context: of the launch.
        topics: the cameras' namespaces, each with the topic of its images; "": no namespace of its own.
        namespace: of the console's node, and before the cameras' namespaces.
    """
    if not IfCondition(LaunchConfiguration("console")).evaluate(context):
        return []
    port = ParameterValue(LaunchConfiguration("console_port"), value_type=int)
    host = ParameterValue(LaunchConfiguration("console_host"), value_type=str)
    return [
        Node(
            package="lisa_ros",
            executable="console",
            name="console",
            namespace=namespace,
            parameters=[{"cameras": list(topics), "port": port, "host": host}],
            remappings=[(f"{camera}/image" if camera else "image", topic) for camera, topic in topics.items()],
            output="screen",
            emulate_tty=True,
        )
    ]


def names_of(declared: Sequence[Any]) -> list[str]:
    """The names of the launch arguments among a launch description's entities."""
    return [entity.name for entity in declared if isinstance(entity, DeclareLaunchArgument)]
