# SPDX-License-Identifier: Apache-2.0
"""The region of an image that shows its objects, and how it is found."""
