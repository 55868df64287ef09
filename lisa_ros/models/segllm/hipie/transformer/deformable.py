# SPDX-License-Identifier: Apache-2.0
"""Deformable attention over several levels of features (Deformable DETR, arXiv 2010.04159, section 4.1), plain PyTorch.

Each query looks at a few points around its own place in every level, instead of everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

HEADS, LEVELS, POINTS = 8, 4, 4
"""HIPIE's; they are part of how its tensors are cut up, and no tensor's shape tells them apart."""

Size = tuple[int, int]
"""(h, w) of a level."""


class DeformableAttention(nn.Module):
    """The module, with the names that checkpoints have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sampling_offsets = nn.Linear(width, HEADS * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(width, HEADS * LEVELS * POINTS)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(
        self, queries: torch.Tensor, places: torch.Tensor, memory: torch.Tensor, sizes: Sequence[Size]
    ) -> torch.Tensor:
        """Looks at the memory.

        Args:
            queries: (n, width).
            places: (n, 2) x, y around which is looked, or (n, 4) with w, h of a box that is looked into; 0 to 1.
            memory: (tokens, width), the levels one after the other, row by row.
            sizes: of the levels.

        Returns:
            (n, width).
        """
        count = len(queries)
        offsets = self.sampling_offsets(queries).view(count, HEADS, LEVELS, POINTS, 2)
        weights = self.attention_weights(queries).view(count, HEADS, LEVELS * POINTS).softmax(-1)
        values = self.value_proj(memory).view(len(memory), HEADS, -1)
        seen = _sample(values, _points(offsets, places, sizes), sizes)
        mixed = torch.einsum("hcns,nhs->nhc", seen, weights)
        out: torch.Tensor = self.output_proj(mixed.flatten(1))
        return out


def _points(offsets: torch.Tensor, places: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
    """Where is looked, x and y from 0 to 1: (n, HEADS, LEVELS, POINTS, 2)."""
    centres = places[:, None, None, None, :2]
    if places.shape[1] == 4:
        return centres + offsets / POINTS * places[:, None, None, None, 2:] * 0.5
    cells = torch.tensor([(w, h) for h, w in sizes], dtype=offsets.dtype, device=offsets.device)
    return centres + offsets / cells[:, None, :]


def _sample(values: torch.Tensor, points: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
    """The values (tokens, HEADS, c) at the points -> (HEADS, c, n, LEVELS * POINTS); outside of a level they are 0."""
    found = []
    grids = (2 * points - 1).permute(2, 1, 0, 3, 4)  # (LEVELS, HEADS, n, POINTS, 2)
    levels = values.split([h * w for h, w in sizes])
    for level, grid, (h, w) in zip(levels, grids, sizes, strict=True):
        picture = level.permute(1, 2, 0).unflatten(2, (h, w))
        found.append(F.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    return torch.cat(found, dim=-1)
