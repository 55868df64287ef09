# SPDX-License-Identifier: Apache-2.0
"""One lisa_node for each camera: `ros2 launch lisa_ros multi_camera.launch.py cameras:=front,wrist device:=cuda`.

Each is lisa.launch.py in the camera's namespace: /front/image, /front/lisa, /wrist/image, /wrist/lisa. One parameter
file and one checkpoint serve all.
"""

import re
from pathlib import Path

from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launching import (
    check_arguments,
    console_nodes,
    declare_console_arguments,
    declare_node_arguments,
    names_of,
    set_fastdds_profile,
    shared_arguments,
)

ONE_CAMERA = Path(__file__).with_name("lisa.launch.py")

# In each camera's namespace.
TOPICS = {
    "image": "Topic of each colour camera; {camera} is replaced by the camera's name, also in the next two.",
    "depth": "Topic of its depth, registered to the colour image.",
    "camera_info": "Topic of its intrinsics.",
}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    arguments = [
        DeclareLaunchArgument("cameras", description="Names of the cameras, with commas between: front,wrist."),
        DeclareLaunchArgument("namespace", default_value="", description="Put before each camera's namespace."),
        *(DeclareLaunchArgument(name, default_value=name, description=text) for name, text in TOPICS.items()),
        *declare_node_arguments(),
        *declare_console_arguments(),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start_nodes, args=[names_of(arguments)])])


def start_nodes(context: LaunchContext, declared: list[str]) -> list[LaunchDescriptionEntity]:
    """lisa.launch.py for each camera."""
    unknown = check_arguments(context, declared)
    names = camera_names(LaunchConfiguration("cameras").perform(context))
    prefix = LaunchConfiguration("namespace").perform(context)
    topics = {topic: LaunchConfiguration(topic).perform(context) for topic in TOPICS}
    cameras = [
        one_camera(
            {
                "namespace": below(prefix, name),
                "console": "false",
                **topics_of(name, topics),
                **shared_arguments(),
            }
        )
        for name in names
    ]
    # A camera's topic is relative to its namespace, and the console lies above all of them.
    images = {name: console_topic(name, topics_of(name, topics)["image"]) for name in names}
    # For the console: the cameras' launch files have it in their own scopes alone.
    profile = set_fastdds_profile(context)
    return [*unknown, *cameras, *profile, *console_nodes(context, images, prefix)]


def console_topic(camera: str, topic: str) -> str:
    """The topic of a camera's images as a node above the camera's namespace names it."""
    return topic if topic.startswith("/") else f"{camera}/{topic}"


def below(namespace: str, name: str) -> str:
    """A name below a namespace; without one, below the namespace of an including launch file."""
    return f"{namespace.rstrip('/')}/{name}" if namespace else name


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
