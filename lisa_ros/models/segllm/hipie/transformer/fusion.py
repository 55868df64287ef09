# SPDX-License-Identifier: Apache-2.0
"""The words' first meeting with the picture: both attend to each other (GLIP, arXiv 2112.03857, section 3.2)."""

from __future__ import annotations

import torch
from torch import nn

HEADS = 8
"""HIPIE's; no tensor's shape tells it."""


class _Projections(nn.Module):
    """The attention's linear layers, with the names that checkpoints have."""

    def __init__(self, picture: int, words: int, width: int) -> None:
        super().__init__()
        self.v_proj = nn.Linear(picture, width)
        self.l_proj = nn.Linear(words, width)
        self.values_v_proj = nn.Linear(picture, width)
        self.values_l_proj = nn.Linear(words, width)
        self.out_v_proj = nn.Linear(width, picture)
        self.out_l_proj = nn.Linear(width, words)


class Fusion(nn.Module):
    """Attention between the words and the picture, in both directions, from one table of scores.

    Attributes:
        gamma_v, gamma_l: how much each side takes up of the other, a number for each channel.
    """

    def __init__(self, picture: int, words: int, width: int) -> None:
        """Takes the widths of the picture's tokens, of the words and of the attention."""
        super().__init__()
        self.layer_norm_v = nn.LayerNorm(picture)
        self.layer_norm_l = nn.LayerNorm(words)
        self.attn = _Projections(picture, words, width)
        self.gamma_v = nn.Parameter(torch.empty(picture))
        self.gamma_l = nn.Parameter(torch.empty(words))

    def forward(self, picture: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens, picture), (n, words) -> the same shapes; the norm of each side goes on, not the side itself."""
        seen, said = self.layer_norm_v(picture), self.layer_norm_l(words)
        attn = self.attn
        queries, keys = _in_heads(attn.v_proj(seen)), _in_heads(attn.l_proj(said))
        scores = queries @ keys.transpose(1, 2) * queries.shape[-1] ** -0.5
        heard = scores.softmax(-1) @ _in_heads(attn.values_l_proj(said))
        shown = scores.transpose(1, 2).softmax(-1) @ _in_heads(attn.values_v_proj(seen))
        to_picture = attn.out_v_proj(heard.transpose(0, 1).flatten(1))
        to_words = attn.out_l_proj(shown.transpose(0, 1).flatten(1))
        return seen + self.gamma_v * to_picture, said + self.gamma_l * to_words


def _in_heads(x: torch.Tensor) -> torch.Tensor:
    """(n, width) -> (HEADS, n, width / HEADS)."""
    parts: torch.Tensor = x.unflatten(1, (HEADS, -1))
    return parts.transpose(0, 1)
