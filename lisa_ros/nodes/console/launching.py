# SPDX-License-Identifier: Apache-2.0
"""The console in launch files. Imported by them alone: `launch` comes with ROS 2, not from PyPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext
from lisa_ros.nodes.common.launch_arguments import is_true
from lisa_ros.nodes.common.launching import given, given_parameters, process_options
from lisa_ros.nodes.console.listening import check_address


def console_nodes(context: LaunchContext, topics: Mapping[str, str], namespace: Any) -> list[Node]:
    """The console, where `console` is true.

    Args:
        context: of the launch, its arguments checked.
        topics: the cameras' namespaces, each with the topic of its images; "": no namespace of its own.
        namespace: of the console's node, and before the cameras' namespaces.

    Raises:
        LisaError: no console can ever listen on the address.
    """
    if not is_true(given(context, "console")):
        return []
    port = int(given(context, "console_port"))
    check_address(given(context, "console_host"), port)  # each restart would say the same
    parameters = {
        "cameras": list(topics),
        "port": port,
        "host": ParameterValue(LaunchConfiguration("console_host"), value_type=str),
        **given_parameters(context, ("image_transport", "use_sim_time")),
    }
    return [
        Node(
            package="lisa_ros",
            executable="console",
            name="console",
            namespace=namespace,
            parameters=[parameters],
            remappings=[(f"{camera}/image" if camera else "image", topic) for camera, topic in topics.items()],
            **process_options(context),
        )
    ]
