# SPDX-License-Identifier: Apache-2.0
"""How the embedded LISA is made, from nothing but the simulator: `python -m lisa_ros.training.recipe`.

1. render: views of the table, with truth;
2. eyes: SAM learns labels, and masks of codes (codes.py);
3. glance: CLIP learns labels and hints (hints.py);
4. words: LLaMA learns the dialogues blind, and to say the code of what is meant;
5. look: LLaMA learns on hints to find what is named, before CLIP can show it anything;
6. talk: LLaMA learns the dialogues on pictures, CLIP's hints in place of the simulator's;
7. joint: everything together, through masks;
8. polish: LLaMA and SAM's decoder once more, on many follow-ups that mean nothing;
9. settle: the same on about as many of them as are asked later;
10. recall: from the mean of the last three, LLaMA learns on hints to tell "the other one" (contrast.py);
11. finish and again: as settle, with some of these lessons; alike but for their chance;
12. export: the mean of finish and again as a checkpoint folder.

Eyes, glance, and words with look need nothing of each other, so they may run beside each other (`--stages`).
Every stage resumes where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.tabletop.questions.asking import PLAIN, Teasing
from lisa_ros.tabletop.questions.questions import WEIGHTS
from lisa_ros.tabletop.views import DEFAULT_CACHE, SPLITS, UNSEEN_PAIRS, ViewCache, render_views
from lisa_ros.training.embedded.architecture import embedded_configuration, new_network
from lisa_ros.training.embedded.codes import waves_from_fourier
from lisa_ros.training.embedded.export import export_checkpoint, write_descriptions
from lisa_ros.training.language.vocabulary import added_tokens, train_tokenizer
from lisa_ros.training.loop.trainer import Schedule, train
from lisa_ros.training.stages import hint_reading
from lisa_ros.training.stages.hints import NAMED
from lisa_ros.training.stages.joining import DialogueStage, Sight
from lisa_ros.training.stages.joint import JointStage, PolishStage
from lisa_ros.training.stages.pretraining import EyesStage, GlanceStage

STAGES = (
    *("render", "eyes", "glance", "words", "look", "talk", "joint", "polish", "settle", "recall", "finish", "again"),
    "export",
)

EYES = Schedule(steps=2600, learning_rate=2e-3, muon_rate=0.02)
GLANCE = Schedule(steps=9000, learning_rate=2e-3, muon_rate=0.02)
WORDS = Schedule(steps=400, learning_rate=2e-3, muon_rate=0.02)
LOOK = Schedule(steps=700, learning_rate=1.5e-3, muon_rate=0.01, warmup=30)
TALK = Schedule(steps=4500, learning_rate=1e-3, muon_rate=0.01, warmup=30)
JOINT = Schedule(steps=700, learning_rate=2e-4, muon_rate=0.003, warmup=20)
POLISH = Schedule(steps=1400, learning_rate=4e-4, muon_rate=0.006, warmup=30)
SETTLE = Schedule(steps=400, learning_rate=2e-4, muon_rate=0.003, warmup=20)
RECALL = Schedule(steps=700, learning_rate=8e-4, muon_rate=0.008, warmup=30)
FINISH = Schedule(steps=600, learning_rate=4e-4, muon_rate=0.006, warmup=20)

BLIND = ("direct", "use", "several", "explain", "follow")
"""Families whose code can be told from the words alone."""
SIMPLE = ("direct", "several", "absent")
"""Families that need no more than finding what is named."""
TEASING = Teasing(absent=0.35, near=0.7)
"""Most of what was wrongly marked had been asked for in follow-ups, and few of the plain ones are near misses."""
BLENDED = ("joint", "polish", "settle")
"""Stages whose mean is gone on from: each marks or denies too much in a way of its own."""
FINISHED = ("finish", "again")
"""Stages whose mean is exported."""
MILD = Teasing(absent=0.25, near=0.25)
"""After TEASING the model denies too much: 15 % of what was there when asked for "of the same colour"."""
REMINDING = Teasing(absent=0.25, near=0.25, other=0.2)
"""As MILD, and "the other one" more often than it comes by itself."""


@dataclass(frozen=True)
class Recipe:
    """What `lisa train` would take on its command line; the defaults made the shipped checkpoint."""

    views: Path = DEFAULT_CACHE
    work: Path = Path(".cache/training")
    output: Path = Path("lisa_ros/checkpoints/tabletop")
    seed: int = 1
    train_views: int = 9000
    workers: int = 2
    eyes: Schedule = EYES
    glance: Schedule = GLANCE
    words: Schedule = WORDS
    look: Schedule = LOOK
    talk: Schedule = TALK
    joint: Schedule = JOINT
    polish: Schedule = POLISH
    settle: Schedule = SETTLE
    recall: Schedule = RECALL
    finish: Schedule = FINISH


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
        for split, count in (("train", self.recipe.train_views), ("validation", 256), ("test", 512)):
            avoid = UNSEEN_PAIRS if split == "train" else frozenset()
            folder, workers = self.recipe.views / split, self.recipe.workers
            render_views(SPLITS[split], count, cache=folder, workers=workers, avoid=avoid)

    def eyes(self) -> None:
        """Trains SAM."""
        stage = EyesStage(self.network, self._views(), self.recipe.seed, batch=8, queries=4)
        train("eyes", stage, stage.step, self.recipe.eyes, self.recipe.work)

    def glance(self) -> None:
        """Trains CLIP."""
        views, seed = self._views(), self.recipe.seed
        stage = GlanceStage(self.network, views, self.clip, name="glance", seed=seed, batch=8, kept=112)
        train("glance", stage, stage.step, self.recipe.glance, self.recipe.work)

    def words(self) -> None:
        """Trains LLaMA on dialogues without pictures."""
        self._run(self._dialogues("words", batch=24, turns=2, sees="nothing", families=BLIND), self.recipe.words)

    def look(self) -> None:
        """Trains LLaMA to look: single questions about hints."""
        self._take_language("words")
        stage = self._dialogues("look", batch=16, turns=1, sees="hints", families=SIMPLE, crowding=80)
        self._run(stage, self.recipe.look)

    def talk(self) -> None:
        """Trains LLaMA and the projector on dialogues about pictures."""
        self._take_language("look")
        self._take("glance", "network_part.", self.network.vision_tower)
        self._join_hints()
        stage = self._dialogues("talk", batch=12, turns=5, sees="pictures", kept=100, trains_clip=False)
        self._run(stage, self.recipe.talk)

    def joint(self) -> None:
        """Trains everything on dialogues and masks."""
        self._take("talk", "network.", self.network)
        self._take("eyes", "network_part.", self.network.visual_model)
        stage = self._dialogues("joint", batch=8, turns=5, sees="pictures", kind=JointStage)
        self._run(stage, self.recipe.joint)

    def polish(self) -> None:
        """Goes on with what joint made, on follow-ups that mean nothing; CLIP as glance left it."""
        self._take("joint", "network.", self.network)
        self._take("glance", "network_part.", self.network.vision_tower)
        self._run(self._polishing("polish", TEASING, kept=128), self.recipe.polish)

    def settle(self) -> None:
        """Goes on from polish, now on all patches, and with about as many absent things as evaluation asks for."""
        self._take("polish", "network.", self.network)
        self._run(self._polishing("settle", MILD, kept=None), self.recipe.settle)

    def recall(self) -> None:
        """Trains LLaMA on hints again, read as it reads pictures by now, most of all on contrasts."""
        self._blend(BLENDED)
        stage = self._dialogues("recall", batch=20, turns=4, sees="hints", crowding=40, teasing=REMINDING, contrasts=12)
        self._read_hints_as_pictures(stage)
        self._run(stage, self.recipe.recall)

    def finish(self) -> None:
        """Back to pictures and masks."""
        self._finish("finish")

    def again(self) -> None:
        """The same from the same start, on other questions."""
        self._finish("again")

    def export(self) -> None:
        """Writes the checkpoint folder: the mean of two stages, better than each of them."""
        self._blend(FINISHED)
        export_checkpoint(self.network, self.config, self._vocabulary, self.recipe.output)

    def _blend(self, stages: Sequence[str]) -> None:
        self.network.load_state_dict(mean_weights([self._learned(stage, "network.") for stage in stages]))

    def _finish(self, name: str) -> None:
        self._take("recall", "network.", self.network)
        self._run(self._polishing(name, REMINDING, kept=None, contrasts=3), self.recipe.finish)

    def _polishing(self, name: str, teasing: Teasing, kept: int | None, contrasts: int = 0) -> DialogueStage:
        return self._dialogues(
            name,
            batch=12,
            turns=5,
            sees="pictures",
            kept=kept,
            kind=PolishStage,
            trains_clip=False,
            teasing=teasing,
            contrasts=contrasts,
        )

    def _read_hints_as_pictures(self, stage: DialogueStage) -> None:
        """What LLaMA reads hints by becomes what it reads pictures by, and stays so."""
        views = ViewCache(self.recipe.views / "train", hint_reading.VIEWS)
        weight, bias = hint_reading.read_as_pictures(self.network, [views[i] for i in range(len(views))], self.clip)
        if stage.from_hints is None:
            raise ValueError(f"stage {stage.name} sees no hints")
        stage.from_hints.load_state_dict({"weight": weight, "bias": bias})
        stage.from_hints.requires_grad_(False)

    def _dialogues(
        self,
        name: str,
        *,
        batch: int,
        turns: int,
        sees: Sight,
        kind: type[DialogueStage] = DialogueStage,
        families: Sequence[str] = tuple(WEIGHTS),
        crowding: int | None = None,
        kept: int | None = None,
        trains_clip: bool = True,
        teasing: Teasing = PLAIN,
        contrasts: int = 0,
    ) -> DialogueStage:
        return kind(
            self.network,
            self._views(),
            self.clip,
            self.tokenizer,
            name=name,
            seed=self.recipe.seed,
            batch=batch,
            turns=turns,
            sees=sees,
            code_weight=2.0,
            families=families,
            crowding=crowding,
            kept=kept,
            trains_clip=trains_clip,
            teasing=teasing,
            contrasts=contrasts,
        )

    def _run(self, stage: DialogueStage, schedule: Schedule) -> None:
        train(stage.name, stage, stage.step, schedule, self.recipe.work)

    def _join_hints(self) -> None:
        """The projector becomes: CLIP's features to hints, then hints to LLaMA's width."""
        shown, read = self._learned("glance", "hints."), self._learned("look", "from_hints.")
        told = torch.block_diag(torch.eye(NAMED), waves_from_fourier(self.network.visual_model.prompt_encoder.pe_layer))
        weight = read["weight"] @ told @ shown["weight"]
        bias = read["weight"] @ told @ shown["bias"] + read["bias"]
        self.network.mm_projector.load_state_dict({"weight": weight, "bias": bias})

    def _take(self, stage: str, prefix: str, part: torch.nn.Module) -> None:
        """Fills a part of the network with what an earlier stage learned."""
        part.load_state_dict(self._learned(stage, prefix))

    def _take_language(self, stage: str) -> None:
        """LLaMA and its heads, and SAM's position embeddings, in which CLIP's hints tell places."""
        for name in ("language", "lm_head", "text_hidden_fcs", "visual_model.prompt_encoder.pe_layer"):
            self._take(stage, f"network.{name}.", self.network.get_submodule(name))

    def _learned(self, stage: str, prefix: str) -> dict[str, torch.Tensor]:
        state = torch.load(self.recipe.work / f"{stage}.pt", weights_only=True)["module"]
        return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def mean_weights(learned: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of networks that went on from each other (model soups: Wortsman et al., arXiv 2203.05482).

    Args:
        learned: tensors by name, the same names and shapes in each.
    """
    return {key: torch.stack([one[key].float() for one in learned]).mean(0) for key in learned[0]}


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
