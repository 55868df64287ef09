# SPDX-License-Identifier: Apache-2.0
"""Starts lisa_node and the node `speech`: `ros2 launch lisa_ros speech.launch.py image:=/camera/color/image_raw`.

Commands are about the image of the moment at which they were begun to be said.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launching import (
    check_arguments,
    check_file,
    config_file,
    declare_node_arguments,
    given_parameters,
    names_of,
    set_fastdds_profile,
)

TOPICS = ("image", "depth", "camera_info")
# A command takes seconds to be said, and the image of its begin must still be there.
SPOKEN = {"command_frame": "nearest", "frame_buffer": 15.0, "max_image_age": 20.0}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of both nodes."),
        *(DeclareLaunchArgument(name, default_value=name, description=f"Topic `{name}`.") for name in TOPICS),
        DeclareLaunchArgument(
            "speech_params_file", default_value=config_file("speech.yaml"), description="Parameter file of `speech`."
        ),
        *declare_node_arguments(),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes, args=[names_of(arguments)])])


def start_nodes(context: LaunchContext, declared: list[str]) -> list[LaunchDescriptionEntity]:
    """Both nodes."""
    unknown = check_arguments(context, declared)
    files = {name: LaunchConfiguration(name).perform(context) for name in ("params_file", "speech_params_file")}
    for name, file in files.items():
        check_file(name, file)
    shared = {"package": "lisa_ros", "namespace": LaunchConfiguration("namespace"), "output": "screen"}
    lisa = Node(
        executable="lisa_node",
        name="lisa",
        parameters=[files["params_file"], SPOKEN, given_parameters(context)],
        remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
        **shared,
    )
    speech = Node(executable="speech", name="speech", parameters=[files["speech_params_file"]], **shared)
    return [*unknown, *set_fastdds_profile(context), lisa, speech]
