# SPDX-License-Identifier: Apache-2.0
"""Shared by several nodes: conversions between messages and arrays, guarded callbacks, start-up."""
