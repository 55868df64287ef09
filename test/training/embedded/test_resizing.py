# SPDX-License-Identifier: Apache-2.0
"""Weights of a SAM with a smaller input fill one with a larger input."""

from __future__ import annotations

import pytest
import torch

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
