# SPDX-License-Identifier: Apache-2.0
"""Readers of published data sets, unchanged from disk."""
