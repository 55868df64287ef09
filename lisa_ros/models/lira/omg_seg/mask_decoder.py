# SPDX-License-Identifier: Apache-2.0
"""OMG-Seg's mask decoder: queries attend to an image's features layer by layer, each within its previous mask.

Mask2Former's decoder (arXiv 2112.01527, section 3.2) with mmdet 3.1.0's order of layers: cross-attention to the image,
self-attention, then two linear layers; a norm after each. In LIRA, the panoptic pass with its 300 queries and every
`[SEG]` use the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.mask2former.modeling_mask2former import Mask2FormerSinePositionEmbedding

from lisa_ros.models.lira.configuration import OmgSizes


@dataclass(frozen=True)
class MaskFeatures:
    """The features that masks are decoded from.

    Attributes:
        mask_features: (1, width, h, w), a quarter of the input's size; a mask is their product with a query.
        memories: (1, width, h', w') of strides 32, 16 and 8.
    """

    mask_features: torch.Tensor
    memories: tuple[torch.Tensor, ...]


class DecoderLayer(nn.Module):
    """One layer. Attention masks keep each query within its mask."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(width, ffn), nn.ReLU(), nn.Linear(ffn, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(
        self,
        query: torch.Tensor,
        position: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        blocked: torch.Tensor,
    ) -> torch.Tensor:
        """One step of the queries.

        Args:
            query: (B, n, width).
            position: (B, n, width), added to the queries in attention.
            keys: (B, cells, width) of the image, with the cells' position encodings.
            values: (B, cells, width) of the image, without them.
            blocked: bool (B * heads, n, cells), True where a query must not attend.

        Returns:
            (B, n, width).
        """
        attended, _ = self.cross_attn(query + position, keys, values, attn_mask=blocked, need_weights=False)
        query = self.norms[0](query + attended)
        placed = query + position
        mixed, _ = self.self_attn(placed, placed, query, need_weights=False)
        query = self.norms[1](query + mixed)
        out: torch.Tensor = self.norms[2](query + self.ffn(query))
        return out


class MaskDecoder(nn.Module):
    """Queries -> masks."""

    def __init__(self, sizes: OmgSizes) -> None:
        super().__init__()
        width = sizes.width
        self._heads = sizes.heads
        self.level_embed = nn.Parameter(torch.empty(3, width))
        self.layers = nn.ModuleList(
            DecoderLayer(width, sizes.heads, sizes.decoder_ffn) for _ in range(sizes.decoder_layers)
        )
        self.post_norm = nn.LayerNorm(width)
        self.mask_embed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self._position = Mask2FormerSinePositionEmbedding(width // 2, normalize=True)

    def forward(
        self, features: MaskFeatures, query: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Decode masks. The rows of a batch are independent.

        Args:
            features: of one image.
            query: (B, n, width).
            position: (B, n, width), added to the queries in attention.

        Returns:
            the queries after the last layer, (B, n, width), and mask logits (B, n, h, w): before the first layer and
            after each; the last ones are the result.
        """
        levels = [self._level(features.memories[i], i) for i in range(3)]
        predictions = [self.masks_of(features, query)]
        for index, layer in enumerate(self.layers):
            keys, values, size = levels[index % 3]
            batch = (len(query), -1, -1)
            blocked = self._blocked(predictions[-1], size)
            query = layer(query, position, keys.expand(batch), values.expand(batch), blocked)
            predictions.append(self.masks_of(features, query))
        return query, predictions

    def masks_of(self, features: MaskFeatures, query: torch.Tensor) -> torch.Tensor:
        """Mask logits (B, n, h, w) of queries (B, n, width)."""
        embedded = self.mask_embed(self.post_norm(query))
        return torch.einsum("bnc,chw->bnhw", embedded, features.mask_features[0])

    def _level(self, memory: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor, Sequence[int]]:
        """Keys and values (1, cells, width) of a memory, and its (h', w').

        The public code also adds the same vector for "frame 0" to every key, which does not change a softmax.
        """
        values = memory.flatten(2).transpose(1, 2) + self.level_embed[index]
        position = self._position(memory.shape, memory.device, memory.dtype)
        return values + position.flatten(2).transpose(1, 2), values, memory.shape[-2:]

    def _blocked(self, masks: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Where each query must not attend; a query with an empty mask attends everywhere."""
        resized = F.interpolate(masks, tuple(size), mode="bilinear", align_corners=False)
        outside = resized.flatten(2).sigmoid() < 0.5
        outside &= ~outside.all(-1, keepdim=True)
        return outside.repeat_interleave(self._heads, dim=0)
