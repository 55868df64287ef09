# SPDX-License-Identifier: Apache-2.0
"""The visual inputs of LIRA's language model: InternVL's tiles and OMG-Seg's pixels."""
