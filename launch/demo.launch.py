# SPDX-License-Identifier: Apache-2.0
"""A simulated camera, lisa_node and RViz: `ros2 launch lisa_ros demo.launch.py`, or with `rviz:=false`.

Then, in another terminal: `ros2 topic pub --once /lisa/command_text std_msgs/msg/String "{data: 'the blue bottle'}"`.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, LogInfo, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launching import (
    check_arguments,
    config_file,
    console_nodes,
    declare_console_arguments,
    declare_node_arguments,
    names_of,
    set_fastdds_profile,
    shared_arguments,
)

LISA = Path(__file__).with_name("lisa.launch.py")

# Parameters of sim_camera: type, default and meaning. The seed is that of `make demo`, whose commands fit the scene.
CAMERA = {
    "seed": (int, "92", "Scene on the table."),
    "width": (int, "640", "Width of the images, pixels."),
    "height": (int, "480", "Height of the images, pixels."),
    "rate_hz": (float, "5.0", "Images per second."),
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, both nodes and RViz."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of both nodes."),
        DeclareLaunchArgument("rviz", default_value="true", description="false: without RViz."),
        *(DeclareLaunchArgument(name, default_value=d, description=text) for name, (_, d, text) in CAMERA.items()),
        *declare_node_arguments(),
        *declare_console_arguments(),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_demo, args=[names_of(arguments)])])


def start_demo(context: LaunchContext, declared: list[str]) -> list[LaunchDescriptionEntity]:
    """The camera, lisa.launch.py and RViz."""
    return [
        *check_arguments(context, declared),
        *set_fastdds_profile(context),
        camera(),
        lisa_node(),
        *console_nodes(context, {"": "image"}, LaunchConfiguration("namespace")),
        GroupAction([OpaqueFunction(function=rviz)], condition=IfCondition(LaunchConfiguration("rviz"))),
    ]


def camera() -> Node:
    """The simulated camera."""
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, (kind, _, _) in CAMERA.items()
    }
    return Node(
        package="lisa_ros",
        executable="sim_camera",
        name="sim_camera",
        namespace=LaunchConfiguration("namespace"),
        parameters=[parameters],
        output="screen",
        emulate_tty=True,
    )


def lisa_node() -> GroupAction:
    """The node, as lisa.launch.py starts it, on the camera's topics in the same namespace."""
    arguments = {"namespace": LaunchConfiguration("namespace"), "console": "false", **shared_arguments()}
    source = PythonLaunchDescriptionSource(str(LISA))
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])


def rviz(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """RViz, where it is installed."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed; the demo runs without it.")]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz",
            namespace=LaunchConfiguration("namespace"),
            arguments=["-d", config_file("demo.rviz")],
            output="screen",
        )
    ]
