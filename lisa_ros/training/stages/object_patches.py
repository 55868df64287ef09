# SPDX-License-Identifier: Apache-2.0
"""The classifier that finds the region of the objects: fitted to CLIP's features once CLIP is trained."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.image.patch_classifier import PatchClassifier
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.simulation.scene import View
from lisa_ros.training.scenes.batches import Views, draw_view, step_rng
from lisa_ros.training.stages.hints import GRID

LAYERS = (2, 4, 5)
"""Of CLIP. The last one alone misses small objects twice as often; those after the fifth take time only once, for the
region that was found."""
VIEWS = 800
"""Views that are drawn; each gives 256 patches."""
SHOWN = 0.15
"""Share of a patch that objects cover at least, if it counts as showing one."""
DECAY = 1e-4
"""Of the weights, for features with a standard deviation of 1."""
SMALLEST_SPREAD = 1e-6
"""Of a feature: one that never changes gets the weight 0."""
DIGITS = 4
"""After the point, in config.json."""


def fit_object_patches(network: LisaNetwork, views: Views, clip: ClipPreprocessing, seed: int) -> PatchClassifier:
    """A logistic regression from CLIP's features of a patch to whether it shows an object.

    Args:
        network: CLIP is taken from it.
        views: whole images, not regions.
        clip: CLIP's preprocessing.
        seed: of all random numbers.
    """
    rng = step_rng(seed, "object_patches", 0)
    drawn = (draw_view(views, rng) for _ in range(VIEWS))
    pairs = [(_features(network, view, clip), _shown(view)) for view in tqdm(drawn, "patches", VIEWS, unit="view")]
    features, shown = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    mean, scale = features.mean(0), features.std(0).clamp_min(SMALLEST_SPREAD)
    weights, bias = _regression((features - mean) / scale, shown)
    weights = weights / scale
    return PatchClassifier(
        LAYERS,
        tuple(round(one, DIGITS) for one in weights.tolist()),
        round(float(bias - weights @ mean), DIGITS),
    )


@torch.no_grad()
def _features(network: LisaNetwork, view: View, clip: ClipPreprocessing) -> torch.Tensor:
    return network.patch_features(clip(view.rgb), LAYERS)[0].float()


def _shown(view: View) -> torch.Tensor:
    """(GRID * GRID,) float32, 1 where objects cover enough of the patch."""
    covered = torch.from_numpy(np.ascontiguousarray(view.instances > 0)).float()[None, None]
    return (F.adaptive_avg_pool2d(covered, GRID).flatten() > SHOWN).float()


def _regression(features: torch.Tensor, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = F.binary_cross_entropy_with_logits(features @ weights + bias, shown)
        total = error + DECAY * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach(), bias.detach()
