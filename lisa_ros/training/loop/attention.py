# SPDX-License-Identifier: Apache-2.0
"""Faster attention for training SAM's encoder: the same numbers, without a bias of all patches by all patches."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F


def lighten(encoder: Any) -> None:
    """Freezes the relative positions of the blocks without windows at zero, so that fused attention can be used there.

    The absolute positions remain. What is trained so gives the same features in segment-anything's own code.

    Args:
        encoder: segment-anything's ImageEncoderViT, changed in place.
    """
    for block in encoder.blocks:
        if block.window_size == 0:
            for table in (block.attn.rel_pos_h, block.attn.rel_pos_w):
                table.requires_grad_(False).zero_()
            block.attn.forward = MethodType(_attend, block.attn)


def _attend(self: Any, x: torch.Tensor) -> torch.Tensor:
    """segment-anything's Attention.forward for relative positions of zero; (B, H, W, C) to the same."""
    batch, height, width, _ = x.shape
    qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    mixed = F.scaled_dot_product_attention(query, key, value)
    out: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))
    return out
