# SPDX-License-Identifier: Apache-2.0
"""`refine: sam2` for any model: SAM 2's mask for the model's mask and its box, on a toy SAM 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_checkpoints import sam2_checkpoint

from lisa_ros.models.combined.refined import RefinedSegmenter
from lisa_ros.models.common.errors import CheckpointError, ClosedError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.sam2 import load_sam2
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Capabilities
from lisa_ros.segmentation.masks import intersection_over_union

pytestmark = pytest.mark.model
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


class Model:
    """A model that finds the masks that it is given."""

    name = "model"
    capabilities = Capabilities(teacher_forcing=True, references=True)

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks, self.released = masks, False

    def encode(self, image: np.ndarray) -> Any:
        return self

    def session(self, encoded: Any, turns: Any = (), **_: Any) -> Any:
        return self

    def segment(self, command: str, references: Any = (), **_: Any) -> Iterator[Any]:
        objects = [ObjectMask(mask, (0, 5), score=0.7, score_calibrated=True) for mask in self.masks]
        yield from map(MaskFound, objects)
        yield Finished("[SEG]", tuple(replace(one, phrase="mug") for one in objects), "end")

    def release(self) -> None:
        self.released = True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam2_checkpoint(tmp_path_factory.mktemp("toys") / "sam2", seed=3)


def own_masks(sam2: Any) -> list[np.ndarray]:
    """Masks that the toy SAM 2 makes of boxes: with such a mask as its prompt it stays near it."""
    image = sam2.encode(IMAGE)
    boxes = [(8.0, 8.0, 40.0, 40.0), (4.0, 4.0, 60.0, 44.0), (20.0, 2.0, 50.0, 30.0)]
    return [sam2.decode(image, box=box, multimask=False).logits > 0 for box in boxes]


def directly(folder: Path, mask: np.ndarray) -> np.ndarray:
    """(H, W) logits of transformers' Sam2Model for a mask of 0 and 1 and its box."""
    from transformers import Sam2Model, Sam2Processor

    model, processor = Sam2Model.from_pretrained(folder).eval(), Sam2Processor.from_pretrained(folder)
    rows, columns = np.nonzero(mask)
    box = [[[float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]]]
    inputs = processor(images=IMAGE, input_boxes=box, return_tensors="pt")
    given = torch.from_numpy(np.where(mask, 10.0, -10.0).astype(np.float32))[None, None]
    size = model.prompt_encoder.mask_input_size
    small = torch.nn.functional.interpolate(given, size=size, mode="bilinear", antialias=True)
    with torch.inference_mode():
        output = model(**inputs, input_masks=small, multimask_output=False)
    return processor.post_process_masks(output.pred_masks, [list(mask.shape)], binarize=False)[0].numpy()[0, 0]


def test_masks_are_those_of_transformers_or_stay_where_it_marks_something_else(folder: Path) -> None:
    sam2 = load_sam2(folder, torch.device("cpu"), torch.float32)
    stray = np.zeros((48, 64), dtype=np.bool_)
    stray[0, 0] = True
    model = Model(*own_masks(sam2), stray, np.zeros_like(stray))
    segmenter = RefinedSegmenter(model, sam2, "toy")
    assert segmenter.name == "model, masks refined by toy"
    assert segmenter.capabilities == Capabilities(references=True)
    *found, finished = segmenter.session(segmenter.encode(IMAGE)).segment("the mug")
    changed = 0
    for mask, event, last in zip(model.masks, found, finished.objects, strict=True):
        logits = directly(folder, mask) if mask.any() else np.full(mask.shape, -1.0)
        kept = not mask.any() or intersection_over_union(logits > 0, mask) < 0.5
        np.testing.assert_array_equal(event.object.mask, mask if kept else logits > 0)
        assert last.mask is event.object.mask and last.phrase == "mug"
        assert (event.object.score, event.object.score_calibrated) == (0.7, kept)
        if not kept:
            assert ((last.probability() > 0.5) == last.mask).all()
        changed += not kept and not np.array_equal(logits > 0, mask)
    assert changed and found[3].object.mask is stray
    *_, cancelled = segmenter.session(segmenter.encode(IMAGE)).segment("the mug", cancelled=lambda: True)
    assert all(one.mask is mask for one, mask in zip(cancelled.objects, model.masks, strict=True))
    encoded = segmenter.encode(IMAGE)
    segmenter.release()
    assert model.released
    with pytest.raises(ClosedError):
        list(segmenter.session(encoded).segment("the mug"))


def test_each_loader_takes_it(folder: Path, tmp_path: Path) -> None:
    options = LoadOptions(device="cpu", threads=1, refine_masks="sam2", refine_checkpoint=str(folder))
    segmenter = load_segmenter(embedded_checkpoint(), options)
    assert segmenter.name.endswith("masks refined by sam2")
    *_, finished = segmenter.session(segmenter.encode(IMAGE)).segment("the red mug", answer="mask_only")
    assert finished.objects[0].mask.shape == (48, 64)
    with pytest.raises(LisaError, match="refine_masks is 'sam3'; it can be none, sam2"):
        load_segmenter(embedded_checkpoint(), LoadOptions(refine_masks="sam3"))
    with pytest.raises(CheckpointError, match="a SAM 2 checkpoint in transformers' format is expected"):
        load_segmenter(embedded_checkpoint(), replace(options, refine_checkpoint=str(embedded_checkpoint())))
