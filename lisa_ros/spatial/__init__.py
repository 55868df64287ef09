# SPDX-License-Identifier: Apache-2.0
"""Objects in metres: a camera's rays, the points of a mask in registered depth, centroid, box and pose.

Everything is in the camera's optical frame (REP-103: z forward, x right, y down), in metres. The entry point
is `lisa_ros.spatial.locating.locate`. numpy and OpenCV only.
"""
