# SPDX-License-Identifier: Apache-2.0
"""LIRA's network: InternVL and OMG-Seg encode the image; the state at a `[SEG]` prompts OMG-Seg's mask decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import LlamaModel

from lisa_ros.models.lira.configuration import LiraConfig
from lisa_ros.models.lira.omg_seg.mask_decoder import MaskFeatures
from lisa_ros.models.lira.omg_seg.network import EncodedPixels, OmgSeg
from lisa_ros.models.lira.vision.internvl import InternVlEncoder
from lisa_ros.models.lira.vision.sefe import Sefe


class LiraNetwork(nn.Module):
    """All of LIRA's weights.

    Attributes:
        language, lm_head: InternLM2 in LLaMA's layout, and its output layer.
        internvl: InternViT and `mlp1`.
        omg: OMG-Seg.
        sefe: the projector.
        text2vision: from the state at a `[SEG]` to the query that prompts the mask decoder.
    """

    def __init__(self, config: LiraConfig) -> None:
        super().__init__()
        hidden, query = config.language.hidden_size, 2 * config.omg.width
        inside = config.sefe.text2vision
        self.language: Any = LlamaModel(config.language)
        self.lm_head = nn.Linear(hidden, config.language.vocab_size, bias=False)
        self.internvl = InternVlEncoder(config.vision, hidden)
        self.omg = OmgSeg(config.omg)
        self.sefe = Sefe(config.sefe, config.omg, hidden)
        self.text2vision = nn.Sequential(nn.Linear(hidden, inside), nn.GELU(), nn.Linear(inside, query))

    @property
    def dtype(self) -> torch.dtype:
        """The data type of everything except OMG-Seg."""
        return self.lm_head.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.lm_head.weight.device

    def visual_tokens(self, tiles: torch.Tensor, encoded: EncodedPixels) -> torch.Tensor:
        """The language model's input for an image, (positions, hidden).

        Args:
            tiles: (n, 3, side, side) from tile_pixels.
            encoded: OMG-Seg's part.
        """
        tokens: torch.Tensor = self.sefe(
            self.internvl(tiles).flatten(0, 1), encoded.pixel_features, encoded.object_features
        )
        return tokens

    def mask_logits(self, states: torch.Tensor, features: MaskFeatures) -> torch.Tensor:
        """Low-resolution mask logits (n, h, w), float32, for the states (n, hidden) at `[SEG]`s.

        The state is the one at the position of `[SEG]` itself, not the one that predicted it.
        """
        return self.omg.masks(self.text2vision(states), features)[-1]
