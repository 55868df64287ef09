# SPDX-License-Identifier: Apache-2.0
"""How fast a model answers, and how much faster than upstream's way of computing with the same weights."""
