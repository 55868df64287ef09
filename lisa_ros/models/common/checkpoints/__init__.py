# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: where they are, what their configuration files contain, how one is opened."""
