# SPDX-License-Identifier: Apache-2.0
"""Deformable attention over several levels of features (Deformable DETR, arXiv 2010.04159, section 4.1), plain PyTorch.

Each query attends to a few points around its own position in every level, instead of all positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

HEADS, LEVELS, POINTS = 8, 4, 4
"""HIPIE's. They define how its tensors are split, and cannot be read from the tensors' shapes."""

Size = tuple[int, int]
"""(h, w) of a level."""


class DeformableAttention(nn.Module):
    """The module. The parts are named as in checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sampling_offsets = nn.Linear(width, HEADS * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(width, HEADS * LEVELS * POINTS)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(
        self, queries: torch.Tensor, positions: torch.Tensor, memory: torch.Tensor, sizes: Sequence[Size]
    ) -> torch.Tensor:
        """Attend to the memory.

        Args:
            queries: (n, width).
            positions: (n, 2) x, y to attend around, or (n, 4) with w, h of a box to attend to; 0 to 1.
            memory: (tokens, width), the levels one after the other, row by row.
            sizes: of the levels.

        Returns:
            (n, width).
        """
        count = len(queries)
        offsets = self.sampling_offsets(queries).view(count, HEADS, LEVELS, POINTS, 2)
        weights = self.attention_weights(queries).view(count, HEADS, LEVELS * POINTS).softmax(-1)
        values = self.value_proj(memory).view(len(memory), HEADS, -1)
        sampled = _sample(values, _points(offsets, positions, sizes), sizes)
        mixed = torch.einsum("hcns,nhs->nhc", sampled, weights)
        out: torch.Tensor = self.output_proj(mixed.flatten(1))
        return out


def _points(offsets: torch.Tensor, positions: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
    """The sampling points, x and y from 0 to 1: (n, HEADS, LEVELS, POINTS, 2)."""
    centres = positions[:, None, None, None, :2]
    if positions.shape[1] == 4:
        return centres + offsets / POINTS * positions[:, None, None, None, 2:] * 0.5
    cells = torch.tensor([(w, h) for h, w in sizes], dtype=offsets.dtype, device=offsets.device)
    return centres + offsets / cells[:, None, :]


def _sample(values: torch.Tensor, points: torch.Tensor, sizes: Sequence[Size]) -> torch.Tensor:
    """The values (tokens, HEADS, c) at the points -> (HEADS, c, n, LEVELS * POINTS); outside of a level they are 0."""
    found = []
    grids = (2 * points - 1).permute(2, 1, 0, 3, 4)  # (LEVELS, HEADS, n, POINTS, 2)
    levels = values.split([h * w for h, w in sizes])
    for level, grid, (h, w) in zip(levels, grids, sizes, strict=True):
        feature_map = level.permute(1, 2, 0).unflatten(2, (h, w))
        found.append(F.grid_sample(feature_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    return torch.cat(found, dim=-1)
