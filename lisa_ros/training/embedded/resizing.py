# SPDX-License-Identifier: Apache-2.0
"""Weights of a network with a smaller SAM or a CLIP of fewer layers, for one of today's size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F

ENCODER = "visual_model.image_encoder."
LAYERS = "vision_tower.encoder.layers."
ADDED = {(5, 7): (1, 4)}
"""Of CLIP, by the numbers of its layers before and after: which ones are new."""
SILENT = ("self_attn.out_proj.", "mlp.fc2.")
"""What a layer adds to its input passes through these; a new layer's are zero."""


def resized_weights(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights, with SAM's position embeddings interpolated to the shapes that are wanted, and CLIP's new layers.

    Relative positions of blocks without windows become zero, as `loop.attention.lighten` keeps them. A new layer of
    CLIP is a copy of the one before it that adds nothing yet, so that the features stay (Chen et al., Net2Net,
    arXiv 1511.05641, section 2.3).

    Args:
        weights: of a network with another SAM, or a CLIP with fewer layers, by name.
        wanted: of the network to be filled, by the same names.
    """
    weights = _deeper(weights, _depth(wanted))
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


def _depth(weights: Iterable[str]) -> int:
    """How many layers CLIP has."""
    return len({name.removeprefix(LAYERS).split(".")[0] for name in weights if name.startswith(LAYERS)})


def _deeper(weights: Mapping[str, torch.Tensor], depth: int) -> dict[str, torch.Tensor]:
    """The weights with CLIP's new layers."""
    before = _depth(weights)
    if before == depth:
        return dict(weights)
    if (before, depth) not in ADDED:
        raise ValueError(f"CLIP has {before} layers, not {depth}")
    added = ADDED[before, depth]
    sources = [number - sum(new <= number for new in added) for number in range(depth)]
    deeper = {name: value for name, value in weights.items() if not name.startswith(LAYERS)}
    for number, source in enumerate(sources):
        start = f"{LAYERS}{source}."
        layer = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
        for name, value in layer.items():
            silent = number in added and name.startswith(SILENT)
            deeper[f"{LAYERS}{number}.{name}"] = torch.zeros_like(value) if silent else value.clone()
    return deeper
