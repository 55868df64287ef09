# SPDX-License-Identifier: Apache-2.0
"""HIPIE's encoder: text is fused into the image features once; then the features attend to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.segllm.hipie.transformer.deformable import DeformableAttention, Size
from lisa_ros.models.segllm.hipie.transformer.fusion import Fusion
from lisa_ros.models.segllm.hipie.transformer.sines import grid_sines


class EncoderLayer(nn.Module):
    """Deformable attention of the tokens to each other, and a feed-forward part; norms after each."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width)
        self.norm1 = nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, positions: torch.Tensor, centres: torch.Tensor, sizes: Sequence[Size]
    ) -> torch.Tensor:
        """(tokens, width) with their positions (tokens, width) and centres (tokens, 2) -> (tokens, width)."""
        tokens = self.norm1(tokens + self.self_attn(tokens + positions, centres, tokens, sizes))
        out: torch.Tensor = self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return out


class Encoder(nn.Module):
    """The fusion and the layers."""

    def __init__(self, width: int, inner: int, layers: int, text: int, fusion: int) -> None:
        """Takes the widths of tokens, feed-forward part, text and fusion, and the number of layers."""
        super().__init__()
        self.fusion = Fusion(width, text, fusion)
        self.layers = nn.ModuleList(EncoderLayer(width, inner) for _ in range(layers))

    def forward(
        self,
        tokens: torch.Tensor,
        text: torch.Tensor,
        level_embed: torch.Tensor,
        sizes: Sequence[Size],
        wanted: Callable[[], bool] = lambda: True,
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Fuse text into image features.

        Args:
            tokens: (tokens, width), the levels one after the other.
            text: (n, text).
            level_embed: (levels, width), an embedding of each level.
            sizes: of the levels.
            wanted: called before every layer; if it returns False, the result is None.

        Returns:
            the tokens and the text, both changed, in the same shapes.
        """
        parts = [grid_sines(h, w, tokens.device) + mark for (h, w), mark in zip(sizes, level_embed, strict=True)]
        positions, centres = torch.cat(parts), cell_centres(sizes, tokens.device)
        tokens, text = self.fusion(tokens, text)
        for layer in self.layers:
            if not wanted():
                return None
            tokens = layer(tokens, positions, centres, sizes)
        return tokens, text


def cell_centres(sizes: Sequence[Size], device: torch.device) -> torch.Tensor:
    """The centre x, y of every token's cell, 0 to 1: (tokens, 2)."""
    found = []
    for height, width in sizes:
        rows = (torch.arange(height, device=device) + 0.5) / height
        columns = (torch.arange(width, device=device) + 0.5) / width
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        found.append(torch.stack([x, y], dim=-1).flatten(0, 1))
    return torch.cat(found)
