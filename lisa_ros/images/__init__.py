# SPDX-License-Identifier: Apache-2.0
"""Camera images of every encoding as arrays. numpy and OpenCV only: no ROS."""
