# SPDX-License-Identifier: Apache-2.0
"""The blocks of SAM's image encoder with fused attention: segment-anything's weights and results, in less time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

BIAS_BYTES = {"cpu": 8 << 20, "cuda": 256 << 20}
"""Bytes of the bias that are expanded at a time: what fits into a CPU's cache, and little of a GPU's memory."""


def fuse(encoder: Any) -> None:
    """Replaces the blocks of an encoder; the weights and their names stay.

    Args:
        encoder: segment-anything's ImageEncoderViT with relative positions, changed in place.
    """
    encoder.blocks = nn.ModuleList(FusedBlock(block) for block in encoder.blocks)


class FusedBlock(nn.Module):
    """segment-anything's Block; its attention splits the image into windows.

    Attributes:
        window_size: side of the windows, patches; 0: attention over the whole image.
    """

    def __init__(self, block: Any) -> None:
        """Takes the parts of a segment-anything Block."""
        super().__init__()
        self.norm1: nn.Module = block.norm1
        self.attn = FusedAttention(block.attn, block.window_size)
        self.norm2: nn.Module = block.norm2
        self.mlp: nn.Module = block.mlp
        self.window_size: int = block.window_size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to the same."""
        # The patches come with channels first in memory, and every sum would keep that order.
        x = x.contiguous()
        x = x + self.attn(self.norm1(x))
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class FusedAttention(nn.Module):
    """segment-anything's Attention with its windows, by torch's scaled_dot_product_attention.

    The decomposed relative positions (Li et al., MViTv2, arXiv 2112.01526, equation 4) are the attention's bias. It is
    expanded piece by piece: the whole bias, all patches by all patches, would be written and read for each head.
    """

    def __init__(self, attention: Any, window_size: int) -> None:
        """Takes the weights of a segment-anything Attention, and the window of its Block (0: none)."""
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.window_size = window_size
        self.rel_pos_h: nn.Parameter = attention.rel_pos_h
        self.rel_pos_w: nn.Parameter = attention.rel_pos_w
        self.qkv: nn.Linear = attention.qkv
        self.proj: nn.Linear = attention.proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) to the same."""
        batch, height, width, _ = x.shape
        rows, columns = (self.window_size or height), (self.window_size or width)
        parts = self._pad(self.qkv(x), -height % rows, -width % columns)
        down, across = parts.shape[1] // rows, parts.shape[2] // columns
        parts = parts.view(batch, down, rows, across, columns, 3, self.num_heads, -1)
        parts = parts.permute(5, 0, 1, 3, 6, 2, 4, 7).contiguous()
        query, key, value = parts.view(3, -1, rows, columns, parts.shape[-1])
        mixed = self._mix(query, key.flatten(1, 2), value.flatten(1, 2))
        mixed = mixed.view(batch, down, across, self.num_heads, rows, columns, -1).permute(0, 1, 4, 2, 5, 3, 6)
        mixed = mixed.reshape(batch, down * rows, across * columns, -1)
        out: torch.Tensor = self.proj(mixed[:, :height, :width])
        return out

    def _pad(self, parts: torch.Tensor, below: int, right: int) -> torch.Tensor:
        """Pads the queries, keys and values, (B, H, W, 3 C), to whole windows.

        segment-anything pads the input with zeros before the linear layer, whose output for them is its bias.
        """
        if below == 0 and right == 0:
            return parts
        batch, height, width, channels = parts.shape
        padded = parts.new_empty(batch, height + below, width + right, channels)
        padded[:, :height, :width] = parts
        for beside in (padded[:, height:], padded[:, :height, width:]):
            beside[:] = 0.0 if self.qkv.bias is None else self.qkv.bias
        return padded

    def _mix(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention within each head and window.

        Args:
            query: (n, rows, columns, channels of a head).
            key: (n, rows * columns, channels of a head).
            value: likewise.

        Returns:
            (n, rows, columns, channels of a head).
        """
        by_row = torch.einsum("nrcd,rkd->nrck", query, _relative(self.rel_pos_h)).contiguous()
        by_column = torch.einsum("nrcd,ckd->nrck", query, _relative(self.rel_pos_w)).contiguous()
        if by_row.requires_grad:
            # Fused attention gives the bias no gradient on a CPU.
            scores = (query * query.shape[-1] ** -0.5).flatten(1, 2) @ key.transpose(1, 2)
            mixed: torch.Tensor = (scores + _bias(by_row, by_column)).softmax(-1) @ value
            return mixed.view_as(query)
        heads, rows = _piece(query)
        of_heads = zip(*(part.split(heads) for part in (query, key, value, by_row, by_column)), strict=True)
        return torch.cat([_attend_by_rows(rows, *some) for some in of_heads])


def _relative(table: torch.Tensor) -> torch.Tensor:
    """(2 k - 1, channels) by distance -> (k, k, channels) by the positions of query and key."""
    positions = torch.arange((len(table) + 1) // 2, device=table.device)
    return table[positions[:, None] - positions + len(positions) - 1]


def _bias(by_row: torch.Tensor, by_column: torch.Tensor) -> torch.Tensor:
    """(n, r, c, rows) and (n, r, c, columns) -> (n, r * c, rows * columns)."""
    return (by_row[..., None] + by_column[..., None, :]).flatten(3).flatten(1, 2)


def _piece(query: torch.Tensor) -> tuple[int, int]:
    """Number of (heads, rows of queries) whose bias is expanded at a time."""
    _, rows, columns, _ = query.shape
    numbers = BIAS_BYTES.get(query.device.type, BIAS_BYTES["cuda"]) // query.element_size()
    row = columns * rows * columns
    return max(1, numbers // (row * rows)), min(rows, max(1, numbers // row))


def _attend_by_rows(
    rows: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    by_row: torch.Tensor,
    by_column: torch.Tensor,
) -> torch.Tensor:
    """Attention for `rows` rows of queries at a time; the other arguments as in FusedAttention._mix and _bias."""
    mixed = [
        F.scaled_dot_product_attention(some.flatten(1, 2)[None], key[None], value[None], attn_mask=_bias(*bias)[None])
        for some, *bias in zip(*(part.split(rows, 1) for part in (query, by_row, by_column)), strict=True)
    ]
    return torch.cat(mixed, 2)[0].view_as(query)
