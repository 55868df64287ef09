# SPDX-License-Identifier: Apache-2.0
"""How the embedded LISA is made, from nothing but the simulator: `python -m lisa_ros.training.recipe`.

1. render: views of the table, with truth;
2. eyes: SAM learns labels and masks of codes;
3. glance: CLIP learns labels;
4. words: LLaMA learns the dialogues blind, and to say the code of what is meant;
5. talk: the same on what CLIP shows it, and what is not there;
6. joint: everything together, through masks;
7. polish: the same, with codes that say no more than the question does;
8. export: the checkpoint folder.

Eyes needs nothing of 3 to 5, so they may run beside each other (`--stages`). Every stage resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.training.architecture import embedded_configuration, new_network
from lisa_ros.training.export import export_checkpoint, write_descriptions
from lisa_ros.training.joining import DialogueStage
from lisa_ros.training.pretraining import EyesStage, GlanceStage
from lisa_ros.training.scenes import DEFAULT_CACHE, SPLITS, ViewCache, render_views
from lisa_ros.training.trainer import Schedule, train
from lisa_ros.training.vocabulary import added_tokens, train_tokenizer

STAGES = ("render", "eyes", "glance", "words", "talk", "joint", "polish", "export")

EYES = Schedule(steps=1700, learning_rate=1.2e-3)
GLANCE = Schedule(steps=700, learning_rate=1.5e-3)
WORDS = Schedule(steps=1300, learning_rate=1.5e-3)
TALK = Schedule(steps=800, learning_rate=8e-4)
JOINT = Schedule(steps=1200, learning_rate=5e-4, warmup=30)
POLISH = Schedule(steps=400, learning_rate=4e-4, warmup=30)


@dataclass(frozen=True)
class Recipe:
    """What `lisa train` would take on its command line; the defaults made the shipped checkpoint."""

    views: Path = DEFAULT_CACHE
    work: Path = Path(".cache/training")
    output: Path = Path("lisa_ros/checkpoints/tabletop")
    seed: int = 1
    train_views: int = 4500
    workers: int = 2
    eyes: Schedule = EYES
    glance: Schedule = GLANCE
    words: Schedule = WORDS
    talk: Schedule = TALK
    joint: Schedule = JOINT
    polish: Schedule = POLISH


class Kitchen:
    """The network and its ingredients, made once; each method is a stage."""

    def __init__(self, recipe: Recipe) -> None:
        """Makes the tokenizer and an untrained network, the same for the same seed."""
        self.recipe = recipe
        self._vocabulary = recipe.work / "tokenizer.model"
        self.tokenizer = self._tokenizer()
        self.config: LisaConfig = embedded_configuration(768, added_tokens())
        write_descriptions(self.config, recipe.work)
        self.clip = ClipPreprocessing(recipe.work / self.config.vision_tower)
        self.network: LisaNetwork = new_network(self.config, recipe.seed)

    def _tokenizer(self) -> LisaTokenizer:
        if self._vocabulary.is_file():
            return LisaTokenizer(self._vocabulary, added_tokens())
        return train_tokenizer(self._vocabulary)

    def _views(self) -> ViewCache:
        return ViewCache(self.recipe.views / "train", self.recipe.train_views)

    def render(self) -> None:
        """Renders what is not there yet."""
        for split, count in (("train", self.recipe.train_views), ("validation", 300), ("test", 300)):
            render_views(SPLITS[split], count, cache=self.recipe.views / split, workers=self.recipe.workers)

    def eyes(self) -> None:
        """Trains SAM."""
        stage = EyesStage(self.network, self._views(), self.recipe.seed, batch=8, queries=4)
        train("eyes", stage, stage.step, self.recipe.eyes, self.recipe.work)

    def glance(self) -> None:
        """Trains CLIP."""
        stage = GlanceStage(self.network, self._views(), self.clip, self.recipe.seed, batch=16)
        train("glance", stage, stage.step, self.recipe.glance, self.recipe.work)

    def words(self) -> None:
        """Trains LLaMA on dialogues without pictures."""
        self._dialogues("words", self.recipe.words, batch=24, turns=2, sees=False, with_masks=False, code_weight=2.0)

    def talk(self) -> None:
        """Trains LLaMA, the projector and CLIP on dialogues."""
        self._take("words", "network.", self.network)
        self._take("glance", "network_part.", self.network.vision_tower)
        self._dialogues("talk", self.recipe.talk, batch=8, turns=5, sees=True, with_masks=False, code_weight=2.0)

    def joint(self) -> None:
        """Trains everything on dialogues and masks."""
        self._take("talk", "network.", self.network)
        self._take("eyes", "network_part.", self.network.visual_model)
        self._dialogues("joint", self.recipe.joint, batch=8, turns=5, sees=True, with_masks=True, code_weight=0.1)

    def polish(self) -> None:
        """Trains everything on, with more weight on the codes."""
        self._take("joint", "network.", self.network)
        self._dialogues("polish", self.recipe.polish, batch=8, turns=5, sees=True, with_masks=True, code_weight=1.0)

    def export(self) -> None:
        """Writes the checkpoint folder."""
        self._take("polish", "network.", self.network)
        export_checkpoint(self.network, self.config, self._vocabulary, self.recipe.output)

    def _dialogues(
        self,
        name: str,
        schedule: Schedule,
        *,
        batch: int,
        turns: int,
        sees: bool,
        with_masks: bool,
        code_weight: float,
    ) -> None:
        stage = DialogueStage(
            self.network,
            self._views(),
            self.clip,
            self.tokenizer,
            name=name,
            seed=self.recipe.seed,
            batch=batch,
            turns=turns,
            sees=sees,
            with_masks=with_masks,
            code_weight=code_weight,
        )
        train(name, stage, stage.step, schedule, self.recipe.work)

    def _take(self, stage: str, prefix: str, part: torch.nn.Module) -> None:
        """Fills a part of the network with what an earlier stage learned."""
        state = torch.load(self.recipe.work / f"{stage}.pt", weights_only=True)["module"]
        learned = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        part.load_state_dict(learned)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the recipe's stages."""
    defaults = Recipe()
    parser = argparse.ArgumentParser(prog="lisa_ros.training.recipe", description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="which, in this order")
    parser.add_argument("--views", type=Path, default=defaults.views, help="folder of rendered views")
    parser.add_argument("--work", type=Path, default=defaults.work, help="folder for states and logs")
    parser.add_argument("--output", type=Path, default=defaults.output, help="the checkpoint folder to write")
    parser.add_argument("--threads", type=int, default=2, help="threads torch computes with")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    recipe = Recipe(views=chosen.views, work=chosen.work, output=chosen.output)
    recipe.work.mkdir(parents=True, exist_ok=True)
    kitchen = Kitchen(recipe)
    try:
        for stage in STAGES:
            if stage in chosen.stages:
                getattr(kitchen, stage)()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last saved step", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
