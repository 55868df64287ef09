# SPDX-License-Identifier: Apache-2.0
"""The parts joined: LLaMA learns to talk about what CLIP shows it, then everything learns together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.tokenizer import IMAGE_TOKEN_INDEX, LisaTokenizer
from lisa_ros.simulation.scene import View
from lisa_ros.training.batches import (
    IGNORED,
    Dialogue,
    Rng,
    clip_batch,
    draw_view,
    make_dialogue,
    sam_batch,
    step_rng,
)
from lisa_ros.training.losses import mask_loss
from lisa_ros.training.pretraining import batch_iou, codes
from lisa_ros.training.questions import WEIGHTS, conversation
from lisa_ros.training.scenes import ViewCache
from lisa_ros.training.trainer import Scalars


class DialogueStage(nn.Module):
    """Dialogues of several turns; several questions share what the picture costs to look at."""

    def __init__(
        self,
        network: LisaNetwork,
        views: ViewCache,
        clip: ClipPreprocessing,
        tokenizer: LisaTokenizer,
        *,
        name: str,
        seed: int,
        batch: int,
        turns: int,
        sees: bool,
        with_masks: bool,
        code_weight: float,
    ) -> None:
        """Trains all of `network`; without masks, all but SAM; where it does not see, LLaMA and its heads alone.

        Args:
            network: trained in place.
            views: what the dialogues are about.
            clip: CLIP's preprocessing.
            tokenizer: the checkpoint's.
            name: of the stage; part of the seed.
            seed: source of all chance.
            batch: views a step, one dialogue each.
            turns: the longest dialogue; each is 1 to this many turns long.
            sees: show LLaMA the pictures. Without them it learns what the words mean, on sequences a quarter as
                long, and is asked for nothing that is absent.
            with_masks: decode masks and learn from them.
            code_weight: weight of the squared error between what `[SEG]` says and the code of what is meant.
        """
        super().__init__()
        self.network = network
        network.visual_model.requires_grad_(with_masks)
        network.vision_tower.requires_grad_(sees)
        network.mm_projector.requires_grad_(sees)
        self._views, self._clip, self._tokenizer = views, clip, tokenizer
        self._name, self._seed, self._batch, self._turns = name, seed, batch, turns
        self._sees, self._with_masks, self._code_weight = sees, with_masks, code_weight
        self._families = {family: share for family, share in WEIGHTS.items() if sees or family != "absent"}
        self._seg = tokenizer.encode("[SEG]")[0]

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, self._name, number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        dialogues = [self._draw_dialogue(view, rng) for view in views]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, targets = self._read(views, dialogues)
        said = targets != IGNORED
        chosen = states[said]
        words = F.cross_entropy(self.network.lm_head(chosen), targets[said])
        seg_states = states[targets == self._seg]
        prompts = self.network.text_hidden_fcs(seg_states)
        wanted = codes(torch.cat([dialogue.meanings for dialogue in dialogues]))
        code = F.mse_loss(prompts, wanted) if len(prompts) else prompts.sum()
        loss = words + self._code_weight * code
        scalars = {"words": words.item(), "code": code.item()}
        if self._with_masks:
            masks, iou = self._mask_loss(views, dialogues, prompts)
            loss, scalars = loss + masks, {**scalars, "masks": masks.item(), "iou": iou}
        return loss, scalars

    def _draw_dialogue(self, view: View, rng: Rng) -> Dialogue:
        turns = int(rng.integers(1, self._turns + 1))
        return make_dialogue(view, conversation(view, rng, turns, weights=self._families), self._tokenizer)

    def _visual_tokens(self, views: Sequence[View]) -> torch.Tensor:
        """(B, patches, hidden); no patches where it does not see."""
        if self._sees:
            return self.network.visual_tokens(clip_batch(views, self._clip))
        return torch.zeros(len(views), 0, self.network.lm_head.in_features)

    def _read(self, views: Sequence[View], dialogues: Sequence[Dialogue]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, length, hidden) states, and (B, length) ids that each state has to say."""
        visual = self._visual_tokens(views)
        rows, targets = [], []
        for dialogue, tokens in zip(dialogues, visual, strict=True):
            rows.append(self.network.embed(dialogue.ids, tokens)[0])
            targets.append(_shifted(dialogue, len(tokens)))
        # Padding comes after everything that counts, and attention is causal: it needs no mask.
        inputs = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        wanted = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED)
        states = self.network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return states.float(), wanted

    def _mask_loss(
        self, views: Sequence[View], dialogues: Sequence[Dialogue], prompts: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self.network.visual_model.image_encoder(sam_batch(views))
        features, logits, start = features.float(), [], 0
        for i, dialogue in enumerate(dialogues):
            end = start + len(dialogue.masks)
            if end > start:
                logits.append(self.network.prompted_logits(prompts[start:end], features[i : i + 1]))
            start = end
        truth = torch.cat([dialogue.masks for dialogue in dialogues])
        found = torch.cat(logits) if logits else prompts.sum() * torch.zeros_like(truth)
        return mask_loss(found, truth), batch_iou(found, truth)


def _shifted(dialogue: Dialogue, patches: int) -> torch.Tensor:
    """What the state at each position has to say: the next target, the picture's patches in place of their id."""
    place = int((dialogue.ids == IMAGE_TOKEN_INDEX).nonzero()[0])
    spread = torch.cat(
        [
            dialogue.targets[:place],
            torch.full((patches,), IGNORED),
            dialogue.targets[place + 1 :],
        ]
    )
    return torch.cat([spread[1:], torch.full((1,), IGNORED)])
