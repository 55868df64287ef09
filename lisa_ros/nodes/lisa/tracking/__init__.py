# SPDX-License-Identifier: Apache-2.0
"""Follows the last object at camera rate and publishes it."""
