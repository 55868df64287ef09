# SPDX-License-Identifier: Apache-2.0
"""Starts lisa_node and the node `speech`: `ros2 launch lisa_ros speech.launch.py image:=/camera/color/image_raw`.

Commands are about the image of the moment at which they were begun to be said.
"""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launch_arguments import (
    CONSOLE,
    NODE,
    Argument,
    camera_topics,
    check_arguments,
    config_file,
    declare,
)
from lisa_ros.nodes.common.launching import (
    given,
    given_parameters,
    lisa_node,
    process_options,
    set_fastdds_profile,
)
from lisa_ros.nodes.console.launching import console_nodes

TOPICS = camera_topics()
ARGUMENTS = {
    "namespace": Argument("", "Namespace of both nodes."),
    **TOPICS,
    "speech_params_file": Argument(config_file("speech.yaml"), "Parameter file of `speech`."),
    **NODE,
    **CONSOLE,
}
# A command takes seconds to be said, and the image of its begin must still be there.
SPOKEN = {"command_frame": "nearest", "frame_buffer": 15.0, "max_image_age": 20.0}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Both nodes, and the console if it is wanted."""
    check_arguments(context, __file__, ARGUMENTS)
    console = console_nodes(context, {"": given(context, "image")}, LaunchConfiguration("namespace"))
    return [*set_fastdds_profile(context), lisa_node(context, TOPICS, SPOKEN), speech(context), *console]


def speech(context: LaunchContext) -> Node:
    """The node `speech`, with the vocabulary of the checkpoint and the clock of lisa_node."""
    parameters = given_parameters(context, ("checkpoint", "use_sim_time"))
    return Node(
        package="lisa_ros",
        executable="speech",
        name="speech",
        namespace=LaunchConfiguration("namespace"),
        parameters=[given(context, "speech_params_file"), *([parameters] if parameters else [])],
        **process_options(context),
    )
