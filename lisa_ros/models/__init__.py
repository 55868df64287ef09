# SPDX-License-Identifier: Apache-2.0
"""Neural networks: a folder for each model, and what they share. No ROS here."""
