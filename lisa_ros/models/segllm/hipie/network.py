# SPDX-License-Identifier: Apache-2.0
"""HIPIE (arXiv 2307.00764) as SegLLM uses it: from a picture and eight words to one box and one mask.

It computes in float32 whatever the rest does. The words come from LLaMA, not from a text encoder.
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
"""Of tokens and queries; the sines, the mask head and the group norms are built for it."""
CANVAS = 1024
"""Side of HIPIE's square input, pixels."""

_GROUPS = 32


@dataclass(frozen=True)
class HipieSizes:
    """What differs between checkpoints.

    Attributes:
        stem, stages: of the backbone.
        encoder_layers, encoder_inner: layers, and width of their feed-forward part.
        decoder_layers, decoder_inner: likewise.
        fusion: width of the attention between words and picture.
        words: width of a word.
        queries, background: how many there are of each.
    """

    stem: int
    stages: tuple[StageSizes, ...]
    encoder_layers: int
    encoder_inner: int
    decoder_layers: int
    decoder_inner: int
    fusion: int
    words: int
    queries: int
    background: int


@dataclass(frozen=True)
class Features:
    """A picture before any words: (tokens, WIDTH), the levels one after the other, and the levels' sizes."""

    tokens: torch.Tensor
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Read:
    """A picture read with words in mind: (tokens, WIDTH), the levels' sizes, and the words (n, words) themselves."""

    memory: torch.Tensor
    sizes: tuple[Size, ...]
    words: torch.Tensor

    def level(self, number: int) -> torch.Tensor:
        """A level as a picture, (WIDTH, h, w)."""
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
    """How much each query looks like each word (GLIP, arXiv 2112.03857; named as checkpoints name it)."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.dot_product_projection_text = nn.Linear(words, WIDTH)
        self.log_scale = nn.Parameter(torch.empty(1))
        self.bias_lang = nn.Parameter(torch.empty(words))
        self.bias0 = nn.Parameter(torch.empty(1))

    def forward(self, queries: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """(n, WIDTH), (k, words) -> logits (n, k)."""
        words = F.normalize(words, dim=-1)
        projected = self.dot_product_projection_text(words / 2)
        bias = words @ self.bias_lang + self.bias0
        logits: torch.Tensor = queries @ projected.T / self.log_scale.exp() + bias
        return logits


class Hipie(nn.Module):
    """The whole of it, in steps."""

    def __init__(self, sizes: HipieSizes) -> None:
        super().__init__()
        self.backbone = Backbone(sizes.stem, sizes.stages)
        self.input_proj = nn.ModuleList(_projections([stage.outer for stage in sizes.stages[1:]]))
        self.level_embed = nn.Parameter(torch.empty(LEVELS, WIDTH))
        self.encoder = Encoder(WIDTH, sizes.encoder_inner, sizes.encoder_layers, sizes.words, sizes.fusion)
        self.proposals = ProposalStage(WIDTH)
        self.tgt_embed = nn.Embedding(sizes.queries, WIDTH)
        self.tgt_embed_bg = nn.Embedding(sizes.background, WIDTH)
        self.bg_query_refs = nn.Embedding(sizes.background, 4)
        self.decoder = Decoder(WIDTH, sizes.decoder_inner, sizes.decoder_layers)
        self.word_match = WordMatch(sizes.words)
        self.iou_head = nn.Linear(WIDTH, 1)
        self.mask_head = MaskHead(WIDTH)
        self.background = sizes.background

    def encode(self, pixels: torch.Tensor) -> Features:
        """What does not depend on any words.

        Args:
            pixels: (3, CANVAS, CANVAS) normalized, float32.
        """
        seen = self.backbone(pixels.unsqueeze(0))
        levels = [project(x)[0] for project, x in zip(self.input_proj, [*seen, seen[-1]], strict=True)]
        sizes = tuple((level.shape[1], level.shape[2]) for level in levels)
        return Features(torch.cat([level.flatten(1).T for level in levels]), sizes)

    def read(self, features: Features, words: torch.Tensor, wanted: Callable[[], bool] = lambda: True) -> Read | None:
        """Mixes words (n, words) into a picture; None where `wanted`, asked before every layer, says no."""
        read = self.encoder(features.tokens, words, self.level_embed, features.sizes, wanted)
        return None if read is None else Read(read[0], features.sizes, read[1])

    def decode(self, read: Read) -> Decoded:
        """Proposals, and what the queries make of them, the background's in front."""
        proposals = self.proposals(read.memory, read.sizes, len(self.tgt_embed.weight))
        queries = torch.cat([self.tgt_embed_bg.weight, self.tgt_embed.weight])
        boxes = torch.cat([self.bg_query_refs.weight, proposals.boxes])
        decoded: Decoded = self.decoder(queries, boxes, read.memory, read.sizes)
        return decoded

    def rank(self, decoded: Decoded, read: Read) -> Kept:
        """The queries that are left, best first; they are counted without the background's."""
        queries, boxes = decoded.queries[self.background :], decoded.boxes[self.background :]
        return keep(self.word_match(queries, read.words), self.iou_head(queries)[:, 0], boxes)

    def mask_logits(self, decoded: Decoded, read: Read, queries: Sequence[int]) -> torch.Tensor:
        """(n, CANVAS / 4, CANVAS / 4) of some queries, counted with the background's."""
        chosen = list(queries)
        features = self.mask_head.features(read.level(0), read.level(1), read.level(2))
        out: torch.Tensor = self.mask_head(decoded.queries[chosen], decoded.looked_at[chosen, :2], features)
        return out

    def find(self, features: Features, words: torch.Tensor, wanted: Callable[[], bool] = lambda: True) -> Found | None:
        """The one object that the words mean; None where `wanted`, asked between the steps, says no."""
        read = self.read(features, words, wanted)
        if read is None or not wanted():
            return None
        decoded = self.decode(read)
        kept = self.rank(decoded, read)
        query = int(kept.query[kept.chosen])
        place = self.background + query
        box = box_convert(decoded.boxes[place], "cxcywh", "xyxy") * CANVAS
        logits = self.mask_logits(decoded, read, [place])[0]
        return Found(logits, box, float(kept.score[kept.chosen]), query)


def _projections(channels: Sequence[int]) -> list[nn.Sequential]:
    """From the backbone's features to LEVELS levels of WIDTH; the last one is made of the coarsest features."""
    convolutions = [nn.Conv2d(inputs, WIDTH, 1) for inputs in channels]
    convolutions.append(nn.Conv2d(channels[-1], WIDTH, 3, stride=2, padding=1))
    return [nn.Sequential(convolution, nn.GroupNorm(_GROUPS, WIDTH)) for convolution in convolutions]
