# SPDX-License-Identifier: Apache-2.0
"""`segmenter: auto`: names of objects go to SAM 3, everything else to the model that can reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_checkpoints import sam2_checkpoint, sam3_checkpoint

from lisa_ros.models.combined.by_name import BothImages, ByNameSegmenter
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import CommandError, Finished
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.turns import turn_of

pytestmark = pytest.mark.model
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
    toys = tmp_path_factory.mktemp("toys")
    return LoadOptions(
        device="cpu",
        threads=1,
        segmenter="auto",
        names_checkpoint=str(sam3_checkpoint(toys / "sam3")),
        refine_checkpoint=str(sam2_checkpoint(toys / "sam2")),
    )


class Refusing:
    """An image or a model that cannot be freed."""

    def release(self) -> None:
        raise RuntimeError("a fault of CUDA")


class Freed:
    def __init__(self) -> None:
        self.released = False

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("kind", [BothImages, ByNameSegmenter])
def test_the_second_model_is_freed_where_the_first_cannot_be(kind: Any) -> None:
    second = Freed()
    with pytest.raises(RuntimeError, match="a fault of CUDA"):
        kind(Refusing(), second).release()
    assert second.released


def asked(segmenter: Segmenter, command: str, turns: Any = (), **more: Any) -> Finished:
    *_, finished = segmenter.session(segmenter.encode(IMAGE), turns).segment(command, max_new_tokens=8, **more)
    assert isinstance(finished, Finished)
    return finished


def test_a_name_goes_to_sam_3_and_all_else_to_lisa(options: LoadOptions) -> None:
    both = load_segmenter(embedded_checkpoint(), options)
    lisa = load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu", threads=1))
    sam3 = load_segmenter(Path(options.names_checkpoint), LoadOptions(device="cpu"))
    assert both.name == f"{lisa.name}; names of objects: {sam3.name}"
    named, reasoned = asked(both, "Can you find every red mug?"), asked(both, "something to drink from")
    assert (named.model, reasoned.model) == (sam3.name, lisa.name)
    for answer, alone in ((named, sam3), (reasoned, lisa)):
        expected = asked(alone, "every red mug" if alone is sam3 else "something to drink from")
        assert answer.answer == expected.answer
        for one, other in zip(answer.objects, expected.objects, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
    turns = [turn_of("every red mug", named)]
    assert asked(both, "the other one", turns).model == lisa.name
    assert asked(both, "the red mug", references=[np.ones((48, 64), bool)]).model == lisa.name
    with pytest.raises(CommandError, match="The checkpoint tabletop"):  # LISA's answer: this one takes no points
        asked(both, "the red mug", pointing=Pointing(points=((5.0, 5.0),)))


def test_with_refined_masks_the_answer_names_all_that_took_part(options: LoadOptions) -> None:
    both = load_segmenter(embedded_checkpoint(), dataclasses.replace(options, refine_masks="sam2"))
    assert asked(both, "the red mug").model.endswith(", masks refined by sam2")
    with pytest.raises(LisaError, match="holds LISA; SAM 3 is expected, such as facebook/sam3"):
        load_segmenter(embedded_checkpoint(), dataclasses.replace(options, names_checkpoint=str(embedded_checkpoint())))
