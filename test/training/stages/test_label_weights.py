# SPDX-License-Identifier: Apache-2.0
"""Labels on small objects weigh more, and weights that are equal change nothing."""

from __future__ import annotations

import pytest
import torch
from hand_made_views import SPARSE

from lisa_ros.training.scenes.batches import IGNORED, LEAST_WEIGHT, MIDDLING, MOST_WEIGHT, label_weights
from lisa_ros.training.stages.pretraining import PatchLabels


def test_labels_of_small_objects_weigh_more() -> None:
    height, width = SPARSE.instances.shape
    shown = torch.from_numpy(SPARSE.instances) > 0
    weights = label_weights(SPARSE, (height, width))
    assert weights[~shown].unique().tolist() == [1.0]
    assert weights[shown].unique().tolist() == pytest.approx([(MIDDLING / 100) ** 0.5])
    coarse, fine = (label_weights(SPARSE, (round(height * x), round(width * x))) for x in (0.25, 4))
    assert coarse.max() == MOST_WEIGHT
    assert fine.min() == pytest.approx(LEAST_WEIGHT)


def test_the_loss_with_equal_weights_is_the_loss_without() -> None:
    torch.manual_seed(0)
    labels = PatchLabels(8)
    features, chance = torch.randn(5, 8), torch.Generator().manual_seed(1)
    kinds = torch.randint(labels.kinds, (5, 16), generator=chance)
    colours = torch.randint(labels.colours, (5, 16), generator=chance)
    kinds[0], colours[:2] = IGNORED, IGNORED
    plain, _ = labels.loss(features, kinds, colours)
    equal, _ = labels.loss(features, kinds, colours, torch.full((5, 16), 2.0))
    assert torch.allclose(plain, equal)
    heavy = torch.ones(5, 16)
    heavy[3] = 3.0
    twice = [tensor[[0, 1, 2, 3, 3, 3, 4]] for tensor in (features, kinds, colours)]
    assert torch.allclose(labels.loss(features, kinds, colours, heavy)[0], labels.loss(*twice)[0])
