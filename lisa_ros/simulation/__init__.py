# SPDX-License-Identifier: Apache-2.0
"""A simulated table top: colour, depth and the truth about what lies there."""
