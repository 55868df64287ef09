# SPDX-License-Identifier: Apache-2.0
"""SegLLM's network: CLIP encodes the image and earlier masks for LLaMA; the state before `<seg>` prompts HIPIE."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaModel

from lisa_ros.models.common.checkpoints.vision_tower import clip_states
from lisa_ros.models.segllm.configuration import SegllmConfig
from lisa_ros.models.segllm.hipie.network import Hipie, HipieSizes

TEXT_TOKENS = 8
"""Length of HIPIE's prompt: the first half stands for the referenced mask, the second for the answer."""

KEPT = 0.5
"""Scale of a reference's features: in training, half of them were dropped at random."""


class SegllmNetwork(nn.Module):
    """The weights of SegLLM that an answer depends on, and the steps of the forward pass.

    Attributes:
        language: LLaMA without its output layer, because no text is generated.
        vision_tower, mm_projector: CLIP, and the projection of its features to LLaMA's width.
        mask_enc_head: from a box to LLaMA's width.
        segmentator_predictor: from the state before `<seg>` to HIPIE's prompt.
        hipie: from an image and a prompt to a box and a mask; in float32.
    """

    lm_head = None

    def __init__(self, config: SegllmConfig, vision: CLIPVisionConfig, sizes: HipieSizes) -> None:
        super().__init__()
        hidden = config.language.hidden_size
        self.language: Any = LlamaModel(config.language)
        self.vision_tower: Any = CLIPVisionModel(vision)
        self.mm_projector = _two_layers(config.vision_width, hidden, hidden)
        self.mask_enc_head = nn.Linear(4, hidden)
        self.segmentator_predictor = _two_layers(hidden, hidden, TEXT_TOKENS * sizes.text)
        self.hipie = Hipie(sizes)
        self._select_layer, self._slot = config.select_layer, config.slot_token_id

    @property
    def dtype(self) -> torch.dtype:
        """The data type of LLaMA and CLIP."""
        return self.mask_enc_head.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.mask_enc_head.weight.device

    def image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """LLaMA's input for an image, (1, 3, h, w) from ClipPreprocessing -> (patches, hidden)."""
        projected: torch.Tensor = self.mm_projector(self._clip(pixels)[0, 1:])
        return projected

    def reference_features(self, pixels: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        """LLaMA's input for a referenced object.

        Args:
            pixels: (1, 3, h, w) from ClipPreprocessing, the object on black.
            box: (4,) y0, x0, y1, x1, 0 to 1 of the canvas.

        Returns:
            (2, hidden): of the mask, and of the box.
        """
        mask = self.mm_projector(self._clip(pixels)[0, :1])
        return KEPT * torch.cat([mask, self.mask_enc_head(box.to(self.device, self.dtype)).unsqueeze(0)])

    def _clip(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 1 + patches, width): the class token, and the patches."""
        return clip_states(self.vision_tower, pixels.to(self.device, self.dtype), (self._select_layer,))[0]

    def embed(self, ids: torch.Tensor, visual_tokens: torch.Tensor) -> torch.Tensor:
        """LLaMA's input: token embeddings, to which features are *added* at `<video>`.

        Args:
            ids: (length,) int64.
            visual_tokens: (slots, hidden), one for each `<video>`, in order.

        Returns:
            (1, length, hidden).
        """
        embedded: torch.Tensor = self.language.embed_tokens(ids)
        slots = (ids == self._slot).nonzero()[:, 0]
        return embedded.index_add(0, slots, visual_tokens.to(embedded.dtype)).unsqueeze(0)

    def hipie_prompt(self, state: torch.Tensor) -> torch.Tensor:
        """HIPIE's prompt (TEXT_TOKENS, width) float32, from the normalized state (1, hidden) before a `<seg>`."""
        prompt: torch.Tensor = self.segmentator_predictor(state)[0].float().unflatten(0, (TEXT_TOKENS, -1))
        return prompt


def _two_layers(inputs: int, inner: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inner), nn.GELU(), nn.Linear(inner, outputs))
