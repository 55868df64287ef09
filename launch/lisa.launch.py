# SPDX-License-Identifier: Apache-2.0
"""Starts one lisa_node: `ros2 launch lisa_ros lisa.launch.py image:=/camera/color/image_raw device:=cuda`.

An argument that is given takes precedence over the parameter file.
"""

from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launch_arguments import CONSOLE, NODE, Argument, camera_topics, check_arguments, declare
from lisa_ros.nodes.common.launching import given, lisa_node, set_fastdds_profile
from lisa_ros.nodes.console.launching import console_nodes

TOPICS = camera_topics()
ARGUMENTS = {"namespace": Argument("", "Namespace of the node: one per camera."), **TOPICS, **NODE, **CONSOLE}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=start_node)])


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node, with the parameters that were given on top of the file's."""
    check_arguments(context, __file__, ARGUMENTS)
    console = console_nodes(context, {"": given(context, "image")}, LaunchConfiguration("namespace"))
    return [*set_fastdds_profile(context), lisa_node(context, TOPICS), *console]
