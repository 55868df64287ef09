# SPDX-License-Identifier: Apache-2.0
"""Spoken commands without ROS: audio in, voice activity, recognition, correction, spoken answers."""
