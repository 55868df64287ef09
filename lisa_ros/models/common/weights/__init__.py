# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: safetensors and pickles read safely, written whole, quantized."""
