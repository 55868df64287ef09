# SPDX-License-Identifier: Apache-2.0
"""A simulated table top: colour, depth and ground truth of what is on it."""
