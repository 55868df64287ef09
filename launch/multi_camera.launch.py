# SPDX-License-Identifier: Apache-2.0
"""One lisa_node for each camera: `ros2 launch lisa_ros multi_camera.launch.py cameras:=front,wrist device:=cuda`.

Each is lisa.launch.py in the camera's namespace: /front/image, /front/lisa, /wrist/image, /wrist/lisa. One parameter
file and one checkpoint serve all.
"""

import re
from pathlib import Path

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ONE_CAMERA = Path(__file__).with_name("lisa.launch.py")

# In each camera's namespace.
TOPICS = {
    "image": "Topic of each colour camera; {camera} stands for the camera's name, also in the next two.",
    "depth": "Topic of its depth, registered to the colour image.",
    "camera_info": "Topic of its intrinsics.",
}
# Handed to every node's lisa.launch.py as they are.
SHARED = {
    "checkpoint": "Folder of the LISA checkpoint.",
    "quantization": "auto, none, 8bit or 4bit.",
    "device": "auto, cpu or cuda.",
    "image_transport": "raw or compressed.",
}


def generate_launch_description() -> LaunchDescription:
    """The arguments, and the nodes made of them."""
    defaults = PathJoinSubstitution([FindPackageShare("lisa_ros"), "config", "lisa.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("cameras", description="Names of the cameras, with commas between: front,wrist."),
            DeclareLaunchArgument("namespace", default_value="", description="Put before each camera's namespace."),
            *(DeclareLaunchArgument(name, default_value=name, description=text) for name, text in TOPICS.items()),
            DeclareLaunchArgument("params_file", default_value=defaults, description="Parameter file of all nodes."),
            *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in SHARED.items()),
            OpaqueFunction(function=start_nodes),
        ]
    )


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """lisa.launch.py for each camera."""
    names = camera_names(LaunchConfiguration("cameras").perform(context))
    prefix = LaunchConfiguration("namespace").perform(context).rstrip("/")
    topics = {topic: LaunchConfiguration(topic).perform(context) for topic in TOPICS}
    shared = {name: LaunchConfiguration(name) for name in ("params_file", *SHARED)}
    return [one_camera({"namespace": f"{prefix}/{name}", **topics_of(name, topics), **shared}) for name in names]


def topics_of(camera: str, topics: dict[str, str]) -> dict[str, str]:
    """The topics of one camera."""
    return {topic: name.replace("{camera}", camera) for topic, name in topics.items()}


def one_camera(arguments: dict[str, str | LaunchConfiguration]) -> GroupAction:
    """One camera's node; in a group, so that its arguments do not reach the next camera's."""
    source = PythonLaunchDescriptionSource(str(ONE_CAMERA))
    return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])


def camera_names(text: str) -> list[str]:
    """The names between the commas.

    Raises:
        ValueError: there are none, one comes twice, or one is no name of a namespace.
    """
    names = [name.strip().strip("/") for name in text.split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)]
    if not names or wrong or len(set(names)) != len(names):
        raise ValueError(
            f"cameras is {text!r}; it must be different names of letters, digits and _, with commas between"
        )
    return names
