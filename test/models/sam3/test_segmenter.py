# SPDX-License-Identifier: Apache-2.0
"""SAM 3 on a toy checkpoint: a command's name of things goes to transformers' Sam3Model, all instances come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_checkpoints import sam3_checkpoint

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import load_segmenter, model_of
from lisa_ros.models.sam3.names import NAMES_ONLY
from lisa_ros.models.sam3.segmenter import Sam3Segmenter
from lisa_ros.segmentation.answers import CommandError, Finished, MaskFound
from lisa_ros.segmentation.errors import LisaError

pytestmark = pytest.mark.model
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam3_checkpoint(tmp_path_factory.mktemp("toys") / "sam3")


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Sam3Segmenter:
    options = LoadOptions(device="cpu", precision="fp32", model_options=("threshold=0.01",))
    loaded = load_segmenter(folder, options)
    assert isinstance(loaded, Sam3Segmenter)
    return loaded


def answered(segmenter: Sam3Segmenter, command: str, **options: Any) -> list[Any]:
    return list(segmenter.session(segmenter.encode(IMAGE)).segment(command, **options))


def test_all_instances_are_those_of_transformers(segmenter: Sam3Segmenter, folder: Path) -> None:
    from transformers import Sam3Model, Sam3Processor

    model, processor = Sam3Model.from_pretrained(folder).eval(), Sam3Processor.from_pretrained(folder)
    inputs = processor(images=IMAGE, text="red mug", return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    (expected,) = processor.post_process_instance_segmentation(outputs, threshold=0.01, target_sizes=[[48, 64]])
    order = [i for i in expected["scores"].argsort(descending=True).tolist() if expected["masks"][i].any()]
    assert len(order) > 1, "the toy model finds too little to compare"
    *before, finished = answered(segmenter, "Can you find every red mug?")
    assert isinstance(finished, Finished) and finished.answer == " ".join(["[SEG]"] * len(order))
    assert tuple(event.object for event in before if isinstance(event, MaskFound)) == finished.objects
    for found, index in zip(finished.objects, order, strict=True):
        np.testing.assert_array_equal(found.mask, expected["masks"][index].numpy() > 0)
        assert found.score == pytest.approx(float(expected["scores"][index]), abs=1e-5)
        assert (found.phrase, finished.answer[slice(*found.span)]) == ("red mug", "[SEG]")
    *_, best = answered(segmenter, "the red mug", answer="mask_only")
    assert len(best.objects) == 1 and (best.objects[0].mask == finished.objects[0].mask).all()


def test_what_it_cannot_answer_is_said(segmenter: Sam3Segmenter, folder: Path) -> None:
    assert model_of(folder) == "sam3"
    *_, finished = answered(segmenter, "something to drink from")
    assert (finished.answer, finished.objects) == (NAMES_ONLY, ())
    assert [type(event) for event in answered(segmenter, "the mug", cancelled=lambda: True)] == [Finished]
    with pytest.raises(CommandError, match="empty"):
        answered(segmenter, " ")
    with pytest.raises(LisaError, match="threshold is '2'; it can be 0 to 1"):
        load_segmenter(folder, LoadOptions(model_options=("threshold=2",)))
    with pytest.raises(LisaError, match="SAM 3 is not quantized"):
        load_segmenter(folder, LoadOptions(quantization="4bit"))


def test_lisa_evaluate_takes_it(folder: Path, tmp_path: Path) -> None:
    from lisa_ros.cli.main import main

    data = ["--dataset", "tabletop", "--split", "test", "--protocol", "generate", "--limit", "1", "--union"]
    assert main(["evaluate", *data, "--checkpoint", str(folder), "--output", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["checkpoint"], results["images"]) == (folder.name, 1)
