# SPDX-License-Identifier: Apache-2.0
"""Points and boxes beside `[SEG]`: the numbers are those of segment-anything's own prompt encoder and transforms."""

import dataclasses

import numpy as np
import pytest
import torch
from segment_anything.utils.transforms import ResizeLongestSide

from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import CommandError, Finished
from lisa_ros.segmentation.pointing import Pointing

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> LisaSegmenter:
    segmenter = load_segmenter(embedded_checkpoint())
    assert isinstance(segmenter, LisaSegmenter)
    return segmenter


@pytest.mark.parametrize(
    "pointing",
    [Pointing(((30.0, 40.0), (100.5, 7.0))), Pointing((), ((10, 20, 50, 30),)), Pointing(((1, 2),), ((0, 0, 9, 8),))],
)
def test_the_mask_is_what_segment_anything_makes_of_the_prompts(segmenter: LisaSegmenter, pointing: Pointing) -> None:
    network = segmenter._lisa.network
    encoded = segmenter.encode(IMAGE)
    state = torch.randn(1, network.text_hidden_fcs[0].in_features, generator=torch.Generator().manual_seed(1))
    sam, transform = network.visual_model, ResizeLongestSide(network.image_size)
    points = boxes = None
    if pointing.points:
        moved = torch.as_tensor(transform.apply_coords(np.array(pointing.points), IMAGE.shape[:2]))[None].float()
        points = moved, torch.ones(1, len(pointing.points), dtype=torch.int)
    if pointing.boxes:
        x, y, width, height = pointing.boxes[0]
        corners = transform.apply_boxes(np.array([[x, y, x + width, y + height]]), IMAGE.shape[:2])
        boxes = torch.as_tensor(corners).float()
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
        features, resized = encoded._sam_features()
        low, _ = sam.mask_decoder(
            image_embeddings=features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=torch.cat([network.text_hidden_fcs(state)[:, None].float(), sparse], dim=1),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        expected = network.upsample(low[:, 0], resized, IMAGE.shape[:2])[0].numpy()
    found = encoded.mask_logits(state, pointing).full
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - encoded.mask_logits(state).full).max() > 0.1


def test_a_checkpoint_without_trained_points_refuses_them(
    segmenter: LisaSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = segmenter.session(segmenter.encode(IMAGE))
    with pytest.raises(CommandError, match="not trained with them"):
        list(session.segment("this", pointing=Pointing(((3, 4),))))
    with pytest.raises(CommandError, match="outside the image"):
        list(session.segment("this", pointing=Pointing(((160, 4),))))
    lisa = segmenter._lisa
    monkeypatch.setattr(lisa, "config", dataclasses.replace(lisa.config, point_prompts=True))
    *_, finished = session.segment("this", pointing=Pointing(((3, 4),)), answer="mask_only")
    assert isinstance(finished, Finished) and finished.objects[0].mask.shape == (90, 160)
