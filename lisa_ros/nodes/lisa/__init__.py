# SPDX-License-Identifier: Apache-2.0
"""The node that answers commands with masks (`ros2 run lisa_ros lisa_node`)."""
