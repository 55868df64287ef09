# SPDX-License-Identifier: Apache-2.0
"""LISA's network: CLIP and a projector encode the image for LLaMA, a `[SEG]`'s state prompts SAM's mask decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaModel

from lisa_ros.models.common.checkpoints.vision_tower import clip_states
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.sam.network import SamSizes, build_sam


class LisaNetwork(nn.Module):
    """All of LISA's weights, and the steps of its forward pass.

    Attributes:
        language, lm_head: LLaMA and its output layer.
        vision_tower, mm_projector: CLIP, and the linear layer from its features to LLaMA's width.
        text_hidden_fcs: from the state that predicts `[SEG]` to the embedding that prompts SAM.
        visual_model: segment-anything's Sam.
        image_size: side of SAM's square input, pixels.
    """

    def __init__(self, config: LisaConfig, vision: CLIPVisionConfig, sam: SamSizes) -> None:
        super().__init__()
        hidden = config.language.hidden_size
        self.language: Any = LlamaModel(config.language)
        self.lm_head = nn.Linear(hidden, config.language.vocab_size, bias=False)
        self.vision_tower: Any = CLIPVisionModel(vision)
        self.mm_projector = nn.Linear(config.vision_width, hidden)
        self.text_hidden_fcs = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, config.out_dim), nn.Dropout(0.0)
        )
        self.visual_model: Any = build_sam(sam)
        self.image_size = sam.image_size
        self._select_layer = config.select_layer

    @property
    def dtype(self) -> torch.dtype:
        """Number format of LLaMA and CLIP."""
        return self.mm_projector.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mm_projector.weight.device

    def visual_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """An image as LLaMA's input: CLIP's patch features, projected.

        Args:
            pixels: (B, 3, h, w) from ClipPreprocessing.

        Returns:
            (B, patches, hidden).
        """
        projected: torch.Tensor = self.mm_projector(self.patch_features(pixels, (self._select_layer,)))
        return projected

    def patch_features(self, pixels: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
        """CLIP's features of an image's patches.

        Args:
            pixels: (B, 3, h, w) from ClipPreprocessing.
            layers: whose output is taken; 0: the patch embeddings, -1: the last layer.

        Returns:
            (B, patches, len(layers) * vision width).
        """
        states = clip_states(self.vision_tower, pixels.to(self.device, self.dtype), layers)
        # Without the class token, as upstream.
        return torch.cat([state[:, 1:] for state in states], dim=-1)

    def sam_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """An image as the mask decoder's input.

        Args:
            pixels: (B, 3, image_size, image_size) from sam_pixels.

        Returns:
            (B, prompt_width, grid, grid), float32.
        """
        features = self.sam_features_while(lambda: True, pixels)
        assert features is not None
        return features

    def sam_features_while(self, needed: Callable[[], bool], pixels: torch.Tensor) -> torch.Tensor | None:
        """As sam_features; calls `needed` before every block and returns None when that returns False."""
        encoder = self.visual_model.image_encoder
        weight = encoder.patch_embed.proj.weight
        x = encoder.patch_embed(pixels.to(weight.device, weight.dtype)) + encoder.pos_embed
        for block in encoder.blocks:
            if not needed():
                return None
            x = block(x)
        features: torch.Tensor = encoder.neck(x.permute(0, 3, 1, 2))
        return features.float()

    def embed(self, ids: torch.Tensor, visual_tokens: torch.Tensor) -> torch.Tensor:
        """LLaMA's input: the tokens' embeddings, with the image where IMAGE_TOKEN_INDEX stands.

        Args:
            ids: (length,) int64 with one IMAGE_TOKEN_INDEX.
            visual_tokens: (patches, hidden) of the image.

        Returns:
            (1, length - 1 + patches, hidden).
        """
        place = int((ids == IMAGE_TOKEN_INDEX).nonzero()[0])
        before, after = ids[:place], ids[place + 1 :]
        table = self.language.embed_tokens
        return torch.cat([table(before), visual_tokens, table(after)]).unsqueeze(0)

    def mask_logits(
        self, states: torch.Tensor, features: torch.Tensor, pointed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Low-resolution mask logits, one for each state that predicts `[SEG]`.

        Args:
            states: (n, hidden), after LLaMA's last norm, each at the position *before* its `[SEG]`.
            features: (1, prompt_width, grid, grid) of the image.
            pointed: (k, prompt_width) from pointing_prompts, added to each state's own prompt; None: nothing.

        Returns:
            (n, 4 * grid, 4 * grid) float32.
        """
        return self.prompted_logits(self.text_hidden_fcs(states).float(), features, pointed)

    def pointing_prompts(self, points: torch.Tensor, box: torch.Tensor | None) -> torch.Tensor:
        """Sparse prompts for points and a box, by segment-anything's prompt encoder.

        Args:
            points: (p, 2) float32, (x, y) in SAM's input, pixel centres at whole numbers.
            box: (4,) float32, x0, y0, x1, y1 in SAM's input; None: there is none.

        Returns:
            (k, prompt_width) float32: one for each point, a padding one where there is no box, two for a box.
        """
        encoder = self.visual_model.prompt_encoder
        labels = torch.ones(1, len(points), dtype=torch.int, device=points.device)
        sparse, _ = encoder(
            points=(points[None], labels) if len(points) else None,
            boxes=None if box is None else box[None],
            masks=None,
        )
        prompts: torch.Tensor = sparse[0].float()
        return prompts

    def prompted_logits(
        self, prompts: torch.Tensor, features: torch.Tensor, pointed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Low-resolution mask logits for embeddings that prompt the mask decoder.

        The decoder always computes in float32: it is small, and the sign of its output is the mask.

        Args:
            prompts: (n, prompt_width) float32, the sparse prompt of each mask.
            features: (1, prompt_width, grid, grid) of the image.
            pointed: (k, prompt_width) float32, more sparse prompts of every mask; None: none.

        Returns:
            (n, 4 * grid, 4 * grid) float32.
        """
        prompt_encoder = self.visual_model.prompt_encoder
        side = features.shape[-1]
        dense = prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompts), -1, side, side)
        sparse = prompts.unsqueeze(1)
        if pointed is not None:
            sparse = torch.cat([sparse, pointed.expand(len(prompts), -1, -1)], dim=1)
        low, _ = self.visual_model.mask_decoder(
            image_embeddings=features,
            image_pe=prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        logits: torch.Tensor = low[:, 0]
        return logits

    def upsample(self, logits: torch.Tensor, resized: tuple[int, int], original: tuple[int, int]) -> torch.Tensor:
        """Mask logits in the size of the camera's image (segment-anything, Sam.postprocess_masks).

        Args:
            logits: (n, side, side) from mask_logits.
            resized: (h, w) of the image inside SAM's square input.
            original: (H, W) of the camera's image.

        Returns:
            (n, H, W) float32.
        """
        size = (self.image_size, self.image_size)
        full = F.interpolate(logits.unsqueeze(1), size, mode="bilinear", align_corners=False)
        full = full[..., : resized[0], : resized[1]]
        return F.interpolate(full, original, mode="bilinear", align_corners=False)[:, 0]
