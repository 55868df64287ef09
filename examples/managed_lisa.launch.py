# SPDX-License-Identifier: Apache-2.0
"""lisa_node under nav2's lifecycle manager: `ros2 launch examples/managed_lisa.launch.py`.

The node does not start itself (autostart false). It has no bond, so the manager's bond_timeout is 0. Loading a model
takes longer than the manager waits for a service by default.
"""

from launch_ros.actions import Node

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """The node and its manager."""
    lisa = Node(package="lisa_ros", executable="lisa_node", name="lisa", parameters=[{"autostart": False}])
    manager = Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_perception",
        parameters=[{"node_names": ["lisa"], "autostart": True, "bond_timeout": 0.0, "service_timeout": 120.0}],
    )
    return LaunchDescription([lisa, manager])
