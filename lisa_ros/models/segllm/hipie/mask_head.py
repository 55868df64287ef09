# SPDX-License-Identifier: Apache-2.0
"""The mask of a query: a small network with weights from the query (CondInst, arXiv 2003.05664, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.segllm.hipie.transformer.perceptron import Perceptron

CHANNELS = 8
"""Of the features that masks are computed from, and of the small network's layers."""
STRIDE = 8
"""Pixels of the canvas that one of those features stands for."""

_LAYERS = ((CHANNELS + 2, CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, 1))
_WEIGHTS = [inputs * outputs for inputs, outputs in _LAYERS]
_BIASES = [outputs for _, outputs in _LAYERS]
PARAMETERS = sum(_WEIGHTS) + sum(_BIASES)
"""Number of the small network's parameters: the weights of the three layers, then their biases."""


class MaskFeatures(nn.Module):
    """The image features that all masks share. The parts are named as in checkpoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lay3 = nn.Conv2d(width, width, 3, padding=1)
        self.lay4 = nn.Conv2d(width, width, 3, padding=1)
        self.jia_dcn = nn.Conv2d(width, width, 3, padding=1)
        self.lay1 = nn.Conv2d(width, width // 4, 3, padding=1)
        self.lay2 = nn.Conv2d(width // 4, CHANNELS, 3, padding=1)

    def forward(self, fine: torch.Tensor, middle: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Levels (width, h, w), (width, h / 2, w / 2), (width, h / 4, w / 4) -> (CHANNELS, h, w)."""
        x = F.relu(self.lay3(coarse.unsqueeze(0)))
        x = F.relu(self.lay4(_enlarged(x, middle) + middle))
        x = F.relu(self.jia_dcn(_enlarged(x, fine) + fine))
        out: torch.Tensor = F.relu(self.lay2(F.relu(self.lay1(x))))
        return out[0]


class MaskHead(nn.Module):
    """From queries to mask logits."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = MaskFeatures(width)
        self.controller = Perceptron([width, width, width, PARAMETERS])

    def forward(self, queries: torch.Tensor, centres: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Mask logits.

        Args:
            queries: (n, width).
            centres: (n, 2) x, y of the box that each query attends to, 0 to 1.
            features: (CHANNELS, h, w) from `features`.

        Returns:
            (n, 2 h, 2 w).
        """
        count = len(queries)
        weights, biases = self.controller(queries).split([sum(_WEIGHTS), sum(_BIASES)], dim=1)
        x = torch.cat([_distances(centres, features), features.expand(count, -1, -1, -1)], dim=1).flatten(2)
        parts = zip(weights.split(_WEIGHTS, dim=1), biases.split(_BIASES, dim=1), _LAYERS, strict=True)
        for i, (weight, bias, (inputs, outputs)) in enumerate(parts):
            x = weight.view(count, outputs, inputs) @ (F.relu(x) if i else x) + bias.unsqueeze(-1)
        return aligned_doubling(x.view(count, *features.shape[1:]))


def _distances(centres: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """From each cell to each centre, pixels of the canvas, x and y: (n, 2, h, w)."""
    _, height, width = features.shape
    rows, columns = (STRIDE * torch.arange(n, device=features.device) + STRIDE // 2 for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    canvas = torch.tensor([STRIDE * width, STRIDE * height], device=features.device)
    return (centres * canvas)[:, :, None, None] - torch.stack([x, y])


def _enlarged(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, like.shape[-2:], mode="nearest")


def aligned_doubling(logits: torch.Tensor) -> torch.Tensor:
    """(n, h, w) -> (n, 2 h, 2 w): bilinear between the cells' corners, as CondInst does; not torch's own doubling."""
    height, width = logits.shape[1:]
    padded = F.pad(logits.unsqueeze(1), (0, 1, 0, 1), mode="replicate")
    doubled = F.interpolate(padded, (2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return F.pad(doubled, (1, 0, 1, 0), mode="replicate")[:, 0, : 2 * height, : 2 * width]
