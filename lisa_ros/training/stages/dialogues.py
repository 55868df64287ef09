# SPDX-License-Identifier: Apache-2.0
"""The language model's training: it learns words, to look at hints, and to talk about what CLIP shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.simulation.scene import KINDS, SceneObject, View
from lisa_ros.tabletop.questions.conversation import ALL_WEIGHTS, WEIGHTS, Question, conversation
from lisa_ros.tabletop.questions.descriptions import middle
from lisa_ros.tabletop.questions.question import PLAIN, FollowUpMix
from lisa_ros.training.embedded.codes import COLOUR_NAMES, WAVES, Meaning, codes, waves
from lisa_ros.training.language.other_object import Drawn, draw_other_object, with_a_twin
from lisa_ros.training.loop.trainer import Scalars
from lisa_ros.training.scenes.batches import (
    IGNORED,
    Dialogue,
    Rng,
    Views,
    clip_batch,
    draw_numbered,
    make_dialogue,
    sam_point,
    shared_look,
    step_rng,
)
from lisa_ros.training.stages.hints import GRID, NAMED, READ_WIDTH, hints, owners, stacked
from lisa_ros.training.stages.pretraining import patch_features, telling_patches

SHOWS = 0.15
"""Hints with noise tell about this much of "something is here" where nothing is."""
SMALLEST_ASKED = 1 / 1200
"""Share of the image that an object covers at least to be asked for, in varied dialogues."""
EMPTY_KEPT = 0.06
"""Share of the empty patches that are shown among hints."""

Sight = Literal["nothing", "hints", "images"]


@dataclass(frozen=True)
class Seen:
    """What LLaMA is shown of a view: tokens (n, hidden) of some patches, and their numbers (n,), row by row."""

    tokens: torch.Tensor
    patches: torch.Tensor


def _point(view: View, item: SceneObject) -> tuple[float, float]:
    return sam_point(view, middle(view, item.instance))


class DialogueStage(nn.Module):
    """Dialogues of several turns; several questions share what the image costs to look at."""

    def __init__(
        self,
        network: LisaNetwork,
        views: Views,
        clip: ClipPreprocessing,
        tokenizer: LisaTokenizer,
        *,
        name: str,
        seed: int,
        batch: int,
        turns: int,
        sees: Sight,
        code_weight: float,
        families: Sequence[str] = tuple(WEIGHTS),
        crowding: int | None = None,
        kept: int | None = None,
        trains_clip: bool = True,
        mix: FollowUpMix = PLAIN,
        other_objects: int = 0,
        varied: bool = False,
    ) -> None:
        """Trains all of `network` but SAM; where it sees no images, LLaMA and its heads alone.

        Args:
            network: trained in place.
            views: what the dialogues are about.
            clip: CLIP's preprocessing.
            tokenizer: the checkpoint's.
            name: of the stage; part of the seed.
            seed: source of all chance.
            batch: views a step, one dialogue each.
            turns: the longest dialogue; each is 1 to this many turns long.
            sees: what LLaMA is shown. From nothing it learns what the words mean; from hints it learns to look
                before CLIP does.
            code_weight: weight of the squared error between what `[SEG]` says and the code of what is meant.
            families: of questions that are asked.
            kept: patches of each image that LLaMA is shown, see pretraining.telling_patches; None: all.
            trains_clip: CLIP learns too, where it sees images.
            mix: how often follow-ups ask for what is not there.
            other_objects: how many of a batch's dialogues are lessons of other_object.py.
            varied: questions of all families, typed as many people do, also about small objects.
            crowding: steps after which one more object is shown that is not meant; None: all are shown always.
        """
        super().__init__()
        self.network = network
        # Its backward pass takes 27 ms where that of torch's fused attention takes 44 (bf16, one core).
        network.language.set_attn_implementation("eager")
        network.visual_model.requires_grad_(False)
        network.vision_tower.requires_grad_(sees == "images" and trains_clip)
        network.mm_projector.requires_grad_(sees == "images")
        self.from_hints = _hints_as_words(network, tokenizer) if sees == "hints" else None
        self._views, self._clip, self._tokenizer = views, clip, tokenizer
        self.name, self._seed, self._batch, self._turns = name, seed, batch, turns
        self._sees, self._code_weight = sees, code_weight
        self._families = dict(ALL_WEIGHTS) if varied else {family: WEIGHTS[family] for family in families}
        self._varied = varied
        self._crowding, self._kept, self._teasing = crowding, kept, mix
        self._contrasts = other_objects
        self._seg = tokenizer.encode("[SEG]")[0]

    def describe(self, number: int) -> str:
        """The views and questions of a batch."""
        drawn, asked = self._draw(step_rng(self._seed, self.name, number))
        texts = [[question.text for question in questions] for questions in asked]
        return "; ".join(f"view {number}: {said}" for (number, _), said in zip(drawn, texts, strict=True))

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, self.name, number)
        drawn, asked = self._draw(rng)
        views = [view for _, view in drawn]
        dialogues = [make_dialogue(*pair, self._tokenizer) for pair in zip(views, asked, strict=True)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shown = [self._uncrowded(*pair, number, rng) for pair in zip(views, dialogues, strict=True)]
            seen = self._see(shown, rng)
            states, targets = self._read([sight.tokens for sight in seen], dialogues)
        said = targets != IGNORED
        chosen = states[said]
        words = F.cross_entropy(self.network.lm_head(chosen), targets[said])
        seg_states = states[targets == self._seg]
        prompts = self.network.text_hidden_fcs(seg_states)
        wanted = self._codes([meaning for dialogue in dialogues for meaning in dialogue.meanings])
        code = F.mse_loss(prompts, wanted) if len(prompts) else prompts.sum()
        known = self._known_loss(states, seen, shown, dialogues)
        loss = words + self._code_weight * (code + known)
        scalars = {"words": words.item(), "code": code.item(), "known": known.item()}
        return self._with_masks(loss, scalars, views, dialogues, prompts)

    def _with_masks(
        self,
        loss: torch.Tensor,
        scalars: Scalars,
        views: Sequence[View],
        dialogues: Sequence[Dialogue],
        prompts: torch.Tensor,
    ) -> tuple[torch.Tensor, Scalars]:
        """Loss and scalars with what masks add to them: nothing here."""
        return loss, scalars

    def _draw(self, rng: Rng) -> tuple[list[Drawn], list[list[Question]]]:
        """The views of a batch with their numbers, and what is asked about each."""
        drawn = [draw_numbered(self._views, rng) for _ in range(self._batch - self._contrasts)]
        asked = [self._ask(view, rng) for _, view in drawn]
        lessons = [draw_other_object(partial(self._draw_lesson, rng), rng) for _ in range(self._contrasts)]
        return drawn + [one for one, _ in lessons], asked + [questions for _, questions in lessons]

    def _draw_lesson(self, rng: Rng) -> Drawn:
        number, view = draw_numbered(self._views, rng)
        return number, with_a_twin(view, rng) if self._sees == "hints" else view

    def _ask(self, view: View, rng: Rng) -> list[Question]:
        turns = int(rng.integers(1, self._turns + 1))
        more: dict[str, Any] = {"varied": True, "min_pixels": round(SMALLEST_ASKED * view.instances.size)}
        return conversation(
            view,
            rng,
            turns,
            weights=self._families,
            learning=True,
            mix=self._teasing,
            **(more if self._varied else {}),
        )

    def _codes(self, meanings: Sequence[Meaning]) -> torch.Tensor:
        """(n, PROMPT_WIDTH); where nothing is to be seen, they do not tell where."""
        if self._sees == "nothing":
            meanings = [replace(meaning, points=()) for meaning in meanings]
        return codes(meanings)

    def _uncrowded(self, view: View, dialogue: Dialogue, number: int, rng: Rng) -> View:
        """Among hints, first only what is meant is shown, then one other object, then two ... and at last all.

        Where to attend and what to take from there are learned one after the other: with all objects shown from the
        start, neither was learned in 400 steps.
        """
        if self._crowding is None:
            return view
        meant = [item for item in view.objects if item.instance in dialogue.instances]
        others = [item for item in view.objects if item.instance not in dialogue.instances]
        rng.shuffle(others)  # type: ignore[arg-type]
        count = number // self._crowding + (0 if meant else 2)
        return replace(view, objects=(*meant, *others[:count]))

    def _see(self, views: Sequence[View], rng: Rng) -> list[Seen]:
        if self._sees == "images":
            return self._see_images(views, rng)
        if self.from_hints is None:
            nothing = torch.zeros(0, dtype=torch.int64)
            return [Seen(torch.zeros(0, self.network.lm_head.in_features), nothing) for _ in views]
        told = [hints(view, waves, rng) for view in views]
        kept = [self._telling(one, rng) for one in told]
        return [Seen(self.from_hints(one[patches]), patches) for one, patches in zip(told, kept, strict=True)]

    def _see_images(self, views: Sequence[View], rng: Rng) -> list[Seen]:
        pixels = clip_batch(views, self._clip)
        if self._kept is None:
            every = torch.arange(GRID * GRID)
            return [Seen(tokens, every) for tokens in self.network.visual_tokens(pixels)]
        kept = telling_patches(stacked(views, waves), self._kept, rng)
        tokens = self.network.mm_projector(patch_features(self.network.vision_tower, pixels, kept))
        return [Seen(*pair) for pair in zip(tokens, kept, strict=True)]

    def _known_loss(
        self, states: torch.Tensor, seen: Sequence[Seen], views: Sequence[View], dialogues: Sequence[Dialogue]
    ) -> torch.Tensor:
        """What `[SEG]` would say at a patch is the code of what is there: so there is something to look up."""
        found, wanted = [states.new_zeros(0, states.shape[-1])], [self._codes([])]
        for row, sight, view, dialogue in zip(states, seen, views, dialogues, strict=True):
            owner = owners(view)[sight.patches]
            place = int((dialogue.ids == IMAGE_TOKEN_INDEX).nonzero()[0])
            found.append(row[place : place + len(owner)][owner >= 0])
            meanings = [Meaning(*shared_look([item]), (_point(view, item),)) for item in view.objects]
            wanted.append(self._codes(meanings)[owner[owner >= 0]])
        told = torch.cat(wanted)
        said = self.network.text_hidden_fcs(torch.cat(found))
        return F.mse_loss(said, told) if len(told) else said.sum()

    def _telling(self, told: torch.Tensor, rng: Rng) -> torch.Tensor:
        """The patches that show something, and a few others: sequences a third as long."""
        shows = told[:, len(KINDS) + len(COLOUR_NAMES)] > SHOWS
        return (shows | torch.from_numpy(rng.random(len(told)) < EMPTY_KEPT)).nonzero()[:, 0]

    def _read(self, visual: Sequence[torch.Tensor], dialogues: Sequence[Dialogue]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, length, hidden) states, and (B, length) ids that each state has to say."""
        rows, targets = [], []
        for dialogue, tokens in zip(dialogues, visual, strict=True):
            rows.append(self.network.embed(dialogue.ids, tokens)[0])
            targets.append(_shifted(dialogue, len(tokens)))
        # Padding comes after everything that counts, and attention is causal: it needs no mask.
        inputs = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        wanted = nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=IGNORED)
        states = self.network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return states.float(), wanted


def _hints_as_words(network: LisaNetwork, tokenizer: LisaTokenizer) -> nn.Linear:
    """From hints to LLaMA's width; what shows a red mug begins as the sum of the words "red" and "mug"."""
    layer = nn.Linear(READ_WIDTH, network.lm_head.in_features)
    names = [*KINDS, *COLOUR_NAMES]
    table = network.language.embed_tokens.weight
    with torch.no_grad():
        words = torch.stack([table[tokenizer.encode(name)].mean(0) for name in names], dim=1)
        layer.weight[:, : len(names)] = words / words.square().mean(0).sqrt()
        # Sines and cosines have a mean square of a half: as strong as a word, or deeper layers drown them.
        nn.init.normal_(layer.weight[:, NAMED:], std=(WAVES / 2) ** -0.5)
        layer.bias.zero_()
    return layer


def _shifted(dialogue: Dialogue, patches: int) -> torch.Tensor:
    """What the state at each position has to say: the next target, the image's patches in place of their id."""
    place = int((dialogue.ids == IMAGE_TOKEN_INDEX).nonzero()[0])
    spread = torch.cat(
        [
            dialogue.targets[:place],
            torch.full((patches,), IGNORED),
            dialogue.targets[place + 1 :],
        ]
    )
    return torch.cat([spread[1:], torch.full((1,), IGNORED)])
