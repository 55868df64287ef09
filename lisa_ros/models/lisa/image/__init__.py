# SPDX-License-Identifier: Apache-2.0
"""An image as the networks are given it: whole, or the region of its objects; encoded once for all commands."""
