# SPDX-License-Identifier: Apache-2.0
"""Joint training: everything learns together, through masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.simulation.scene import View
from lisa_ros.training.loop.attention import lighten
from lisa_ros.training.loop.losses import mask_loss
from lisa_ros.training.loop.trainer import Scalars
from lisa_ros.training.scenes.batches import Dialogue, draw_view, make_dialogue, sam_batch, step_rng
from lisa_ros.training.scenes.gallery import ROWS, gallery
from lisa_ros.training.stages.dialogues import DialogueStage
from lisa_ros.training.stages.pretraining import batch_iou


class JointStage(DialogueStage):
    """Dialogues about images, and their masks, with upstream's losses; SAM learns too."""

    def __init__(self, network: LisaNetwork, *rest: Any, **more: Any) -> None:
        """Arguments as of DialogueStage."""
        super().__init__(network, *rest, **more)
        network.visual_model.requires_grad_(True)
        lighten(network.visual_model.image_encoder)

    def images(self, number: int) -> NDArray[np.uint8]:
        """Of a batch, the first question with a mask about each view: view, truth, and what is found."""
        rng = step_rng(self._seed, self.name, number)
        views = [draw_view(self._views, rng) for _ in range(ROWS)]
        dialogues = [make_dialogue(view, self._ask(view, rng), self._tokenizer) for view in views]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, targets = self._read([sight.tokens for sight in self._tokens_of(views, rng)], dialogues)
        prompts = self.network.text_hidden_fcs(states[targets == self._seg])
        logits = self._decode(views, dialogues, prompts)
        truth = torch.cat([dialogue.masks for dialogue in dialogues])
        shown = [view for view, dialogue in zip(views, dialogues, strict=True) for _ in dialogue.masks]
        return gallery(shown, logits, truth)

    def _with_masks(
        self,
        loss: torch.Tensor,
        scalars: Scalars,
        views: Sequence[View],
        dialogues: Sequence[Dialogue],
        prompts: torch.Tensor,
    ) -> tuple[torch.Tensor, Scalars]:
        truth = torch.cat([dialogue.masks for dialogue in dialogues])
        found = self._decode(views, dialogues, prompts)
        masks = mask_loss(found, truth)
        return loss + masks, {**scalars, "masks": masks.item(), "iou": batch_iou(found, truth)}

    def _decode(self, views: Sequence[View], dialogues: Sequence[Dialogue], prompts: torch.Tensor) -> torch.Tensor:
        """(n, MASK_SIDE, MASK_SIDE) logits of all masks of a batch."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self.network.visual_model.image_encoder(sam_batch(views))
        features, logits, start = features.float(), [], 0
        for i, dialogue in enumerate(dialogues):
            end = start + len(dialogue.masks)
            if end > start:
                logits.append(self.network.prompted_logits(prompts[start:end], features[i : i + 1]))
            start = end
        nothing = prompts.sum() * torch.cat([dialogue.masks for dialogue in dialogues])
        return torch.cat(logits) if logits else nothing


class DecoderStage(JointStage):
    """As JointStage, but SAM's encoder is not trained."""

    def __init__(self, network: LisaNetwork, *rest: Any, **more: Any) -> None:
        """Arguments as of DialogueStage."""
        super().__init__(network, *rest, **more)
        network.visual_model.image_encoder.requires_grad_(False)
