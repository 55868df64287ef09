# SPDX-License-Identifier: Apache-2.0
"""The language model's training on dialogues: without images, on hints, and on the tokens that CLIP gives."""

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
from lisa_ros.tabletop.questions.conversation import LEARNED_WEIGHTS, WEIGHTS, Question, conversation
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
    shared_appearance,
    step_rng,
)
from lisa_ros.training.stages.hints import GRID, NAMED, READ_WIDTH, hints, owners, stacked
from lisa_ros.training.stages.pretraining import informative_patches, patch_features

SHOWS = 0.15
"""Hints with noise have about this much of "something is here" where nothing is."""
SMALLEST_ASKED = 1 / 1200
"""Share of the image that an object covers at least to be asked for, in varied dialogues."""
EMPTY_KEPT = 0.06
"""Share of the empty patches that are shown among hints."""

Vision = Literal["nothing", "hints", "images"]


@dataclass(frozen=True)
class ShownPatches:
    """What LLaMA is shown of a view: tokens (n, hidden) of some patches, and their numbers (n,), row by row."""

    tokens: torch.Tensor
    patches: torch.Tensor


def _point(view: View, item: SceneObject) -> tuple[float, float]:
    return sam_point(view, middle(view, item.instance))


class DialogueStage(nn.Module):
    """Dialogues of several turns; several questions share the cost of encoding an image."""

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
        vision: Vision,
        code_weight: float,
        families: Sequence[str] = tuple(WEIGHTS),
        crowding: int | None = None,
        kept: int | None = None,
        trains_clip: bool = True,
        mix: FollowUpMix = PLAIN,
        other_objects: int = 0,
        varied: float = 0.0,
        all_combinations: bool = False,
    ) -> None:
        """Trains all of `network` but SAM; without images, LLaMA and its heads alone.

        Args:
            network: trained in place.
            views: what the dialogues are about.
            clip: CLIP's preprocessing.
            tokenizer: the checkpoint's.
            name: of the stage; part of the seed.
            seed: of all random numbers.
            batch: views a step, one dialogue each.
            turns: the longest dialogue; each is 1 to this many turns long.
            vision: what LLaMA is given of a view. "nothing": it learns the language; "hints": it learns to find
                objects before CLIP does; "images": CLIP's tokens.
            code_weight: weight of the squared error between what `[SEG]` gives and the code of what is meant.
            families: of questions that are asked.
            kept: patches of each image that LLaMA is shown, see pretraining.telling_patches; None: all.
            trains_clip: whether CLIP is trained too, on images.
            mix: how often follow-ups ask for what is not there.
            other_objects: how many of a batch's dialogues are pairs of other_object.py.
            varied: share of dialogues with questions of all families, typed as many people do, also about small
                objects; the others are as those of the stages before.
            all_combinations: whether the combinations are asked about that are reserved for evaluation.
            crowding: steps after which one more object is shown that is not meant; None: all are shown always.
        """
        super().__init__()
        self.network = network
        # Its backward pass takes 27 ms where that of torch's fused attention takes 44 (bf16, one core).
        network.language.set_attn_implementation("eager")
        network.visual_model.requires_grad_(False)
        network.vision_tower.requires_grad_(vision == "images" and trains_clip)
        network.mm_projector.requires_grad_(vision == "images")
        self.from_hints = _hints_as_embeddings(network, tokenizer) if vision == "hints" else None
        self._views, self._clip, self._tokenizer = views, clip, tokenizer
        self.name, self._seed, self._batch, self._turns = name, seed, batch, turns
        self._vision, self._code_weight = vision, code_weight
        self._families = {family: WEIGHTS[family] for family in families}
        self._varied, self._all_combinations = varied, all_combinations
        self._crowding, self._kept, self._mix = crowding, kept, mix
        self._other_objects = other_objects
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
            seen = self._tokens_of(shown, rng)
            states, targets = self._read([patches_shown.tokens for patches_shown in seen], dialogues)
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
        drawn = [draw_numbered(self._views, rng) for _ in range(self._batch - self._other_objects)]
        asked = [self._ask(view, rng) for _, view in drawn]
        pairs = [draw_other_object(partial(self._draw_for_pair, rng), rng) for _ in range(self._other_objects)]
        return drawn + [one for one, _ in pairs], asked + [questions for _, questions in pairs]

    def _draw_for_pair(self, rng: Rng) -> Drawn:
        number, view = draw_numbered(self._views, rng)
        return number, with_a_twin(view, rng) if self._vision == "hints" else view

    def _ask(self, view: View, rng: Rng) -> list[Question]:
        turns = int(rng.integers(1, self._turns + 1))
        more: dict[str, Any] = {"weights": self._families, "all_combinations": self._all_combinations}
        if self._varied and rng.random() < self._varied:
            least = round(SMALLEST_ASKED * view.instances.size)
            more |= {"weights": LEARNED_WEIGHTS, "varied": True, "min_pixels": least}
        return conversation(view, rng, turns, learning=True, mix=self._mix, **more)

    def _codes(self, meanings: Sequence[Meaning]) -> torch.Tensor:
        """(n, PROMPT_WIDTH); without images they have no position."""
        if self._vision == "nothing":
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

    def _tokens_of(self, views: Sequence[View], rng: Rng) -> list[ShownPatches]:
        if self._vision == "images":
            return self._tokens_of_images(views, rng)
        if self.from_hints is None:
            nothing = torch.zeros(0, dtype=torch.int64)
            return [ShownPatches(torch.zeros(0, self.network.lm_head.in_features), nothing) for _ in views]
        facts = [hints(view, waves, rng) for view in views]
        kept = [self._informative(one, rng) for one in facts]
        return [ShownPatches(self.from_hints(one[patches]), patches) for one, patches in zip(facts, kept, strict=True)]

    def _tokens_of_images(self, views: Sequence[View], rng: Rng) -> list[ShownPatches]:
        pixels = clip_batch(views, self._clip)
        if self._kept is None:
            every = torch.arange(GRID * GRID)
            return [ShownPatches(tokens, every) for tokens in self.network.visual_tokens(pixels)]
        kept = informative_patches(stacked(views, waves), self._kept, rng)
        tokens = self.network.mm_projector(patch_features(self.network.vision_tower, pixels, kept))
        return [ShownPatches(*pair) for pair in zip(tokens, kept, strict=True)]

    def _known_loss(
        self, states: torch.Tensor, seen: Sequence[ShownPatches], views: Sequence[View], dialogues: Sequence[Dialogue]
    ) -> torch.Tensor:
        """The `[SEG]` head at a patch gives the code of the object there, so that attention finds it in the states."""
        found, wanted = [states.new_zeros(0, states.shape[-1])], [self._codes([])]
        for row, patches_shown, view, dialogue in zip(states, seen, views, dialogues, strict=True):
            owner = owners(view)[patches_shown.patches]
            place = int((dialogue.ids == IMAGE_TOKEN_INDEX).nonzero()[0])
            found.append(row[place : place + len(owner)][owner >= 0])
            meanings = [Meaning(*shared_appearance([item]), (_point(view, item),)) for item in view.objects]
            wanted.append(self._codes(meanings)[owner[owner >= 0]])
        facts = torch.cat(wanted)
        said = self.network.text_hidden_fcs(torch.cat(found))
        return F.mse_loss(said, facts) if len(facts) else said.sum()

    def _informative(self, facts: torch.Tensor, rng: Rng) -> torch.Tensor:
        """The patches that show something, and a few others: sequences a third as long."""
        shows = facts[:, len(KINDS) + len(COLOUR_NAMES)] > SHOWS
        return (shows | torch.from_numpy(rng.random(len(facts)) < EMPTY_KEPT)).nonzero()[:, 0]

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


def _hints_as_embeddings(network: LisaNetwork, tokenizer: LisaTokenizer) -> nn.Linear:
    """From hints to LLaMA's width; a red mug begins as the sum of the embeddings of "red" and "mug"."""
    layer = nn.Linear(READ_WIDTH, network.lm_head.in_features)
    names = [*KINDS, *COLOUR_NAMES]
    table = network.language.embed_tokens.weight
    with torch.no_grad():
        words = torch.stack([table[tokenizer.encode(name)].mean(0) for name in names], dim=1)
        layer.weight[:, : len(names)] = words / words.square().mean(0).sqrt()
        # Sines and cosines have a mean square of a half: as strong as an embedding, or deeper layers ignore them.
        nn.init.normal_(layer.weight[:, NAMED:], std=(WAVES / 2) ** -0.5)
        layer.bias.zero_()
    return layer


def _shifted(dialogue: Dialogue, patches: int) -> torch.Tensor:
    """The target of the state at each position: the next id, with the image's patches in place of its id."""
    place = int((dialogue.ids == IMAGE_TOKEN_INDEX).nonzero()[0])
    spread = torch.cat(
        [
            dialogue.targets[:place],
            torch.full((patches,), IGNORED),
            dialogue.targets[place + 1 :],
        ]
    )
    return torch.cat([spread[1:], torch.full((1,), IGNORED)])
