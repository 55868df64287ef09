# SPDX-License-Identifier: Apache-2.0
"""SEFE, LIRA's fusion of semantic and pixel features (arXiv 2507.06272): the language model's input for an image."""

from __future__ import annotations

import torch
from torch import nn

from lisa_ros.models.lira.configuration import OmgSizes, SefeSizes


class Sefe(nn.Module):
    """OMG-Seg's tokens, projected, and fused with InternVL's by one attention that pixels and objects share."""

    def __init__(self, sizes: SefeSizes, omg: OmgSizes, hidden: int) -> None:
        super().__init__()
        self.pixel_proj = nn.Sequential(nn.Linear(omg.pixel_width, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.object_proj = nn.Sequential(
            nn.Linear(2 * omg.width, sizes.hidden),
            nn.Linear(sizes.hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        )
        self.attention = nn.MultiheadAttention(hidden, sizes.heads, batch_first=True)
        self.norm_query, self.norm_memory = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.separator_tiles = nn.Parameter(torch.empty(1, hidden))
        self.separator_pixels = nn.Parameter(torch.empty(1, hidden))

    def forward(self, tiles: torch.Tensor, pixels: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Compute the tokens of an image in the language model's input.

        Args:
            tiles: (n, hidden), InternVL's tokens of all tiles.
            pixels: (cells, pixel_width) from OMG-Seg.
            objects: (kept, 2 * width) from OMG-Seg; may be empty.

        Returns:
            (n + 1 + cells + 1 + kept, hidden): tiles, a separator, fused pixels, a separator, fused objects.
        """
        weight = self.separator_tiles
        fused_pixels = self.fuse(self.pixel_proj(pixels.to(weight.dtype)), tiles)
        fused_objects = self.fuse(self.object_proj(objects.to(weight.dtype)), tiles)
        return torch.cat([tiles, weight, fused_pixels, self.separator_pixels, fused_objects])

    def fuse(self, tokens: torch.Tensor, tiles: torch.Tensor) -> torch.Tensor:
        """Tokens (m, hidden) after one attention to the tiles' (n, hidden), without positions or further layers."""
        query, memory = self.norm_query(tokens).unsqueeze(0), self.norm_memory(tiles).unsqueeze(0)
        attended, _ = self.attention(query, memory, memory, need_weights=False)
        fused: torch.Tensor = tokens + attended[0]
        return fused
