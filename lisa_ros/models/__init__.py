# SPDX-License-Identifier: Apache-2.0
"""Neural networks. torch only: no ROS here, and nothing of the package's other rooms."""
