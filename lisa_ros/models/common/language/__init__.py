# SPDX-License-Identifier: Apache-2.0
"""LLaMA decoding: rows with KV caches, batched steps, cached prefixes, CUDA graphs."""
