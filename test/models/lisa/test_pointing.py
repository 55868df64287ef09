# SPDX-License-Identifier: Apache-2.0
"""Points and boxes beside `[SEG]`: the masks are those of segment-anything's own SamPredictor."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa.segmenter import LisaSegmenter
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import CommandError, Finished
from lisa_ros.segmentation.pointing import Pointing

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> LisaSegmenter:
    segmenter = load_segmenter(embedded_checkpoint(), LoadOptions(model_options=("region=whole",)))
    assert isinstance(segmenter, LisaSegmenter)
    return segmenter


class TextBesidePrompts(torch.nn.Module):
    """segment-anything's own prompt encoder, with the embedding of `[SEG]` before its prompts."""

    def __init__(self, encoder: Any, text: torch.Tensor) -> None:
        super().__init__()
        self.encoder, self.text = encoder, text

    def get_dense_pe(self) -> Any:
        return self.encoder.get_dense_pe()

    def forward(self, **prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        sparse, dense = self.encoder(**prompts)
        return torch.cat([self.text, sparse], dim=1), dense


@pytest.mark.parametrize(
    "pointing",
    [
        Pointing(((100.5, 7.0),)),
        Pointing(((30.0, 40.0), (100.5, 7.0), (0.0, 89.0))),
        Pointing((), ((10, 20, 50, 30),)),
        Pointing(((1, 2), (159, 0)), ((0, 0, 160, 90),)),
    ],
)
def test_the_mask_is_that_of_segment_anything_s_predictor(segmenter: LisaSegmenter, pointing: Pointing) -> None:
    """SamPredictor with the checkpoint's weights, from the image itself; a box's corners as SamPredictor takes them."""
    network = segmenter._lisa.network
    state = torch.randn(1, network.text_hidden_fcs[0].in_features, generator=torch.Generator().manual_seed(1))
    visual = network.visual_model
    with torch.inference_mode():
        text = network.text_hidden_fcs(state)[:, None].float()
    sam = Sam(visual.image_encoder, TextBesidePrompts(visual.prompt_encoder, text), visual.mask_decoder)
    predictor = SamPredictor(sam.eval())
    predictor.set_image(IMAGE)
    corners = [np.array([x, y, x + width, y + height]) for x, y, width, height in pointing.boxes]
    expected, _, _ = predictor.predict(
        point_coords=np.array(pointing.points) if pointing.points else None,
        point_labels=np.ones(len(pointing.points)) if pointing.points else None,
        box=corners[0] if corners else None,
        multimask_output=False,
        return_logits=True,
    )
    encoded = segmenter.encode(IMAGE)
    found = encoded.mask_logits(state, pointing).full
    np.testing.assert_allclose(found, expected[0], atol=1e-3)
    np.testing.assert_array_equal(found > 0, expected[0] > 0)
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
