# SPDX-License-Identifier: Apache-2.0
"""InternVL2's vision encoder: InternViT on square tiles, folding of four patches into one, and `mlp1`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import InternVLVisionConfig, InternVLVisionModel

FOLD = 2
"""Patches on a side that become one token (InternVL2's downsample_ratio of 0.5)."""


class InternVlEncoder(nn.Module):
    """Tiles -> tokens.

    Attributes:
        vision: transformers' InternVLVisionModel, the same network.
        mlp1: LayerNorm, Linear, GELU, Linear.
    """

    def __init__(self, config: InternVLVisionConfig, hidden: int) -> None:
        super().__init__()
        self.vision: Any = InternVLVisionModel(config)
        folded = FOLD * FOLD * config.hidden_size
        self.mlp1 = nn.Sequential(nn.LayerNorm(folded), nn.Linear(folded, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """The language model's input for tiles.

        Args:
            tiles: (n, 3, side, side), normalized.

        Returns:
            (n, tokens, hidden), 256 tokens of a 448-pixel tile.
        """
        like = self.vision.embeddings.cls_token
        states = self.vision(pixel_values=tiles.to(like.device, like.dtype)).last_hidden_state
        out: torch.Tensor = self.mlp1(fold_patches(states[:, 1:]))  # without the class token
        return out


def fold_patches(patches: torch.Tensor) -> torch.Tensor:
    """Folds 2 x 2 neighbouring patches into one, in the order of InternVL's pixel_shuffle "v2".

    Args:
        patches: (n, side * side, width), row by row.

    Returns:
        (n, side * side / 4, 4 * width): in the order top left, top right, bottom left, bottom right.
    """
    count, length, width = patches.shape
    half = int(length**0.5) // FOLD
    grid = patches.reshape(count, half, FOLD, half, FOLD, width)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(count, half * half, FOLD * FOLD * width)
