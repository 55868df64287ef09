# SPDX-License-Identifier: Apache-2.0
"""The image tokens from which decoding starts (Deformable DETR's two-stage variant, arXiv 2010.04159, A.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lisa_ros.models.segllm.hipie.transformer.deformable import Size
from lisa_ros.models.segllm.hipie.transformer.encoder import cell_centres
from lisa_ros.models.segllm.hipie.transformer.perceptron import Perceptron

_SMALLEST_SIDE = 0.05
_MARGIN = 0.01
"""Anchors closer to a border than this are excluded."""


@dataclass(frozen=True)
class Proposals:
    """The best tokens, best first; their order decides which learned query each gets.

    Attributes:
        index: (n,) numbers of the tokens.
        score: (n,) logits.
        boxes: (n, 4) x and y of the centre, width, height of a first guess, 0 to 1.
    """

    index: torch.Tensor
    score: torch.Tensor
    boxes: torch.Tensor


class ProposalStage(nn.Module):
    """Scores every token, independently of the text."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enc_output = nn.Linear(width, width)
        self.enc_output_norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.box = Perceptron([width, width, width, 4])

    def forward(self, memory: torch.Tensor, sizes: Sequence[Size], count: int) -> Proposals:
        """The `count` best of (tokens, width)."""
        anchors = _anchors(sizes, memory.device)
        inside = ((anchors > _MARGIN) & (anchors < 1 - _MARGIN)).all(-1, keepdim=True)
        features = self.enc_output_norm(self.enc_output(memory.masked_fill(~inside, 0.0)))
        score, index = self.score(features)[:, 0].topk(count)
        starts = anchors.logit().masked_fill(~inside, float("inf"))[index]
        return Proposals(index, score, (self.box(features[index]) + starts).sigmoid())


def _anchors(sizes: Sequence[Size], device: torch.device) -> torch.Tensor:
    """A square around every token, larger in coarser levels: (tokens, 4) x, y, w, h."""
    centres = cell_centres(sizes, device).split([h * w for h, w in sizes])
    sides = [torch.full_like(part, _SMALLEST_SIDE * 2.0**level) for level, part in enumerate(centres)]
    return torch.cat([torch.cat(centres), torch.cat(sides)], dim=-1)
