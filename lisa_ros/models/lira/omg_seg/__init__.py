# SPDX-License-Identifier: Apache-2.0
"""OMG-Seg, LIRA's mask decoder."""
