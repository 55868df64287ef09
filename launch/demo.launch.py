# SPDX-License-Identifier: Apache-2.0
"""A simulated camera, lisa_node and RViz: `ros2 launch lisa_ros demo.launch.py`, or with `rviz:=false`.

Then, in another terminal: `ros2 topic pub --once /lisa/command_text std_msgs/msg/String "{data: 'the blue bottle'}"`.
"""

import os
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

LISA = Path(__file__).with_name("lisa.launch.py")

# Of sim_camera: type, default and meaning. The seed is that of `make demo`, whose commands fit the scene.
CAMERA = {
    "seed": (int, "92", "Scene on the table."),
    "width": (int, "640", "Of the pictures, pixels."),
    "height": (int, "480", "Of the pictures, pixels."),
    "rate_hz": (float, "5.0", "Pictures a second."),
}
# Handed to lisa.launch.py as they are.
LISA_ARGUMENTS = {
    "checkpoint": "Folder of the LISA checkpoint.",
    "quantization": "auto, none, 8bit or 4bit.",
    "device": "auto, cpu or cuda.",
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, both nodes and RViz."""
    config = PathJoinSubstitution([FindPackageShare("lisa_ros"), "config"])
    defaults = PathJoinSubstitution([config, "lisa.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("rviz", default_value="true", description="false: without RViz."),
            *(DeclareLaunchArgument(name, default_value=d, description=text) for name, (_, d, text) in CAMERA.items()),
            DeclareLaunchArgument("params_file", default_value=defaults, description="Parameter file of lisa_node."),
            *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in LISA_ARGUMENTS.items()),
            *large_pictures(),
            camera(),
            lisa_node(),
            GroupAction([OpaqueFunction(function=rviz)], condition=IfCondition(LaunchConfiguration("rviz"))),
        ]
    )


def large_pictures() -> list[SetEnvironmentVariable]:
    """Pictures of any size through shared memory, unless the terminal has settings of its own."""
    profiles = PathJoinSubstitution([FindPackageShare("lisa_ros"), "config", "fastdds.xml"])
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    return [SetEnvironmentVariable(name, profiles) for name in names if name not in os.environ]


def camera() -> Node:
    """The simulated camera."""
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, (kind, _, _) in CAMERA.items()
    }
    return Node(
        package="lisa_ros",
        executable="sim_camera",
        name="sim_camera",
        parameters=[parameters],
        output="screen",
        emulate_tty=True,
    )


def lisa_node() -> IncludeLaunchDescription:
    """The node, as lisa.launch.py starts it."""
    arguments = {name: LaunchConfiguration(name) for name in ("params_file", *LISA_ARGUMENTS)}
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(str(LISA)), launch_arguments=arguments.items())


def rviz(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """RViz, where it is installed."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed; the demo runs without it.")]
    config = PathJoinSubstitution([FindPackageShare("lisa_ros"), "config", "demo.rviz"])
    return [Node(package="rviz2", executable="rviz2", name="rviz", arguments=["-d", config], output="screen")]
