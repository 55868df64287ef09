# SPDX-License-Identifier: Apache-2.0
"""LIRA's answers, step by step."""
