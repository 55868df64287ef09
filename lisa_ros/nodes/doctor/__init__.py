# SPDX-License-Identifier: Apache-2.0
"""`lisa doctor`'s view of a running ROS 2 system: topics, the node, and what keeps an answer from coming."""
