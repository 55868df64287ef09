# SPDX-License-Identifier: Apache-2.0
"""Weights of a smaller network fill a larger one that answers as before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from lisa_ros.training.embedded.architecture import CLIP
from lisa_ros.training.embedded.resizing import ENCODER, resized_weights

POSITIONS, RELATIVE = f"{ENCODER}pos_embed", f"{ENCODER}blocks.2.attn.rel_pos_h"


def test_positions_are_interpolated_and_the_rest_is_kept() -> None:
    rows = torch.linspace(0, 1, 24)[None, :, None, None].expand(1, 24, 24, 3).contiguous()
    weights = {POSITIONS: rows, RELATIVE: torch.ones(47, 8), "lm_head.weight": torch.randn(5, 4)}
    wanted = {POSITIONS: torch.zeros(1, 32, 32, 3), RELATIVE: torch.zeros(63, 8), "lm_head.weight": torch.zeros(5, 4)}
    found = resized_weights(weights, wanted)
    assert {name: one.shape for name, one in found.items()} == {name: one.shape for name, one in wanted.items()}
    assert found["lm_head.weight"] is weights["lm_head.weight"]
    assert not found[RELATIVE].any()
    middles = (torch.arange(32) + 0.5) * 24 / 32 - 0.5  # of the new rows, in the old ones
    torch.testing.assert_close(found[POSITIONS][0, 3:-3, 5, 1], (middles / 23)[3:-3], atol=3e-3, rtol=0)


def test_other_weights_must_fit() -> None:
    with pytest.raises(ValueError, match=r"lm_head.weight has the shape \(5, 4\), not \(6, 4\)"):
        resized_weights({"lm_head.weight": torch.zeros(5, 4)}, {"lm_head.weight": torch.zeros(6, 4)})


def test_new_layers_of_clip_keep_its_features_and_can_learn() -> None:
    torch.manual_seed(5)
    small, large = clip(5), clip(7)
    weights, wanted = named(small), named(large)
    found = resized_weights(weights, wanted)
    assert found.keys() == wanted.keys()
    large.load_state_dict({name.removeprefix("vision_tower."): one for name, one in found.items()})
    image = torch.randn(2, 3, CLIP["image_size"], CLIP["image_size"])
    torch.testing.assert_close(large(image).last_hidden_state, small(image).last_hidden_state, atol=0, rtol=0)
    large(image).last_hidden_state.square().sum().backward()
    for number, layer in enumerate(large.encoder.layers):
        assert layer.mlp.fc2.weight.grad.any(), number
        assert layer.mlp.fc1.weight.any(), number


def test_a_clip_of_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="CLIP has 3 layers, not 7"):
        resized_weights(named(clip(3)), named(clip(7)))


def named(tower: Any) -> dict[str, torch.Tensor]:
    return {f"vision_tower.{name}": one for name, one in tower.state_dict().items()}


def clip(layers: int) -> Any:
    tower: Any = CLIPVisionModel(CLIPVisionConfig(**CLIP | {"num_hidden_layers": layers}))
    return tower.eval()
