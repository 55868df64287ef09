# SPDX-License-Identifier: Apache-2.0
"""Recorded bags in, bags with answers out. Reads and writes rosbag2 through the rosbags library: no ROS."""
