# SPDX-License-Identifier: Apache-2.0
"""HIPIE (arXiv 2307.00764) as SegLLM uses it: from an image and eight text tokens to one box and one mask.

It computes in float32 whatever the rest does. The text tokens come from LLaMA, not from a text encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_convert

from lisa_ros.models.segllm.hipie.backbone import Backbone, StageSizes
from lisa_ros.models.segllm.hipie.choosing import Kept, keep
from lisa_ros.models.segllm.hipie.mask_head import MaskHead
from lisa_ros.models.segllm.hipie.transformer.decoder import Decoded, Decoder
from lisa_ros.models.segllm.hipie.transformer.deformable import LEVELS, Size
from lisa_ros.models.segllm.hipie.transformer.encoder import Encoder
from lisa_ros.models.segllm.hipie.transformer.proposals import ProposalStage

WIDTH = 256
"""Of tokens and queries. The position encodings, the mask head and the group norms need it."""
CANVAS = 1024
"""Side of HIPIE's square input, pixels."""

_GROUPS = 32


@dataclass(frozen=True)
class HipieSizes:
    """The sizes that differ between checkpoints.

    Attributes:
        stem, stages: of the backbone.
        encoder_layers, encoder_inner: layers, and width of their feed-forward part.
        decoder_layers, decoder_inner: likewise.
        fusion: width of the attention between text and image.
        text: width of a text token.
        queries, background: how many there are of each.
    """

    stem: int
    stages: tuple[StageSizes, ...]
    encoder_layers: int
    encoder_inner: int
    decoder_layers: int
    decoder_inner: int
    fusion: int
    text: int
    queries: int
    background: int


@dataclass(frozen=True)
class Features:
    """The features of an image without text: (tokens, WIDTH), level after level, and the sizes of the levels."""

    tokens: torch.Tensor
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Fused:
    """Image features fused with text: (tokens, WIDTH), the sizes of the levels, and the text tokens (n, text)."""

    memory: torch.Tensor
    sizes: tuple[Size, ...]
    text: torch.Tensor

    def level(self, number: int) -> torch.Tensor:
        """A level as a feature map, (WIDTH, h, w)."""
        counts = [h * w for h, w in self.sizes]
        level: torch.Tensor = self.memory.split(counts)[number].T.unflatten(1, self.sizes[number])
        return level


@dataclass(frozen=True)
class Found:
    """The answer.

    Attributes:
        logits: (CANVAS / 4, CANVAS / 4) of the mask.
        box: (4,) x0, y0, x1, y1 in pixels of the canvas; may reach outside.
        score: 0 to 1.
        query: number of the query.
    """

    logits: torch.Tensor
    box: torch.Tensor
    score: float
    query: int


class WordMatch(nn.Module):
    """The similarity of queries and text tokens (GLIP, arXiv 2112.03857). The parts are named as in checkpoints."""

    def __init__(self, text: int) -> None:
        super().__init__()
        self.dot_product_projection_text = nn.Linear(text, WIDTH)
        self.log_scale = nn.Parameter(torch.empty(1))
        self.bias_lang = nn.Parameter(torch.empty(text))
        self.bias0 = nn.Parameter(torch.empty(1))

    def forward(self, queries: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """(n, WIDTH), (k, text) -> logits (n, k)."""
        text = F.normalize(text, dim=-1)
        projected = self.dot_product_projection_text(text / 2)
        bias = text @ self.bias_lang + self.bias0
        logits: torch.Tensor = queries @ projected.T / self.log_scale.exp() + bias
        return logits


class Hipie(nn.Module):
    """The whole network, in steps."""

    def __init__(self, sizes: HipieSizes) -> None:
        super().__init__()
        self.backbone = Backbone(sizes.stem, sizes.stages)
        self.input_proj = nn.ModuleList(_projections([stage.outer for stage in sizes.stages[1:]]))
        self.level_embed = nn.Parameter(torch.empty(LEVELS, WIDTH))
        self.encoder = Encoder(WIDTH, sizes.encoder_inner, sizes.encoder_layers, sizes.text, sizes.fusion)
        self.proposals = ProposalStage(WIDTH)
        self.tgt_embed = nn.Embedding(sizes.queries, WIDTH)
        self.tgt_embed_bg = nn.Embedding(sizes.background, WIDTH)
        self.bg_query_refs = nn.Embedding(sizes.background, 4)
        self.decoder = Decoder(WIDTH, sizes.decoder_inner, sizes.decoder_layers)
        self.word_match = WordMatch(sizes.text)
        self.iou_head = nn.Linear(WIDTH, 1)
        self.mask_head = MaskHead(WIDTH)
        self.background = sizes.background

    def encode(self, pixels: torch.Tensor) -> Features:
        """The part that does not depend on text.

        Args:
            pixels: (3, CANVAS, CANVAS) normalized, float32.
        """
        maps = self.backbone(pixels.unsqueeze(0))
        levels = [project(x)[0] for project, x in zip(self.input_proj, [*maps, maps[-1]], strict=True)]
        sizes = tuple((level.shape[1], level.shape[2]) for level in levels)
        return Features(torch.cat([level.flatten(1).T for level in levels]), sizes)

    def fuse(self, features: Features, text: torch.Tensor, wanted: Callable[[], bool] = lambda: True) -> Fused | None:
        """Fuses text (n, text) into image features; None if `wanted`, called before every layer, returns False."""
        fused = self.encoder(features.tokens, text, self.level_embed, features.sizes, wanted)
        return None if fused is None else Fused(fused[0], features.sizes, fused[1])

    def decode(self, fused: Fused) -> Decoded:
        """Proposals, and the decoded queries, those of the background first."""
        proposals = self.proposals(fused.memory, fused.sizes, len(self.tgt_embed.weight))
        queries = torch.cat([self.tgt_embed_bg.weight, self.tgt_embed.weight])
        boxes = torch.cat([self.bg_query_refs.weight, proposals.boxes])
        decoded: Decoded = self.decoder(queries, boxes, fused.memory, fused.sizes)
        return decoded

    def rank(self, decoded: Decoded, fused: Fused) -> Kept:
        """The remaining queries, best first, numbered without those of the background."""
        queries, boxes = decoded.queries[self.background :], decoded.boxes[self.background :]
        return keep(self.word_match(queries, fused.text), self.iou_head(queries)[:, 0], boxes)

    def mask_logits(self, decoded: Decoded, fused: Fused, queries: Sequence[int]) -> torch.Tensor:
        """(n, CANVAS / 4, CANVAS / 4), of queries numbered with those of the background."""
        chosen = list(queries)
        features = self.mask_head.features(fused.level(0), fused.level(1), fused.level(2))
        out: torch.Tensor = self.mask_head(decoded.queries[chosen], decoded.attended[chosen, :2], features)
        return out

    def find(self, features: Features, text: torch.Tensor, wanted: Callable[[], bool] = lambda: True) -> Found | None:
        """The object that the text describes; None if `wanted`, called between the steps, returns False."""
        fused = self.fuse(features, text, wanted)
        if fused is None or not wanted():
            return None
        decoded = self.decode(fused)
        kept = self.rank(decoded, fused)
        query = int(kept.query[kept.chosen])
        index = self.background + query
        box = box_convert(decoded.boxes[index], "cxcywh", "xyxy") * CANVAS
        logits = self.mask_logits(decoded, fused, [index])[0]
        return Found(logits, box, float(kept.score[kept.chosen]), query)


def _projections(channels: Sequence[int]) -> list[nn.Sequential]:
    """From the backbone's features to LEVELS levels of WIDTH; the last is computed from the coarsest features."""
    convolutions = [nn.Conv2d(inputs, WIDTH, 1) for inputs in channels]
    convolutions.append(nn.Conv2d(channels[-1], WIDTH, 3, stride=2, padding=1))
    return [nn.Sequential(convolution, nn.GroupNorm(_GROUPS, WIDTH)) for convolution in convolutions]
