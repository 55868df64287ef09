# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes: thin callbacks between messages and the other packages."""
