# SPDX-License-Identifier: Apache-2.0
"""OMG-Seg (arXiv 2401.10229) as LIRA uses it: pixel and object tokens for the language model, and masks of `[SEG]`.

It is frozen, and computes in float32 whatever the rest does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder

from lisa_ros.models.lira.configuration import OmgSizes
from lisa_ros.models.lira.omg_seg.convnext import ConvNextTrunk
from lisa_ros.models.lira.omg_seg.mask_decoder import MaskDecoder, MaskFeatures
from lisa_ros.models.lira.omg_seg.panoptic import ClassHead, Proposals, pixel_queries


@dataclass(frozen=True)
class EncodedPixels:
    """An image encoded by OMG-Seg.

    Attributes:
        features: for the mask decoder.
        pixel_features: (cells, pixel_width), row by row, one for 64 x 64 pixels of the input.
        object_features: (kept, 2 * width), feature and position of each query that is the likeliest in some cell.
    """

    features: MaskFeatures
    pixel_features: torch.Tensor
    object_features: torch.Tensor


class OmgSeg(nn.Module):
    """The network.

    Attributes:
        backbone: ConvNeXt's trunk.
        pixel_decoder: Mask2Former's, with multi-scale deformable attention; transformers' is mmdet's.
        decoder: of masks.
        class_head: of the panoptic pass.
        query_feat, query_pos: (queries, width), the learned queries of the panoptic pass.
    """

    def __init__(self, sizes: OmgSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = ConvNextTrunk(sizes)
        self.pixel_decoder: Any = Mask2FormerPixelDecoder(_pixel_decoder_config(sizes), list(sizes.stage_widths))
        self.decoder = MaskDecoder(sizes)
        self.class_head = ClassHead(sizes)
        self.query_feat = nn.Parameter(torch.empty(sizes.queries, sizes.width))
        self.query_pos = nn.Parameter(torch.empty(sizes.queries, sizes.width))

    def encode(self, pixels: torch.Tensor) -> EncodedPixels:
        """Encode an image.

        Args:
            pixels: (1, 3, image_size, image_size) from omg_pixels.
        """
        maps = self.backbone(pixels.to(self.query_feat.device, self.query_feat.dtype))
        decoded = self.pixel_decoder(maps, output_attentions=False, output_hidden_states=False, return_dict=True)
        features = MaskFeatures(decoded.mask_features, tuple(decoded.multi_scale_features))
        found = self.propose(features)
        queries, kept = pixel_queries(found, self.sizes.image_size, self.sizes.pixel_tokens)
        pixel_features = torch.cat([space_to_depth(maps[-1])[0], queries], -1)
        return EncodedPixels(features, pixel_features, found.embeddings[kept])

    def propose(self, features: MaskFeatures) -> Proposals:
        """The panoptic pass: the learned queries, decoded, with their class logits."""
        query, masks = self.decoder(features, self.query_feat.unsqueeze(0), self.query_pos.unsqueeze(0))
        logits = self.class_head(self.decoder.post_norm(query), masks[-1], features.mask_features)
        return Proposals(masks[-1][0], logits[0], torch.cat([query[0], self.query_pos], -1))

    def masks(self, prompts: torch.Tensor, features: MaskFeatures) -> list[torch.Tensor]:
        """Masks of independent prompts.

        Args:
            prompts: (n, 2 * width): a query's feature, then its position.
            features: of the image.

        Returns:
            mask logits (n, h, w): before the first layer and after each; the last ones are the result.
        """
        prompts = prompts.to(self.query_feat.dtype).unsqueeze(1)
        query, position = prompts.chunk(2, dim=-1)
        return [masks[:, 0] for masks in self.decoder(features, query, position)[1]]


def space_to_depth(grid: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, h * w / 4, 4 * C): 2 x 2 cells side by side, row, column, then channel."""
    batch, width, height, across = grid.shape
    cells = grid.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, across // 2, 2, width)
    return cells.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * across // 4, 4 * width)


def upsample(logits: torch.Tensor, original: tuple[int, int]) -> torch.Tensor:
    """Mask logits in the size of the image, which was in the middle of a square.

    Args:
        logits: (n, side, side) of the square.
        original: (H, W) of the image.

    Returns:
        (n, H, W).
    """
    height, width = original
    side = max(original)
    top, left = (side - height) // 2, (side - width) // 2
    full = F.interpolate(logits.unsqueeze(1), (side, side), mode="bilinear", align_corners=False)
    return full[:, 0, top : top + height, left : left + width]


def within_square(square: torch.Tensor, original: tuple[int, int]) -> torch.Tensor:
    """The cells of a square (side, side) that an image of (H, W) pixels in its middle covers, at least in part."""
    scale = square.shape[-1] / max(original)
    spans = []
    for length in original:
        begin = (max(original) - length) // 2
        spans.append(slice(math.floor(begin * scale), math.ceil((begin + length) * scale)))
    return square[spans[0], spans[1]]


def _pixel_decoder_config(sizes: OmgSizes) -> Mask2FormerConfig:
    return Mask2FormerConfig(
        feature_size=sizes.width,
        mask_feature_size=sizes.width,
        num_attention_heads=sizes.heads,
        encoder_layers=sizes.encoder_layers,
        encoder_feedforward_dim=sizes.encoder_ffn,
        feature_strides=[4, 8, 16, 32],
        common_stride=4,
        dropout=0.0,
    )
