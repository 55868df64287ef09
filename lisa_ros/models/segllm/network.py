# SPDX-License-Identifier: Apache-2.0
"""SegLLM's network: CLIP shows LLaMA the picture and earlier masks, the state before `<seg>` prompts HIPIE."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaModel

from lisa_ros.models.segllm.configuration import SegllmConfig
from lisa_ros.models.segllm.hipie.network import Hipie, HipieSizes

WORDS = 8
"""That HIPIE is prompted with: the first half stands for the mask that is referred to, the second for the answer."""

KEPT = 0.5
"""Share that is taken of a mask's and a box's features: in training, half of them were left out at random."""


class SegllmNetwork(nn.Module):
    """All of SegLLM's weights that an answer depends on, and the steps of its forward pass.

    Attributes:
        language: LLaMA, without its output layer: no word is said.
        vision_tower, mm_projector: CLIP, and what takes its features to LLaMA's width.
        mask_enc_head: from a box to LLaMA's width.
        segmentator_predictor: from the state before `<seg>` to HIPIE's words.
        hipie: from a picture and words to a box and a mask; in float32.
    """

    lm_head = None

    def __init__(self, config: SegllmConfig, vision: CLIPVisionConfig, sizes: HipieSizes) -> None:
        super().__init__()
        hidden = config.language.hidden_size
        self.language: Any = LlamaModel(config.language)
        self.vision_tower: Any = CLIPVisionModel(vision)
        self.mm_projector = _two_layers(config.vision_width, hidden, hidden)
        self.mask_enc_head = nn.Linear(4, hidden)
        self.segmentator_predictor = _two_layers(hidden, hidden, WORDS * sizes.words)
        self.hipie = Hipie(sizes)
        self._select_layer, self._slot = config.select_layer, config.slot_token_id

    @property
    def dtype(self) -> torch.dtype:
        """What LLaMA and CLIP compute in."""
        return self.mask_enc_head.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mask_enc_head.weight.device

    def picture_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """What LLaMA sees of a picture, (1, 3, h, w) from ClipPreprocessing -> (patches, hidden)."""
        projected: torch.Tensor = self.mm_projector(self._clip(pixels)[0, 1:])
        return projected

    def reference_features(self, pixels: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        """What LLaMA sees of an object that is referred to.

        Args:
            pixels: (1, 3, h, w) from ClipPreprocessing, of the object on black.
            box: (4,) y0, x0, y1, x1, 0 to 1 of the canvas.

        Returns:
            (2, hidden): of the mask, and of the box.
        """
        mask = self.mm_projector(self._clip(pixels)[0, :1])
        return KEPT * torch.cat([mask, self.mask_enc_head(box.to(self.device, self.dtype)).unsqueeze(0)])

    def _clip(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 1 + patches, width): the class token, and the patches."""
        out = self.vision_tower(pixels.to(self.device, self.dtype), output_hidden_states=True)
        features: torch.Tensor = out.hidden_states[self._select_layer]
        return features

    def embed(self, ids: torch.Tensor, visual_tokens: torch.Tensor) -> torch.Tensor:
        """LLaMA's input: the words' embeddings, to which features are *added* where `<video>` stands.

        Args:
            ids: (length,) int64.
            visual_tokens: (slots, hidden), one for each `<video>`, in order.

        Returns:
            (1, length, hidden).
        """
        embedded: torch.Tensor = self.language.embed_tokens(ids)
        slots = (ids == self._slot).nonzero()[:, 0]
        return embedded.index_add(0, slots, visual_tokens.to(embedded.dtype)).unsqueeze(0)

    def words(self, state: torch.Tensor) -> torch.Tensor:
        """HIPIE's words (WORDS, width) float32, of the state (1, hidden) before a `<seg>`, after LLaMA's last norm."""
        words: torch.Tensor = self.segmentator_predictor(state)[0].float().unflatten(0, (WORDS, -1))
        return words


def _two_layers(inputs: int, inner: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inner), nn.GELU(), nn.Linear(inner, outputs))
