# SPDX-License-Identifier: Apache-2.0
"""The recipe of the embedded model from end to end, a step or two of every stage: what one makes the next one takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.tabletop.views import SPLITS, UNSEEN_PAIRS, ViewCache, render_views
from lisa_ros.training.embedded.codes import waves
from lisa_ros.training.loop.trainer import Schedule
from lisa_ros.training.recipe import STAGES, Kitchen, Recipe
from lisa_ros.training.stages import hint_reading
from lisa_ros.training.stages.hints import hints

BRIEF = Schedule(steps=2, learning_rate=1e-3, warmup=1, muon_rate=1e-2)
SCHEDULES = ("eyes", "glance", "words", "look", "talk", "joint", "polish", "settle", "recall", "finish")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Every stage but the rendering, which makes more views than a test needs."""
    folder = tmp_path_factory.mktemp("recipe")
    render_views(SPLITS["train"], 16, cache=folder / "views/train", shard_views=16, avoid=UNSEEN_PAIRS)
    whole = Recipe(views=folder / "views", work=folder / "work", output=folder / "checkpoint", train_views=16)
    brief = replace(whole, **dict.fromkeys(SCHEDULES, BRIEF))
    brief.work.mkdir()
    for stage in STAGES[1:]:
        getattr(Kitchen(brief), stage)()  # a kitchen each, as after an interruption
    return brief


def learned(recipe: Recipe, stage: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(recipe.work / f"{stage}.pt", weights_only=True)["module"]
    return {key.removeprefix("network."): value for key, value in state.items()}


def test_it_ends_in_a_checkpoint_that_answers(recipe: Recipe) -> None:
    segmenter = load_segmenter(recipe.output, LoadOptions(device="cpu"))
    frame = segmenter.encode(ViewCache(recipe.views / "train")[0].rgb)
    *_, end = segmenter.session(frame).segment("the red mug", max_new_tokens=4)
    assert isinstance(end, Finished)


@pytest.mark.parametrize(
    ("stage", "after"),
    [
        ("talk", "look"),
        ("joint", "talk"),
        ("polish", "joint"),
        ("settle", "polish"),
        ("finish", "recall"),
        ("again", "recall"),
    ],
)
def test_a_stage_goes_on_from_the_one_before(recipe: Recipe, stage: str, after: str) -> None:
    name = "language.layers.0.mlp.up_proj.weight"
    now, before = learned(recipe, stage)[name], learned(recipe, after)[name]
    assert not torch.equal(now, before)
    assert (now - before).norm() < 0.2 * before.norm()


def test_recall_goes_on_from_a_mean_and_keeps_the_eyes_shut(recipe: Recipe) -> None:
    blended = [learned(recipe, stage) for stage in ("joint", "polish", "settle")]
    recalled = learned(recipe, "recall")
    for part in ("vision_tower", "visual_model", "mm_projector"):
        names = [name for name in recalled if name.startswith(f"{part}.")]
        assert names
        for name in names:
            assert torch.allclose(recalled[name], torch.stack([one[name].float() for one in blended]).mean(0))


def test_the_last_two_differ_by_their_chance_alone(recipe: Recipe) -> None:
    one, other = learned(recipe, "finish"), learned(recipe, "again")
    assert set(one) == set(other)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_hints_are_read_as_images_are(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one linear map makes what LLaMA is shown out of hints, least squares find it."""
    kitchen, cache = Kitchen(recipe), ViewCache(recipe.views / "train")
    views = [cache[i] for i in range(len(cache))]
    seen = torch.stack([hints(view, waves) for view in views])
    weight, bias = torch.randn(8, seen.shape[-1]), torch.randn(8)
    shown = iter((seen @ weight.T + bias).split(hint_reading.AT_ONCE))
    monkeypatch.setattr(kitchen.network, "visual_tokens", lambda pixels: next(shown))
    found_weight, found_bias = hint_reading.read_as_images(kitchen.network, views, kitchen.clip)
    told = seen @ found_weight.T + found_bias
    assert torch.allclose(told, seen @ weight.T + bias, atol=0.05)
