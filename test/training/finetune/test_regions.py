# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune` of a checkpoint that is given regions: it learns from them where they show what is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reason_folder import make_folder

from lisa_ros.cli.main import main
from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa import load_lisa
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.image.object_region import RegionFinder
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.region import Region
from lisa_ros.training.finetune.regions import shown_masks
from lisa_ros.training.finetune.stage import FinetuneStage
from lisa_ros.training.language.targets import TargetEncoder
from lisa_ros.training.scenes.frozen_features import FeatureCache, image_of

SHORT = ("--steps", "1", "--batch", "1", "--accumulate", "1", "--device", "cpu", "--replay", "none", "--check", "none")
RIGHT = Region(0, 30, 60, 50)
"""Of images of 60 x 80 whose square begins in one of the columns 5, 12, 19, 26 and 33 and is 30 columns wide."""


def test_masks_that_the_regions_show_are_counted(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 5))
    assert shown_masks(samples, lambda image: Region(0, 0, 60, 80)) == (5, 5)
    assert shown_masks(samples, lambda image: RIGHT) == (1, 5)
    assert shown_masks(samples, lambda image: Region(0, 0, 5, 5)) == (0, 5)


def test_features_and_truth_are_those_of_the_region(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 2))
    lisa = load_lisa(embedded_checkpoint(), LoadOptions(device="cpu"))
    clip = ClipPreprocessing(embedded_checkpoint() / "clip")
    features = FeatureCache(lisa.network, clip, find_region=lambda image: RIGHT)(samples[0])
    part = np.ascontiguousarray(RIGHT.of(image_of(samples[0])))
    assert features.size == (60, 50) and torch.equal(features.tokens, lisa.encode(part).visual_tokens())
    stage = FinetuneStage(
        lisa.network,
        lisa.config,
        clip,
        TargetEncoder(lisa.tokenizer, TEMPLATES["llava_v1"], lisa.config),
        samples,
        seed=1,
        batch=2,
        questions=2,
        find_region=lambda image: RIGHT,
    )
    assert np.isfinite(stage.step(0)[1]["loss"])
    for asked in stage._curriculum(0):
        wanted = stage._wanted(asked, stage._features(asked.sample))
        truth = RIGHT.of(asked.sample.rounds[0].truth() == 1)
        assert wanted.shape[1:] == (60, 50) and all(np.array_equal(one > 0, truth) for one in wanted.numpy())
    assert stage.images(0).shape[1:] == (960, 3)


def whole(finder: RegionFinder, image: NDArray[np.uint8]) -> Region:
    return Region(0, 0, *image.shape[:2])


def corner(finder: RegionFinder, image: NDArray[np.uint8]) -> Region:
    return Region(0, 0, 6, 8)


@pytest.mark.parametrize(("find", "keeps"), [(whole, True), (corner, False)])
def test_the_new_checkpoint_is_given_what_it_learned_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    find: Callable[[RegionFinder, NDArray[np.uint8]], Region],
    keeps: bool,
) -> None:
    monkeypatch.setattr(RegionFinder, "__call__", find)
    source, output = tmp_path / "source", tmp_path / "output"
    shutil.copytree(embedded_checkpoint(), source)
    config = json.loads((source / "config.json").read_text())
    config[OBJECT_PATCHES] = {"layers": [-1], "bias": 0.5, "weights": [0.25] * config["mm_hidden_size"]}
    (source / "config.json").write_text(json.dumps(config))
    data = str(make_folder(tmp_path / "data", 2))
    assert main(["finetune", "--checkpoint", str(source), "--data", data, "--output", str(output), *SHORT]) == 0
    assert ("shows 0 of 2 masks" in capsys.readouterr().out) is not keeps
    assert (read_configuration(output).object_patches is not None) is keeps
    written = json.loads((output / "config.json").read_text())
    assert {**written, OBJECT_PATCHES: None} == {**config, OBJECT_PATCHES: None}
