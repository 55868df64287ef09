# SPDX-License-Identifier: Apache-2.0
"""CLIP learns randomized views so that the language model reads them as it reads views of the plain table.

Of each patch CLIP and the projector give the language model a token. What that token would be on the plain table is
known from the simulator: by least squares from the patch's hints (hint_reading.py). That is what is learned here, with
the labels of every patch, so that projector and language model need not change.
"""

from __future__ import annotations

import torch
from torch import nn

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.training.embedded.architecture import CLIP
from lisa_ros.training.embedded.codes import waves
from lisa_ros.training.loop.trainer import Scalars
from lisa_ros.training.scenes.batches import (
    Views,
    draw_view,
    in_strange_colours,
    step_rng,
    view_numbers,
)
from lisa_ros.training.stages.hints import NAMED, stacked
from lisa_ros.training.stages.pretraining import PatchLabels, chosen, dense_weights, informative_patches, label_loss

TABLE_WEIGHT = 0.1
"""Of the token of a patch that shows no object; one full of an object has a weight of 1."""
TOKEN_LOSS = 10.0
"""Weight of the tokens' error beside the labels' cross-entropy."""
STRANGE_EVERY = 4
"""One view in so many has other colours, from which only kinds are learned."""


class ClipRandomizedStage(nn.Module):
    """CLIP on randomized views; the projector stays as it is."""

    def __init__(
        self,
        network: LisaNetwork,
        views: Views,
        clip: ClipPreprocessing,
        to_tokens: tuple[torch.Tensor, torch.Tensor],
        *,
        name: str,
        seed: int,
        batch: int,
        kept: int,
    ) -> None:
        """Trains `network.vision_tower` on `batch` views a step, `kept` patches of each.

        Args:
            network: CLIP is trained in place.
            views: randomized and plain ones.
            clip: CLIP's preprocessing.
            to_tokens: weight and bias of `hint_reading.read_as_images`.
            name: of the stage; part of the seed.
            seed: of all random numbers.
            batch: views a step.
            kept: patches of each view that are computed.
        """
        super().__init__()
        self.network_part = network.vision_tower.requires_grad_(True)  # an earlier stage may have left it fixed
        self.head = PatchLabels(CLIP["hidden_size"])
        self.name = name
        self._project = network.mm_projector.requires_grad_(False).forward
        self._to_tokens = to_tokens
        self._views, self._clip, self._seed, self._batch, self._kept = views, clip, seed, batch, kept
        self._scale = to_tokens[0].square().sum(0).mean()

    def describe(self, number: int) -> str:
        """The views of a batch."""
        return f"views {view_numbers(self._views, step_rng(self._seed, self.name, number), self._batch)}"

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, self.name, number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        strange = slice(0, None, STRANGE_EVERY)
        views[strange] = [in_strange_colours(view, rng) for view in views[strange]]
        hints = stacked(views, waves)
        kept = informative_patches(hints, self._kept, rng)
        weights = chosen(dense_weights(views), kept)
        features, dense, right = label_loss(self, views, self._clip, kept, strange, weights)
        tokens = self._token_loss(features, chosen(hints, kept), weights.amax(-1), strange)
        return dense + TOKEN_LOSS * tokens, {"dense": dense.item(), **right, "tokens": tokens.item()}

    def _token_loss(
        self, features: torch.Tensor, hints: torch.Tensor, weights: torch.Tensor, strange: slice
    ) -> torch.Tensor:
        """Squared error of the tokens, in units of what one hint changes; `weights` (B, count) of the patches."""
        weight, bias = self._to_tokens
        error = (self._project(features) - (hints @ weight.T + bias)).square().sum(-1) / self._scale
        here = (TABLE_WEIGHT + (1 - TABLE_WEIGHT) * hints[..., NAMED - 2]) * weights
        here[strange] = 0.0
        return (error * here).mean()
