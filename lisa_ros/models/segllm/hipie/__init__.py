# SPDX-License-Identifier: Apache-2.0
"""HIPIE, SegLLM's mask decoder."""
