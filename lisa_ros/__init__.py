# SPDX-License-Identifier: Apache-2.0
"""Points at things in plain language: LISA (Large Language Instructed Segmentation Assistant) on ROS 2.

Start reading at `nodes/lisa_node.py`, then `segmenter.py`, then `models/lisa/`.
"""

__version__ = "0.1.0"
