# SPDX-License-Identifier: Apache-2.0
"""Starts one lisa_node: `ros2 launch lisa_ros lisa.launch.py image:=/camera/color/image_raw device:=cuda`.

What is given as an argument wins over the parameter file; what is not given is left to it.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

# Arguments that are topics: what the node takes, by its own names.
TOPICS = {
    "image": "Topic of the colour camera.",
    "depth": "Topic of its depth, registered to the colour image.",
    "camera_info": "Topic of its intrinsics.",
}
# Arguments that are parameters of the node. Empty: as the parameter file has it.
PARAMETERS = {
    "checkpoint": "Folder of the LISA checkpoint.",
    "quantization": "auto, none, 8bit or 4bit.",
    "device": "auto, cpu or cuda.",
    "image_transport": "raw or compressed.",
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, and the node made of them."""
    defaults = PathJoinSubstitution([FindPackageShare("lisa_ros"), "config", "lisa.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node: one per camera."),
            *(DeclareLaunchArgument(name, default_value=name, description=text) for name, text in TOPICS.items()),
            DeclareLaunchArgument("params_file", default_value=defaults, description="Parameter file of the node."),
            *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in PARAMETERS.items()),
            OpaqueFunction(function=start_node),
        ]
    )


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node, with the parameters that were given on top of the file's."""
    given = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    # Without the type, a folder named 0123 would become a number.
    parameters = {name: ParameterValue(value, value_type=str) for name, value in given.items() if value}
    return [
        Node(
            package="lisa_ros",
            executable="lisa_node",
            name="lisa",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), parameters],
            remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
            output="screen",
            emulate_tty=True,
        )
    ]
