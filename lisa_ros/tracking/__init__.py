# SPDX-License-Identifier: Apache-2.0
"""Follows an object from image to image: the interface, and a tracker by optical flow."""
