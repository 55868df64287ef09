# SPDX-License-Identifier: Apache-2.0
"""What the models share: weights on disk, quantization, prompts, the KV cache, batched decoding."""
