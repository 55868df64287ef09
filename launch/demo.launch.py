# SPDX-License-Identifier: Apache-2.0
"""A simulated camera, lisa_node and RViz: `ros2 launch lisa_ros demo.launch.py`, or with `rviz:=false`.

Then, in another terminal: `ros2 topic pub --once /lisa/command_text std_msgs/msg/String "{data: 'the blue bottle'}"`.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import GroupAction, IncludeLaunchDescription, LogInfo, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launch_arguments import (
    CONSOLE,
    NODE,
    Argument,
    check_arguments,
    config_file,
    declare,
    is_true,
)
from lisa_ros.nodes.common.launching import (
    ENDS_WITH_LAUNCH,
    given,
    set_fastdds_profile,
    shared_arguments,
)
from lisa_ros.nodes.console.launching import console_nodes

LISA = Path(__file__).with_name("lisa.launch.py")

# Parameters of sim_camera. The seed is that of `make demo`, whose commands fit the scene.
CAMERA = {
    "seed": Argument("92", "Scene on the table.", int, bounds=(0, 2**31 - 1)),
    "width": Argument("640", "Width of the images, pixels.", int, bounds=(16, 4096)),
    "height": Argument("480", "Height of the images, pixels.", int, bounds=(16, 4096)),
    "rate_hz": Argument("5.0", "Images per second.", float, bounds=(0.1, 100.0)),
}
ARGUMENTS = {
    "namespace": Argument("", "Namespace of all nodes."),
    "rviz": Argument("true", "false: without RViz.", bool),
    **CAMERA,
    **NODE,
    **CONSOLE,
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, both nodes and RViz."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=start_demo)])


def start_demo(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The camera, lisa.launch.py and RViz."""
    check_arguments(context, __file__, ARGUMENTS)
    return [
        *set_fastdds_profile(context),
        camera(context),
        lisa_node(),
        *console_nodes(context, {"": "image"}, LaunchConfiguration("namespace")),
        *([rviz()] if is_true(given(context, "rviz")) else []),
    ]


def camera(context: LaunchContext) -> Node:
    """The simulated camera."""
    return Node(
        package="lisa_ros",
        executable="sim_camera",
        name="sim_camera",
        namespace=LaunchConfiguration("namespace"),
        parameters=[{name: argument.kind(given(context, name)) for name, argument in CAMERA.items()}],
        output="screen",
        emulate_tty=True,
        additional_env=ENDS_WITH_LAUNCH,
    )


def lisa_node() -> GroupAction:
    """The node, as lisa.launch.py starts it, on the camera's topics in the same namespace."""
    arguments = {"namespace": LaunchConfiguration("namespace"), "console": "false", **shared_arguments()}
    source = PythonLaunchDescriptionSource(str(LISA))
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])


def rviz() -> LaunchDescriptionEntity:
    """RViz, where it is installed."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return LogInfo(msg="rviz2 is not installed; the demo runs without it.")
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", config_file("demo.rviz")],
        output="screen",
    )
