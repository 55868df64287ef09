# SPDX-License-Identifier: Apache-2.0
"""Position encodings by sines and cosines, as in DETR and its descendants."""

from __future__ import annotations

import math

import torch

CHANNELS = 128
"""Of one coordinate."""

_TEMPERATURE = 10000.0
_EPSILON = 1e-6


def sines(coordinates: torch.Tensor) -> torch.Tensor:
    """(n, k) angles, radians -> (n, k * CHANNELS): sine and cosine in turn, at frequencies from 1 to 1 / 10000."""
    pairs = torch.arange(CHANNELS, dtype=torch.float32, device=coordinates.device) // 2
    angles = coordinates.unsqueeze(-1) / _TEMPERATURE ** (2 * pairs / CHANNELS)
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(1)


def grid_sines(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Position encodings of a level's cells (Deformable DETR's, for an image without padding).

    Returns:
        (height * width, 2 * CHANNELS), y first.
    """
    rows = (torch.arange(height, device=device) + 0.5) / (height + _EPSILON) * 2 * math.pi
    columns = (torch.arange(width, device=device) + 0.5) / (width + _EPSILON) * 2 * math.pi
    positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    return sines(positions)


def box_sines(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (n, 4) x, y, w, h from 0 to 1 -> (n, 4 * CHANNELS), in the order y, x, w, h (DAB-DETR's)."""
    return sines(boxes[:, [1, 0, 2, 3]] * 2 * math.pi)
