# SPDX-License-Identifier: Apache-2.0
"""The recipe of the embedded model from end to end, one step of every stage: each stage starts from the one before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa.checkpoint import load_lisa
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.tabletop.view_sources import DISTANT, FRAMED, RANDOMIZED
from lisa_ros.tabletop.views import RESERVED_PAIRS, SPLITS, ViewCache, render_views
from lisa_ros.training.embedded.codes import waves
from lisa_ros.training.learned_weights import between, learned_weights, mean_weights
from lisa_ros.training.loop.states import StateError
from lisa_ros.training.loop.trainer import Schedule
from lisa_ros.training.pipeline import Pipeline
from lisa_ros.training.recipe import main
from lisa_ros.training.recipe_settings import SCHEDULES, STAGES, Recipe
from lisa_ros.training.stages import hint_reading, object_patches
from lisa_ros.training.stages.dialogues import DialogueStage
from lisa_ros.training.stages.hints import hints

BRIEF = Schedule(steps=1, learning_rate=1e-3, warmup=1, muon_rate=1e-2)


@pytest.fixture(scope="module", autouse=True)
def few_patches() -> Iterator[None]:
    """The classifier of the region is fitted to few views."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_patches, "VIEWS", 20)
        yield


@pytest.fixture(scope="module")
def recipe(few_patches: None, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Every stage but the rendering, which makes more views than a test needs."""
    folder = tmp_path_factory.mktemp("recipe")
    render_views(SPLITS["train"], 16, cache=folder / "views/train", shard_views=16, avoid=RESERVED_PAIRS)
    for source in (FRAMED, RANDOMIZED, DISTANT):
        cache = folder / "views" / source.name
        render_views(SPLITS[source.name], 8, cache=cache, shard_views=8, avoid=RESERVED_PAIRS, source=source)
    brief = Recipe(
        views=folder / "views",
        work=folder / "work",
        output=folder / "checkpoint",
        train_views=16,
        randomized_views=8,
        schedules=tuple((stage, BRIEF) for stage in SCHEDULES),
    )
    brief.work.mkdir()
    pipeline = Pipeline(brief)
    for stage in STAGES[1:]:
        getattr(pipeline, stage)()
    return brief


def learned(recipe: Recipe, stage: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(recipe.work / f"{stage}.pt", weights_only=True)["module"]
    return {key.removeprefix("network."): value for key, value in state.items()}


def load_embedded() -> Lisa:
    return load_lisa(embedded_checkpoint(), LoadOptions(device="cpu", precision="fp32"))


def test_it_ends_in_a_checkpoint_that_answers(recipe: Recipe) -> None:
    segmenter = load_segmenter(recipe.output, LoadOptions(device="cpu"))
    frame = segmenter.encode(ViewCache(recipe.views / "train")[0].rgb)
    *_, end = segmenter.session(frame).segment("the red mug", max_new_tokens=4)
    assert isinstance(end, Finished)


@pytest.mark.parametrize(
    ("stage", "before"),
    [
        ("alignment", "hint_grounding"),
        ("joint", "alignment"),
        ("hard_negatives", "joint"),
        ("rebalancing", "hard_negatives"),
        ("joint_a", "other_object"),
        ("joint_b", "other_object"),
        ("language_randomized", "joint_a"),
        ("joint_randomized", "language_randomized"),
        ("randomized_a", "joint_randomized"),
        ("randomized_b", "joint_randomized"),
    ],
)
def test_a_stage_starts_from_the_one_before(recipe: Recipe, stage: str, before: str) -> None:
    name = "language.layers.0.mlp.up_proj.weight"
    now, then = learned(recipe, stage)[name], learned(recipe, before)[name]
    assert not torch.equal(now, then)
    assert (now - then).norm() < 0.2 * then.norm()


def test_other_object_starts_from_a_mean_and_trains_no_vision(recipe: Recipe) -> None:
    blended = [learned(recipe, stage) for stage in ("joint", "hard_negatives", "rebalancing")]
    trained = learned(recipe, "other_object")
    for part in ("vision_tower", "visual_model", "mm_projector"):
        names = [name for name in trained if name.startswith(f"{part}.")]
        assert names
        for name in names:
            assert torch.allclose(trained[name], torch.stack([one[name].float() for one in blended]).mean(0))


def test_the_two_joint_stages_differ_by_their_random_numbers_alone(recipe: Recipe) -> None:
    one, other = learned(recipe, "joint_a"), learned(recipe, "joint_b")
    assert set(one) == set(other)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_the_last_stage_takes_clip_and_sam_from_the_randomized_stages(recipe: Recipe) -> None:
    joint = learned(recipe, "joint_randomized")
    sam = learned(recipe, "sam_randomized")
    name = "image_encoder.blocks.0.mlp.lin1.weight"
    assert torch.equal(joint[f"visual_model.{name}"], sam[f"network_part.{name}"]), "SAM's encoder is not trained there"
    clip = learned(recipe, "clip_randomized")
    name = "encoder.layers.0.mlp.fc1.weight"
    now, then = joint[f"vision_tower.{name}"], clip[f"network_part.{name}"]
    assert not torch.equal(now, then) and (now - then).norm() < 0.2 * then.norm()


def test_the_randomized_stages_train_clip_and_sam_which_joint_b_had_left_fixed(recipe: Recipe) -> None:
    start = mean_weights([learned(recipe, stage) for stage in ("joint_a", "joint_b")])
    for stage, part, name in (
        ("clip_randomized", "vision_tower", "encoder.layers.0.mlp.fc1.weight"),
        ("sam_randomized", "visual_model", "image_encoder.blocks.0.mlp.lin1.weight"),
    ):
        assert not torch.allclose(learned(recipe, stage)[f"network_part.{name}"], start[f"{part}.{name}"], atol=1e-5)


@pytest.mark.parametrize(
    ("stage", "changed", "named"),
    [
        ("randomized_a", {"randomized_views": 4}, "randomized views"),
        ("joint_randomized", {"seed": 2}, "data seed"),
        ("sam_pretraining", {"train_views": 8}, "views"),
        ("clip_randomized", {"randomized_views": 4}, "randomized views"),
        ("joint_a", {"schedules": (("joint_a", replace(BRIEF, learning_rate=2e-3)),)}, "learning_rate"),
    ],
)
def test_a_state_of_other_settings_is_refused(
    recipe: Recipe, stage: str, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(StateError, match=named):
        getattr(Pipeline(replace(recipe, **changed)), stage)()  # type: ignore[arg-type]


def test_a_state_of_another_batch_is_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(recipe)
    train = pipeline._train_dialogues
    monkeypatch.setattr(pipeline, "_train_dialogues", lambda *given, **more: train(*given, **{**more, "batch": 3}))
    with pytest.raises(StateError, match="batch was 8 and is now 3"):
        pipeline.joint()


def test_the_randomized_stages_may_start_from_a_checkpoint(recipe: Recipe) -> None:
    pipeline = Pipeline(replace(recipe, start=embedded_checkpoint(), work=recipe.work.parent))
    pipeline._start_randomized()
    wanted = load_embedded().network.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in pipeline.network.state_dict().items())


def test_the_last_stages_from_a_checkpoint_take_clip_and_sam_from_theirs(recipe: Recipe, tmp_path: Path) -> None:
    again = replace(recipe, start=embedded_checkpoint(), work=tmp_path)
    pipeline = Pipeline(again)
    for stage in ("clip_randomized", "sam_randomized", "randomized_a"):
        getattr(pipeline, stage)()
    made, start = learned(again, "randomized_a"), load_embedded().network
    clip, sam = learned(again, "clip_randomized"), learned(again, "sam_randomized")
    name = "encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(made[f"vision_tower.{name}"], clip[f"network_part.{name}"])
    name = "image_encoder.blocks.0.mlp.lin1.weight"
    assert torch.equal(made[f"visual_model.{name}"], sam[f"network_part.{name}"])
    name = "language.layers.0.mlp.up_proj.weight"
    now, then = made[name], start.state_dict()[name].float()
    assert not torch.equal(now, then) and (now - then).norm() < 0.2 * then.norm()


def test_what_another_start_left_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    shutil.copyfile(recipe.work / "clip_randomized.pt", tmp_path / "clip_randomized.pt")
    pipeline = Pipeline(replace(recipe, start=embedded_checkpoint(), work=tmp_path))
    with pytest.raises(StateError, match="start was not set and is now"):
        pipeline.clip_randomized()
    with pytest.raises(StateError, match="was trained with start None, not"):
        pipeline.randomized_a()
    (tmp_path / "tokenizer.model").write_bytes(b"another")
    with pytest.raises(StateError, match="name another --work"):
        Pipeline(replace(recipe, start=embedded_checkpoint(), work=tmp_path))


def test_a_stage_that_is_not_finished_or_of_another_seed_is_not_taken(recipe: Recipe, tmp_path: Path) -> None:
    state = torch.load(recipe.work / "joint.pt", weights_only=True)
    file = tmp_path / "joint.pt"
    torch.save({**state, "step": 0}, file)
    with pytest.raises(StateError, match=r"joint\.pt is at step 0 of 1: finish the stage joint first"):
        learned_weights(file, "network.", {})
    torch.save(state, file)
    with pytest.raises(StateError, match="was trained with data seed 1, not 2"):
        learned_weights(file, "network.", {"data seed": 2})


def test_what_cannot_be_used_is_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, views = tmp_path / "file", ["--views", str(tmp_path)]
    file.write_text("")
    work = ["--work", str(tmp_path / "work"), *views]
    for arguments, said in (
        (["--work", str(file), *views], f"{file} is a file; name a folder"),
        ([*work, "--output", str(file)], f"{file} is a file; name a folder"),
        ([*work, "--start", str(tmp_path / "none"), "--stages", "sam_randomized"], "none is not a folder; --start is"),
        ([*work, "--stages", "export"], "randomized_a.pt: train the stage randomized_a first"),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
    for number in (["--threads", "0"], ["--seed", "-1"], ["--train-views", "many"]):
        with pytest.raises(SystemExit):
            main(number)
        assert "is not a whole number of" in capsys.readouterr().err


def test_steps_of_an_unknown_stage_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--steps", "export=3"])
    assert "not STAGE=N" in capsys.readouterr().err


def test_hints_are_read_as_images_are(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one linear map makes LLaMA's tokens out of hints, least squares find it."""
    pipeline, cache = Pipeline(recipe), ViewCache(recipe.views / "train")
    views = [cache[i] for i in range(len(cache))]
    seen = torch.stack([hints(view, waves) for view in views])
    weight, bias = torch.randn(8, seen.shape[-1]), torch.randn(8)
    tokens = iter((seen @ weight.T + bias).split(hint_reading.AT_ONCE))
    monkeypatch.setattr(pipeline.network, "visual_tokens", lambda pixels: next(tokens))
    found_weight, found_bias = hint_reading.read_as_images(pipeline.network, views, pipeline.clip)
    assert torch.allclose(seen @ found_weight.T + found_bias, seen @ weight.T + bias, atol=0.05)


def test_an_export_keeps_a_share_of_the_start(recipe: Recipe, tmp_path: Path) -> None:
    Pipeline(replace(recipe, start_share=0.25, output=tmp_path)).export()
    kept = load_lisa(tmp_path, LoadOptions(device="cpu", precision="fp32")).network.state_dict()
    before = [learned(recipe, stage) for stage in ("joint_a", "joint_b")]
    last = [learned(recipe, stage) for stage in ("randomized_a", "randomized_b")]
    after = mean_weights(last)
    for name in ("language.layers.0.mlp.up_proj.weight", "visual_model.image_encoder.blocks.0.mlp.lin1.weight"):
        mean = (before[0][name] + before[1][name]) / 2
        assert torch.allclose(kept[name], 0.25 * mean + 0.75 * after[name], atol=1e-3)


def test_all_combinations_are_asked_about_and_are_another_training(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = Pipeline(replace(recipe, all_combinations=True))
    assert recipe.avoided_pairs == RESERVED_PAIRS and not every.recipe.avoided_pairs
    with pytest.raises(StateError, match="all combinations was not set and is now"):
        every.text_pretraining()
    asked: list[bool] = []

    def noted(name: str, stage: DialogueStage, *rest: object, **more: object) -> None:
        asked.append(stage._all_combinations)

    monkeypatch.setattr("lisa_ros.training.pipeline.train", noted)
    for one in (every, Pipeline(recipe)):
        one.text_pretraining()
    assert asked == [True, False]


def test_weights_between_two_networks() -> None:
    before, after = ({"lm_head": torch.full((2,), 4.0 * x)} for x in (0.0, 1.0))
    assert torch.equal(between(before, after, 0.25)["lm_head"], torch.full((2,), 3.0))


@pytest.mark.parametrize("share", ["1.1", "-0.1", "half", "nan"])
def test_a_share_outside_of_0_to_1_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--start-share={share}"])
    assert "is not a number from 0 to 1" in capsys.readouterr().err
