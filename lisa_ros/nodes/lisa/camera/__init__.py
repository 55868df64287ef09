# SPDX-License-Identifier: Apache-2.0
"""The camera's frames: buffered, paired with depth, chosen for a command, encoded once."""
