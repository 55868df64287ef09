# SPDX-License-Identifier: Apache-2.0
"""LISA's losses against numbers computed by hand from upstream's formulas."""

from __future__ import annotations

import math

import pytest
import torch

from lisa_ros.training.loop.losses import (
    BCE_WEIGHT,
    DICE_WEIGHT,
    TEXT_WEIGHT,
    batch_mask_losses,
    bce_loss,
    dice_loss,
    mask_loss,
)

LN3 = math.log(3.0)
"""sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4."""

FOUND = torch.tensor([[[LN3, LN3], [-LN3, -LN3]]])
WANTED = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
# -ln(3/4), -ln(1/4), -ln(3/4), -ln(3/4), over four pixels
BCE = (3 * math.log(4 / 3) + math.log(4)) / 4
# 2 * 0.75 * 1 of 2 found + 1 wanted, each over 1000, and eps 1e-6 above and below
DICE = 1 - (2 * 0.75 / 1000 + 1e-6) / (2 / 1000 + 1 / 1000 + 1e-6)


def test_weights() -> None:
    assert (TEXT_WEIGHT, BCE_WEIGHT, DICE_WEIGHT) == (1.0, 2.0, 0.5)


def test_bce() -> None:
    assert bce_loss(FOUND, WANTED).item() == pytest.approx(BCE, abs=1e-6)


def test_dice() -> None:
    assert dice_loss(FOUND, WANTED).item() == pytest.approx(DICE, abs=1e-6)


def test_the_mean_is_over_masks() -> None:
    perfect = torch.where(WANTED > 0, 100.0, -100.0)
    both, wanted = torch.cat([FOUND, perfect]), torch.cat([WANTED, WANTED])
    assert bce_loss(both, wanted).item() == pytest.approx(BCE / 2, abs=1e-6)
    assert dice_loss(both, wanted).item() == pytest.approx(DICE / 2, abs=1e-6)


def test_nothing_found_of_nothing_wanted_is_right() -> None:
    empty, nothing = torch.zeros(1, 2, 2), torch.full((1, 2, 2), -1000.0)
    assert dice_loss(nothing, empty).item() == 0.0
    assert bce_loss(nothing, empty).item() == 0.0


def test_something_found_of_nothing_wanted() -> None:
    # 1 - eps / (4 * 0.75 / 1000 + eps)
    found = torch.full((1, 2, 2), LN3)
    assert dice_loss(found, torch.zeros(1, 2, 2)).item() == pytest.approx(1 - 1e-6 / 0.003001, abs=1e-6)


def test_both_are_weighted() -> None:
    assert mask_loss(FOUND, WANTED).item() == pytest.approx(2.0 * BCE + 0.5 * DICE, abs=1e-6)
    assert mask_loss(torch.zeros(0, 2, 2), torch.zeros(0, 2, 2)).item() == 0.0


def test_images_of_several_sizes_count_by_their_masks() -> None:
    """Two masks of 2 x 2 and one of 1 x 2: (2 * mean of the first + 1 * the other) / 3."""
    found = [torch.cat([FOUND, FOUND]), torch.tensor([[[LN3, -LN3]]])]
    wanted = [torch.cat([WANTED, WANTED]), torch.tensor([[[1.0, 1.0]]])]
    other_bce = (math.log(4 / 3) + math.log(4)) / 2
    other_dice = 1 - (2 * 1.0 / 1000 + 1e-6) / (1 / 1000 + 2 / 1000 + 1e-6)
    bce, dice = batch_mask_losses(found, wanted)
    assert bce.item() == pytest.approx((2 * BCE + other_bce) / 3, abs=1e-6)
    assert dice.item() == pytest.approx((2 * DICE + other_dice) / 3, abs=1e-6)


def test_images_without_masks() -> None:
    none = torch.zeros(0, 3, 3)
    assert [loss.item() for loss in batch_mask_losses([none], [none])] == [0.0, 0.0]
    alone, beside = batch_mask_losses([FOUND], [WANTED]), batch_mask_losses([none, FOUND], [none, WANTED])
    assert [loss.item() for loss in alone] == [loss.item() for loss in beside]
