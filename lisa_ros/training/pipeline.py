# SPDX-License-Identifier: Apache-2.0
"""The stages of the recipe: what each one starts from, learns and passes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.checkpoint import load_lisa
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.tabletop.questions.question import FollowUpMix
from lisa_ros.tabletop.view_sources import DISTANT, FRAMED, RANDOMIZED, RANDOMIZED_SHARD
from lisa_ros.tabletop.views import SPLITS, ViewCache, render_views
from lisa_ros.training.embedded.architecture import embedded_configuration, new_network
from lisa_ros.training.embedded.codes import waves_from_fourier
from lisa_ros.training.embedded.export import export_checkpoint, write_descriptions
from lisa_ros.training.embedded.resizing import resized_weights
from lisa_ros.training.language.vocabulary import added_tokens, train_tokenizer
from lisa_ros.training.learned_weights import between, learned_weights, mean_weights
from lisa_ros.training.loop.states import StateError
from lisa_ros.training.loop.trainer import train
from lisa_ros.training.recipe_settings import Recipe
from lisa_ros.training.scenes.batches import Views
from lisa_ros.training.scenes.framed_views import FramedViews
from lisa_ros.training.scenes.randomized_views import RandomizedViews
from lisa_ros.training.stages import hint_reading
from lisa_ros.training.stages.clip_randomized import ClipRandomizedStage
from lisa_ros.training.stages.dialogues import DialogueStage
from lisa_ros.training.stages.hints import NAMED
from lisa_ros.training.stages.joint import DecoderStage, JointStage
from lisa_ros.training.stages.object_patches import fit_object_patches
from lisa_ros.training.stages.pretraining import ClipStage, SamStage

BLIND = ("direct", "use", "several", "explain", "follow")
"""Families whose code can be known from the text alone."""
SIMPLE = ("direct", "several", "absent")
"""Families that need no more than finding what is named."""
HARD_NEGATIVES = FollowUpMix(absent=0.35, near=0.7)
"""Most of what was wrongly marked had been asked for in follow-ups, and few of the plain ones are near misses."""
BLENDED = ("joint", "hard_negatives", "rebalancing")
"""Stages whose mean the next one starts from: each marks or denies too much in a way of its own."""
LAST_PLAIN = ("joint_a", "joint_b")
"""Stages whose mean is the model of the plain table."""
LAST_RANDOMIZED = ("randomized_a", "randomized_b")
"""Stages whose mean is exported."""
MILD = FollowUpMix(absent=0.25, near=0.25)
"""After HARD_NEGATIVES the model denies too much: 15 % of what was there when asked for "of the same colour"."""
VARIED = 0.7
"""Share of the last stage's dialogues that are asked in all ways; the plain ways alone are else forgotten."""
NEAR_MISSES = FollowUpMix(absent=0.28, near=0.45, other=0.2)
"""As WITH_OTHERS, with more that is absent: on randomized tables the model marks too much of it."""
WHOLE, WHOLE_VIEWS = (RANDOMIZED, DISTANT), 384
"""Whole views from which the region of the objects is learned: sources, and how many of each."""
WITH_OTHERS = FollowUpMix(absent=0.25, near=0.25, other=0.2)
"""As MILD, and "the other one" more often than it comes by itself."""


class Pipeline:
    """The network and what it is trained with; each public method is a stage of recipe.STAGES."""

    def __init__(self, recipe: Recipe) -> None:
        """Makes the tokenizer and an untrained network, the same for the same seed."""
        self.recipe = recipe
        self._start = "" if recipe.start is None else one_hash(weights_of(recipe.start))
        self._vocabulary = recipe.work / "tokenizer.model"
        self.tokenizer = self._tokenizer()
        self.config: LisaConfig = embedded_configuration(768, added_tokens())
        write_descriptions(self.config, recipe.work)
        self.clip = ClipPreprocessing(recipe.work / self.config.vision_tower)
        self.network: LisaNetwork = new_network(self.config, recipe.seed)

    def _tokenizer(self) -> LisaTokenizer:
        if self.recipe.start is not None:
            self._take_vocabulary(self.recipe.start / "tokenizer.model")
        if self._vocabulary.is_file():
            return LisaTokenizer(self._vocabulary, added_tokens())
        return train_tokenizer(self._vocabulary)

    def _take_vocabulary(self, file: Path) -> None:
        if self._vocabulary.is_file() and self._vocabulary.read_bytes() != file.read_bytes():
            raise StateError(
                f"{self._vocabulary} is not that of {file}, and what is trained there needs it; name another --work"
            )
        shutil.copyfile(file, self._vocabulary)

    def render(self) -> None:
        """Renders the views that are not there yet."""
        recipe, plain = self.recipe, (("train", self.recipe.train_views), ("validation", 256), ("test", 512))
        for split, count in plain:
            avoid = recipe.avoided_pairs if split == "train" else frozenset()
            render_views(SPLITS[split], count, cache=recipe.views / split, workers=recipe.workers, avoid=avoid)
        for source, count in ((FRAMED, recipe.randomized_views), *((one, WHOLE_VIEWS) for one in WHOLE)):
            render_views(
                SPLITS[source.name],
                count,
                cache=recipe.views / source.name,
                workers=recipe.workers,
                shard_views=RANDOMIZED_SHARD,
                avoid=recipe.avoided_pairs,
                source=source,
            )

    def sam_pretraining(self) -> None:
        """SAM on views of the plain table."""
        self._train_sam("sam_pretraining", self._views())

    def clip_pretraining(self) -> None:
        """CLIP on views of the plain table."""
        arguments = {"batch": 8, "kept": 112}
        stage = ClipStage(
            self.network, self._views(), self.clip, name="clip_pretraining", seed=self.recipe.seed, **arguments
        )
        self._run("clip_pretraining", stage, arguments)

    def text_pretraining(self) -> None:
        """LLaMA on dialogues without images."""
        self._train_dialogues("text_pretraining", batch=24, turns=2, vision="nothing", families=BLIND)

    def hint_grounding(self) -> None:
        """LLaMA finds on hints what single questions name."""
        self._take_language("text_pretraining")
        self._train_dialogues("hint_grounding", batch=16, turns=1, vision="hints", families=SIMPLE, crowding=80)

    def alignment(self) -> None:
        """LLaMA and the projector on dialogues about images."""
        self._take_language("hint_grounding")
        self._take("clip_pretraining", "network_part.", self.network.vision_tower)
        self._join_hints()
        self._train_dialogues("alignment", batch=12, turns=5, vision="images", kept=100, trains_clip=False)

    def joint(self) -> None:
        """Everything on dialogues and masks."""
        self._take("alignment", "network.", self.network)
        self._take("sam_pretraining", "network_part.", self.network.visual_model)
        self._train_dialogues("joint", JointStage, batch=8, turns=5, vision="images")

    def hard_negatives(self) -> None:
        """From joint, on follow-ups about absent objects; CLIP as its pretraining left it."""
        self._take("joint", "network.", self.network)
        self._take("clip_pretraining", "network_part.", self.network.vision_tower)
        self._train_decoder("hard_negatives", HARD_NEGATIVES, kept=128)

    def rebalancing(self) -> None:
        """From hard_negatives, on all patches, with about as many absent objects as evaluation asks for."""
        self._take("hard_negatives", "network.", self.network)
        self._train_decoder("rebalancing", MILD)

    def other_object(self) -> None:
        """LLaMA on hints again, which it reads as it reads images by now; mostly pairs about "the other one"."""
        self._blend(BLENDED)
        self._train_dialogues(
            "other_object", batch=20, turns=4, vision="hints", crowding=40, mix=WITH_OTHERS, other_objects=12
        )

    def joint_a(self) -> None:
        """From other_object, on images and masks again."""
        self._joint_again("joint_a")

    def joint_b(self) -> None:
        """From other_object, as joint_a with other random numbers."""
        self._joint_again("joint_b")

    def clip_randomized(self) -> None:
        """CLIP on randomized tables, read by LLaMA as before."""
        self._start_randomized()
        weight, bias = self._tokens_of_hints()
        arguments = {"batch": 8, "kept": 112}
        stage = ClipRandomizedStage(
            self.network,
            self._randomized(),
            self.clip,
            (weight, bias),
            name="clip_randomized",
            seed=self.recipe.seed,
            **arguments,
        )
        self._run("clip_randomized", stage, arguments)

    def sam_randomized(self) -> None:
        """SAM on randomized tables."""
        self._start_randomized()
        self._train_sam("sam_randomized", self._randomized())

    def language_randomized(self) -> None:
        """LLaMA and the projector on randomized tables, with all ways to ask; steps without masks are cheap."""
        self._start_randomized()
        self._take("clip_randomized", "network_part.", self.network.vision_tower)
        self._train_dialogues(
            "language_randomized",
            views=self._randomized(),
            batch=12,
            turns=4,
            vision="images",
            kept=128,
            trains_clip=False,
            mix=WITH_OTHERS,
            varied=1.0,
        )

    def joint_randomized(self) -> None:
        """CLIP and LLaMA together; SAM knows the codes that LLaMA learns."""
        self._take("language_randomized", "network.", self.network)
        self._take("sam_randomized", "network_part.", self.network.visual_model)
        self._train_dialogues(
            "joint_randomized",
            views=self._randomized(),
            batch=10,
            turns=4,
            vision="images",
            kept=144,
            mix=NEAR_MISSES,
            varied=VARIED,
        )

    def randomized_a(self) -> None:
        """From joint_randomized, with masks: LLaMA and SAM's decoder, on all patches.

        With `start` and without a joint_randomized: from `start` with CLIP and SAM as their stages left them, since a
        LLaMA that knows all ways to ask need not learn them again.
        """
        self._randomized_again("randomized_a")

    def randomized_b(self) -> None:
        """From joint_randomized, as randomized_a with other random numbers."""
        self._randomized_again("randomized_b")

    def export(self) -> None:
        """Writes the checkpoint folder; the weights keep `start_share` of what they started from."""
        learned = mean_weights([self._learned(stage, "network.") for stage in LAST_RANDOMIZED])
        if self.recipe.start_share:
            self._start_randomized()
            before = {key: value.clone() for key, value in self.network.state_dict().items()}
            learned = between(before, learned, self.recipe.start_share)
        self.network.load_state_dict(learned)
        whole = RandomizedViews([ViewCache(self.recipe.views / source.name, WHOLE_VIEWS) for source in WHOLE])
        patches = fit_object_patches(self.network, whole, self.clip, self.recipe.seed)
        config = replace(self.config, object_patches=patches)
        export_checkpoint(self.network, config, self._vocabulary, self.recipe.output)

    def _views(self) -> ViewCache:
        return ViewCache(self.recipe.views / "train", self.recipe.train_views)

    def _randomized(self) -> FramedViews:
        """Views of the objects' region, of randomized and of plain tables."""
        framed = ViewCache(self.recipe.views / FRAMED.name, self.recipe.randomized_views)
        return FramedViews([framed], [self._views()])

    def _start_randomized(self) -> None:
        """The network as the randomized stages find it."""
        if self.recipe.start is None:
            self._blend(LAST_PLAIN)
            return
        options = LoadOptions(device="cpu", precision="fp32")
        start = load_lisa(self.recipe.start, options).network.state_dict()
        self.network.load_state_dict(resized_weights(start, self.network.state_dict()))

    def _blend(self, stages: Sequence[str]) -> None:
        self.network.load_state_dict(mean_weights([self._learned(stage, "network.") for stage in stages]))

    def _joint_again(self, name: str) -> None:
        self._take("other_object", "network.", self.network)
        self._train_decoder(name, WITH_OTHERS, other_objects=3)

    def _randomized_again(self, name: str) -> None:
        if self.recipe.start is not None and not self._state("joint_randomized").is_file():
            self._start_randomized()
            self._take("clip_randomized", "network_part.", self.network.vision_tower)
            self._take("sam_randomized", "network_part.", self.network.visual_model)
        else:
            self._take("joint_randomized", "network.", self.network)
        self._train_decoder(name, NEAR_MISSES, views=self._randomized(), batch=10, varied=VARIED)

    def _train_sam(self, name: str, views: Views) -> None:
        arguments = {"batch": 8, "queries": 4}
        stage = SamStage(self.network, views, name=name, seed=self.recipe.seed, **arguments)
        self._run(name, stage, arguments)

    def _train_decoder(
        self,
        name: str,
        mix: FollowUpMix,
        kept: int | None = None,
        other_objects: int = 0,
        batch: int = 12,
        **more: Any,
    ) -> None:
        """LLaMA, the projector and SAM's decoder on dialogues about images; `more` as of `_train_dialogues`."""
        self._train_dialogues(
            name,
            DecoderStage,
            batch=batch,
            turns=5,
            vision="images",
            kept=kept,
            trains_clip=False,
            mix=mix,
            other_objects=other_objects,
            **more,
        )

    def _train_dialogues(
        self, name: str, kind: type[DialogueStage] = DialogueStage, views: Views | None = None, **arguments: Any
    ) -> None:
        """Trains on dialogues.

        Args:
            name: of the stage.
            kind: its class.
            views: to learn from; None: those of the plain table.
            arguments: of the class, as far as they differ from its defaults.
        """
        stage = kind(
            self.network,
            self._views() if views is None else views,
            self.clip,
            self.tokenizer,
            name=name,
            seed=self.recipe.seed,
            code_weight=2.0,
            all_combinations=self.recipe.all_combinations,
            **arguments,
        )
        if name == "other_object":
            self._read_hints_as_images(stage)
        self._run(name, stage, {**arguments, "kind": kind.__name__})

    def _run(
        self, name: str, stage: SamStage | ClipStage | ClipRandomizedStage | DialogueStage, arguments: Mapping[str, Any]
    ) -> None:
        """Trains a stage, or resumes it; a saved state of another seed, batch or option is refused."""
        recipe = self.recipe
        settings = {
            **{key: asdict(value) if isinstance(value, FollowUpMix) else value for key, value in arguments.items()},
            **self._course(name),
        }
        train(name, stage, stage.step, recipe.schedule(name), recipe.work, settings=settings)

    def _tokens_of_hints(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The linear map from hints to the tokens that LLaMA gets of views of the plain table."""
        views = ViewCache(self.recipe.views / "train", hint_reading.VIEWS)
        return hint_reading.read_as_images(self.network, [views[i] for i in range(len(views))], self.clip)

    def _read_hints_as_images(self, stage: DialogueStage) -> None:
        """LLaMA gets hints as the tokens that it would get of an image, and that map is not trained."""
        if stage.from_hints is None:
            raise ValueError(f"stage {stage.name} is not trained on hints")
        weight, bias = self._tokens_of_hints()
        stage.from_hints.load_state_dict({"weight": weight, "bias": bias})
        stage.from_hints.requires_grad_(False)

    def _join_hints(self) -> None:
        """The projector becomes: CLIP's features to hints, then hints to LLaMA's width."""
        given, read = self._learned("clip_pretraining", "hints."), self._learned("hint_grounding", "from_hints.")
        places = waves_from_fourier(self.network.visual_model.prompt_encoder.pe_layer)
        between = torch.block_diag(torch.eye(NAMED), places)
        weight = read["weight"] @ between @ given["weight"]
        bias = read["weight"] @ between @ given["bias"] + read["bias"]
        self.network.mm_projector.load_state_dict({"weight": weight, "bias": bias})

    def _take(self, stage: str, prefix: str, part: torch.nn.Module) -> None:
        """Fills a part of the network with what an earlier stage learned."""
        part.load_state_dict(self._learned(stage, prefix))

    def _take_language(self, stage: str) -> None:
        """LLaMA and its heads, and SAM's position embeddings, in which CLIP's hints give positions."""
        for name in ("language", "lm_head", "text_hidden_fcs", "visual_model.prompt_encoder.pe_layer"):
            self._take(stage, f"network.{name}.", self.network.get_submodule(name))

    def _learned(self, stage: str, prefix: str) -> dict[str, torch.Tensor]:
        return learned_weights(self._state(stage), prefix, self._course(stage))

    def _state(self, stage: str) -> Path:
        return self.recipe.work / f"{stage}.pt"

    def _course(self, stage: str) -> dict[str, Any]:
        """What a stage's course depends on beside its own settings."""
        recipe, randomized = self.recipe, "randomized" in stage
        return {
            "data seed": recipe.seed,
            "views": recipe.train_views,
            **({"randomized views": recipe.randomized_views} if randomized else {}),
            **({"all combinations": True} if recipe.all_combinations else {}),
            **({"start": self._start} if randomized and self._start else {}),
        }
