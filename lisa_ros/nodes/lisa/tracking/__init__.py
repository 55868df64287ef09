# SPDX-License-Identifier: Apache-2.0
"""Tracks the most recently answered object at camera rate and publishes it."""
