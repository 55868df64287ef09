#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command with ROS 2, the virtual environment and the workspace sourced.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /ws/.venv/bin/activate
source /ws/install/setup.bash
exec "$@"
