# SPDX-License-Identifier: Apache-2.0
"""One lisa_node for each camera: `ros2 launch lisa_ros multi_camera.launch.py cameras:=front,wrist device:=cuda`.

Each is lisa.launch.py in the camera's namespace: /front/image, /front/lisa, /wrist/image, /wrist/lisa. One parameter
file and one checkpoint serve all.
"""

import re
from pathlib import Path

from launch.actions import GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from lisa_ros.nodes.common.launch_arguments import CONSOLE, NODE, Argument, camera_topics, check_arguments, declare
from lisa_ros.nodes.common.launching import given, set_fastdds_profile, shared_arguments
from lisa_ros.nodes.console.launching import console_nodes
from lisa_ros.segmentation.errors import LisaError

ONE_CAMERA = Path(__file__).with_name("lisa.launch.py")

# In each camera's namespace.
TOPICS = camera_topics("Topic of each colour camera; {camera} is replaced by the camera's name, also in the next two.")
ARGUMENTS = {
    "cameras": Argument(None, "Names of the cameras, with commas between: front,wrist."),
    "namespace": Argument("", "Namespace that is put before each camera's."),
    **TOPICS,
    **NODE,
    **CONSOLE,
}


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """lisa.launch.py for each camera."""
    check_arguments(context, __file__, ARGUMENTS)
    names = camera_names(given(context, "cameras"))
    prefix = given(context, "namespace")
    topics = {topic: given(context, topic) for topic in TOPICS}
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
    return [*cameras, *profile, *console_nodes(context, images, prefix)]


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
        LisaError: there are none, one comes twice, or one is no name of a namespace.
    """
    names = [name.strip().strip("/") for name in text.split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)]
    if not names or wrong or len(set(names)) != len(names):
        raise LisaError(
            f"cameras is {text!r}; it must be different names of letters, digits and _, with commas between"
        )
    return names
