# SPDX-License-Identifier: Apache-2.0
"""The node that publishes a simulated tabletop camera (`ros2 run lisa_ros sim_camera`)."""
