# SPDX-License-Identifier: Apache-2.0
"""The region of the objects: how it is found, how masks of it become masks of the image, and its options."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import CheckpointError, load_lisa
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.encoded_image import OUTSIDE, EncodedImage
from lisa_ros.models.lisa.image.object_region import RegionFinder, averaged, object_box
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES, PatchClassifier
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import CommandError, Finished
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.region import Region

GRID, PATCH = 16, 12
CPU = LoadOptions(device="cpu", precision="fp32")
IMAGE = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
REGION = Region(30, 81, 64, 85)


class Brightness:
    """A stand-in for CLIP: its patches have one feature, their mean brightness from -1 to 1."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool2d(pixels.mean(1), PATCH).flatten(1)[..., None]


def whole_image(image: NDArray[np.uint8]) -> torch.Tensor:
    """A stand-in for CLIP's preprocessing."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.nn.functional.interpolate(pixels, (GRID * PATCH, GRID * PATCH), mode="area")


def finder(weight: float = 12.0) -> RegionFinder:
    """Finds what is bright."""
    return RegionFinder(Brightness(), whole_image, PatchClassifier((-1,), (weight,), 0.0))  # type: ignore[arg-type]


def dark(size: tuple[int, int], *bright: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A black image with white boxes (top, left, bottom, right)."""
    image = np.zeros((*size, 3), np.uint8)
    for top, left, bottom, right in bright:
        image[top:bottom, left:right] = 255
    return image


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (48, 64), (90, 900)])
def test_all_bright_boxes_are_in_the_region(size: tuple[int, int]) -> None:
    """Each is larger than a patch."""
    height, width = size
    first = (height // 8, width // 2, height // 4, 5 * width // 8)
    second = (height // 4, width // 4, 3 * height // 8, 3 * width // 8)
    region = finder()(dark(size, first, second))
    assert region.area < 0.6 * height * width
    assert np.count_nonzero(region.of(dark(size, first, second))) == np.count_nonzero(dark(size, first, second))


def test_the_second_look_is_closer() -> None:
    find = finder()
    image = dark((480, 640), (200, 300, 245, 360))
    region = find(image)
    assert find.features.calls == 2  # type: ignore[attr-defined]
    assert region == find(image)
    assert (region.height, region.width) == (96, 128), "the smallest"


@pytest.mark.parametrize("image", [dark((480, 640)), dark((480, 640), (0, 0, 480, 640)), dark((1, 1)), dark((40, 1))])
def test_without_objects_or_full_of_them_the_region_is_the_whole_image(image: NDArray[np.uint8]) -> None:
    assert finder()(image) == Region(0, 0, *image.shape[:2])


def test_features_that_are_not_finite_find_nothing() -> None:
    assert finder(math.nan)(dark((48, 64), (10, 10, 20, 20))) == Region(0, 0, 48, 64)


def test_a_tiny_image_with_an_object_at_its_border() -> None:
    region = finder()(dark((200, 2), (0, 0, 30, 2)))
    assert (region.top, region.left, region.width) == (0, 0, 2) and 30 <= region.height <= 60


def test_likely_patches_count_beside_a_certain_one() -> None:
    grid = np.zeros((GRID, GRID), np.float32)
    grid[2, 3], grid[3, 4], grid[12, 12] = 0.9, 0.5, 0.6
    box = object_box(grid)
    assert box == pytest.approx((2.1, 3.1, 3.5, 4.5)), "outer patches count as far as they are covered"
    grid[2, 3] = 0.7
    assert object_box(grid) is None
    grid[15, 15] = 1.0
    assert object_box(grid) == (15, 15, 16, 16)


def test_the_likeliest_patch_counts_where_none_is_certain() -> None:
    grid = np.full((GRID, GRID), 0.01, np.float32)
    grid[5, 6], grid[9, 9] = 0.3, 0.25
    assert object_box(grid, 0.2) == pytest.approx((5.25, 6.25, 5.75, 6.75)), "the likeliest alone, as if just certain"
    grid[5, 7] = 0.5
    assert object_box(grid, 0.2) == pytest.approx((5.25, 7.25, 5.75, 7.75)), "those below LIKELY do not count beside it"
    assert object_box(grid) is None and object_box(grid, 0.6) is None
    grid[12, 12] = 0.9
    assert object_box(grid, 0.2) == pytest.approx((12.1, 12.1, 12.9, 12.9)), "one is certain"


def test_an_uncertain_object_is_in_the_region() -> None:
    """It is half bright, and less so in the second look, which changes nothing."""
    image = np.full((480, 640, 3), 90, np.uint8)
    image[210:240, 320:360] = 118
    region = finder()(image)
    assert region.area < 0.2 * 480 * 640
    assert np.count_nonzero(region.of(image) == 118) == 30 * 40 * 3
    assert finder()(np.full((480, 640, 3), 90, np.uint8)) == Region(0, 0, 480, 640), "nothing is likely"


@pytest.fixture(scope="module")
def lisa() -> Lisa:
    return load_lisa(embedded_checkpoint(), CPU)


def test_masks_of_a_region_are_those_of_the_part_alone_in_its_place(lisa: Lisa) -> None:
    found: list[NDArray[np.uint8]] = []

    def find(image: NDArray[np.uint8]) -> Region:
        found.append(image)
        return REGION

    part = np.ascontiguousarray(REGION.of(IMAGE))
    framed = EncodedImage(IMAGE, lisa.network, lisa.clip, find_region=find)
    alone = EncodedImage(part, lisa.network, lisa.clip)
    assert torch.equal(framed.visual_tokens(), alone.visual_tokens())
    state = torch.randn(1, lisa.network.text_hidden_fcs[0].in_features, generator=torch.Generator().manual_seed(1))
    pointing = Pointing(((85.5, 33.0),), ((90.0, 40.0, 20.0, 30.0),))
    moved = Pointing(((4.5, 3.0),), ((9.0, 10.0, 20.0, 30.0),))
    for there, here in ((Pointing(), Pointing()), (pointing, moved)):
        whole, small = framed.mask_logits(state, there), alone.mask_logits(state, here)
        assert whole.full.shape == IMAGE.shape[:2] and whole.full.dtype == np.float32
        np.testing.assert_array_equal(REGION.of(whole.full), small.full)
        np.testing.assert_array_equal(whole.low_res, small.low_res)
        REGION.of(whole.full)[:] = OUTSIDE
        assert (whole.full == OUTSIDE).all()
    framed.release()
    framed.visual_tokens()
    assert len(found) == 1, "the region is found once, also for an image that was released and is used again"


def with_classifier(folder: Path, value: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, OBJECT_PATCHES: value}))
    return folder


def classifier(folder: Path) -> PatchClassifier:
    """Of no use, but of the right width."""
    width = read_configuration(folder).vision_width
    return PatchClassifier((-1,), tuple(np.linspace(-1, 1, width).tolist()), 0.5)


def test_the_option_and_its_default(source: Path) -> None:
    known = classifier(source)
    with_classifier(source, known.as_json())
    assert read_configuration(source).object_patches == known
    for options, is_found in ((), True), (("region=objects",), True), (("region=whole",), False):
        segmenter = load_segmenter(source, dataclasses.replace(CPU, model_options=options))
        assert isinstance(segmenter, LisaSegmenter)
        assert (segmenter._lisa.find_region is not None) is is_found
    assert load_lisa(source, CPU).find_region is None, "as the public code: whole images"


def test_an_unknown_value_of_the_option_is_named(source: Path) -> None:
    with pytest.raises(LisaError, match=r"^the model option region is 'half'; it can be objects or whole$"):
        load_segmenter(source, dataclasses.replace(CPU, model_options=("region=half",)))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda value: [value], "it is of the type list"),
        (lambda value: "weights", "it is of the type str"),
        (lambda value: {}, "they are None"),
        (lambda value: {**value, "layers": "last"}, "they are 'last'"),
        (lambda value: {**value, "layers": [-1, 0]}, r"its weights are \d+ of them"),
        (lambda value: {**value, "weights": None}, "its weights are None"),
        (lambda value: 0, "it is of the type int"),
        (lambda value: {**value, "bias": None}, "it has None"),
        (lambda value: {**value, "weights": value["weights"][1:]}, r"its weights are \d+ of them"),
        (lambda value: {**value, "weights": "1" * len(value["weights"])}, "its weights are '111"),
        (lambda value: {**value, "weights": ["1", *value["weights"][1:]]}, "it has '1'"),
        (lambda value: {**value, "bias": math.nan}, "it has nan"),
        (lambda value: {**value, "bias": 10**400}, "it has 1000"),
        (lambda value: {**value, "bias": True}, "it has True"),
    ],
)
def test_a_wrong_classifier_is_named(source: Path, change: Any, found: str) -> None:
    with_classifier(source, change(classifier(source).as_json()))
    with pytest.raises(CheckpointError, match=f"lisa_ros_object_patches must (be an object|have .*); .*{found}"):
        load_segmenter(source, CPU)


def test_a_clip_that_crops_cannot_find_regions(source: Path) -> None:
    with_classifier(source, classifier(source).as_json())
    file = source / "clip" / "preprocessor_config.json"
    preprocessing = json.loads(file.read_text())
    crop = {"do_center_crop": True, "crop_size": preprocessing["size"], "size": {"shortest_edge": 192}}
    file.write_text(json.dumps({**preprocessing, **crop}))
    with pytest.raises(CheckpointError, match="lisa_ros_object_patches needs a CLIP that is given whole images"):
        load_segmenter(source, CPU)


def test_the_layers_must_be_clips(source: Path) -> None:
    with_classifier(source, dataclasses.replace(classifier(source), layers=(8,)).as_json())
    with pytest.raises(CheckpointError, match=r"lisa_ros_object_patches has the layers \[8\], but CLIP has 7 layers"):
        load_segmenter(source, CPU)


def test_what_is_pointed_at_must_be_shown(source: Path) -> None:
    segmenter = load_segmenter(source, CPU)
    assert isinstance(segmenter, LisaSegmenter)
    lisa = segmenter._lisa
    lisa.config = dataclasses.replace(lisa.config, point_prompts=True)
    lisa.find_region = lambda image: REGION
    session = segmenter.session(segmenter.encode(IMAGE))
    ways = {"max_new_tokens": 4, "answer": "mask_only"}
    shown = Pointing(((81.0, 30.0),), ((70.0, 40.0, 40.0, 20.0),))
    *_, last = session.segment("the red mug", pointing=shown, **ways)  # type: ignore[arg-type]
    assert isinstance(last, Finished) and len(last.objects) == 1
    for pointing in Pointing(((80.0, 30.0),)), Pointing((), ((0.0, 40.0, 40.0, 20.0),)):
        with pytest.raises(CommandError, match="outside the region of the objects"):
            list(session.segment("the red mug", pointing=pointing, **ways))  # type: ignore[arg-type]
    segmenter.release()
    assert lisa.find_region is None


def test_large_images_are_averaged_and_small_ones_are_looked_at_as_they_are() -> None:
    image = np.random.default_rng(2).integers(0, 256, (720, 1280, 3), np.uint8)
    means = image.reshape(360, 2, 640, 2, 3).mean(axis=(1, 3))
    assert np.abs(averaged(image) - means).max() <= 0.5
    assert averaged(image[:480, :640]).shape == (480, 640, 3)
    assert averaged(image[:601, :999]).shape == (300, 500, 3)
