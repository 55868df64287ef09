# SPDX-License-Identifier: Apache-2.0
"""Starts one lisa_node: `ros2 launch lisa_ros lisa.launch.py image:=/camera/color/image_raw device:=cuda`.

An argument that is given takes precedence over the parameter file.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launching import (
    check_arguments,
    check_file,
    console_nodes,
    declare_console_arguments,
    declare_node_arguments,
    given_parameters,
    names_of,
    set_fastdds_profile,
)

# Arguments that are topics: the node's own names for its inputs.
TOPICS = {
    "image": "Topic of the colour camera.",
    "depth": "Topic of its depth, registered to the colour image.",
    "camera_info": "Topic of its intrinsics.",
}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node: one per camera."),
        *(DeclareLaunchArgument(name, default_value=name, description=text) for name, text in TOPICS.items()),
        *declare_node_arguments(),
        *declare_console_arguments(),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_node, args=[names_of(arguments)])])


def start_node(context: LaunchContext, declared: list[str]) -> list[LaunchDescriptionEntity]:
    """The node, with the parameters that were given on top of the file's."""
    unknown = check_arguments(context, declared)
    params_file = LaunchConfiguration("params_file").perform(context)
    check_file("params_file", params_file)
    node = Node(
        package="lisa_ros",
        executable="lisa_node",
        name="lisa",
        namespace=LaunchConfiguration("namespace"),
        parameters=[params_file, given_parameters(context)],
        remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        respawn=IfCondition(LaunchConfiguration("respawn")).evaluate(context),
        respawn_delay=float(LaunchConfiguration("respawn_delay").perform(context)),
        output="screen",
        emulate_tty=True,
    )
    topics = {"": LaunchConfiguration("image").perform(context)}
    console = console_nodes(context, topics, LaunchConfiguration("namespace"))
    return [*unknown, *set_fastdds_profile(context), node, *console]
