# SPDX-License-Identifier: Apache-2.0
"""LIRA's released pieces: found, described and assembled."""
