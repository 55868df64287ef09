# SPDX-License-Identifier: Apache-2.0
"""The region of an image that shows its objects, how it is found, and further looks at other regions."""
