# SPDX-License-Identifier: Apache-2.0
"""Batches of rendered views, and images of what was learned."""
