# SPDX-License-Identifier: Apache-2.0
"""An arm on the simulated table that takes what an operator asks for: the camera, the node, a planner and the arm."""
