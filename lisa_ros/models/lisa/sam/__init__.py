# SPDX-License-Identifier: Apache-2.0
"""Segment Anything inside LISA: sizes from tensors, input pixels, attention, encoding in the background."""
