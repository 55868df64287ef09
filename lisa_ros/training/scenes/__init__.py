# SPDX-License-Identifier: Apache-2.0
"""Batches of rendered views, and pictures of what was learned."""
