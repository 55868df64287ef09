# SPDX-License-Identifier: Apache-2.0
"""Fusion of text and image: both attend to each other (GLIP, arXiv 2112.03857, section 3.2)."""

from __future__ import annotations

import torch
from torch import nn

HEADS = 8
"""HIPIE's; it cannot be read from a tensor's shape."""


class _Projections(nn.Module):
    """The attention's linear layers, named as in checkpoints."""

    def __init__(self, image: int, text: int, width: int) -> None:
        super().__init__()
        self.v_proj = nn.Linear(image, width)
        self.l_proj = nn.Linear(text, width)
        self.values_v_proj = nn.Linear(image, width)
        self.values_l_proj = nn.Linear(text, width)
        self.out_v_proj = nn.Linear(width, image)
        self.out_l_proj = nn.Linear(width, text)


class Fusion(nn.Module):
    """Attention between text and image in both directions, from one matrix of scores.

    Attributes:
        gamma_v, gamma_l: scale of the update of image and text, one number per channel.
    """

    def __init__(self, image: int, text: int, width: int) -> None:
        """Takes the widths of image tokens, text tokens and attention."""
        super().__init__()
        self.layer_norm_v = nn.LayerNorm(image)
        self.layer_norm_l = nn.LayerNorm(text)
        self.attn = _Projections(image, text, width)
        self.gamma_v = nn.Parameter(torch.empty(image))
        self.gamma_l = nn.Parameter(torch.empty(text))

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, image), (n, text) -> the same shapes. The updates are added to the normalized inputs."""
        image, text = self.layer_norm_v(image), self.layer_norm_l(text)
        attn = self.attn
        queries, keys = _in_heads(attn.v_proj(image)), _in_heads(attn.l_proj(text))
        scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
        from_text = scores.softmax(-1) @ _in_heads(attn.values_l_proj(text))
        from_image = scores.transpose(1, 2).softmax(-1) @ _in_heads(attn.values_v_proj(image))
        to_image = attn.out_v_proj(from_text.transpose(0, 1).flatten(1))
        to_text = attn.out_l_proj(from_image.transpose(0, 1).flatten(1))
        return image + self.gamma_v * to_image, text + self.gamma_l * to_text


def _in_heads(x: torch.Tensor) -> torch.Tensor:
    """(n, width) -> (HEADS, n, width / HEADS)."""
    parts: torch.Tensor = x.unflatten(1, (HEADS, -1))
    return parts.transpose(0, 1)
