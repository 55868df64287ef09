# SPDX-License-Identifier: Apache-2.0
"""Weights of a network whose SAM had an input of another size, for one of today's size."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

ENCODER = "visual_model.image_encoder."


def resized_weights(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights, with SAM's position embeddings interpolated to the shapes that are wanted.

    Relative positions of blocks without windows become zero, as `loop.attention.lighten` keeps them.

    Args:
        weights: of a network with another SAM, by name.
        wanted: of the network to be filled, by the same names.
    """
    changed = {name: value for name, value in weights.items() if value.shape != wanted[name].shape}
    fitted = {name: _fitted(name, value, wanted[name].shape) for name, value in changed.items()}
    return {**weights, **fitted}


def _fitted(name: str, value: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if name == f"{ENCODER}pos_embed":
        rows = value.permute(0, 3, 1, 2).float()
        grid = F.interpolate(rows, (int(shape[1]), int(shape[2])), mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1).contiguous()
    if name.startswith(ENCODER) and name.endswith(("rel_pos_h", "rel_pos_w")):
        return torch.zeros(shape)
    raise ValueError(f"{name} has the shape {tuple(value.shape)}, not {tuple(shape)}")
