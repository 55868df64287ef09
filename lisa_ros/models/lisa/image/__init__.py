# SPDX-License-Identifier: Apache-2.0
"""The region of an image that shows its objects, how it is found, and answers from other crops."""
