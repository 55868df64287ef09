# SPDX-License-Identifier: Apache-2.0
"""Linear layers with ReLU between them, which HIPIE computes boxes, positions and mask filters with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class Perceptron(nn.Module):
    """Linear layers in a row; its parts are named as DETR names them."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Takes the width of the input, of what is between layers, and of the output."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., first width) -> (..., last width)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        out: torch.Tensor = self.layers[-1](x)
        return out
