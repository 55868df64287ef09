# SPDX-License-Identifier: Apache-2.0
"""What LIRA's language model sees: InternVL's tiles and OMG-Seg's pixels."""
