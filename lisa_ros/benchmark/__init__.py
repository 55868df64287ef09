# SPDX-License-Identifier: Apache-2.0
"""How fast a model answers, and how much faster than the public implementation with the same weights."""
