# SPDX-License-Identifier: Apache-2.0
"""Data, losses and the recipe of the embedded checkpoint. No ROS."""
