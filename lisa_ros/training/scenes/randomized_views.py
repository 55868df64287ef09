# SPDX-License-Identifier: Apache-2.0
"""Views to learn from, cropped, partly hidden and degraded in a new way each time they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lisa_ros.segmentation.region import Region
from lisa_ros.simulation.randomization.degradation import degraded, hide_behind_arm
from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.view_sources import part_of, replace_pixels
from lisa_ros.tabletop.views import ViewCache
from lisa_ros.training.scenes.compositing import on_another_background

ELSEWHERE, CROPPED, HIDDEN, DEGRADED = 0.5, 0.4, 0.12, 0.75
"""How often a view gets another background, is cropped, partly hidden by an arm, and degraded as by a real camera."""
SMALLEST_CROP = 0.5
"""Of the image's sides."""
PLAIN_KEPT = 0.5
"""How often a view of the plain table is drawn as it was rendered by default, so that what was learned of it stays."""


class ViewSequence:
    """The views of some caches in one sequence, those that show objects: the randomized ones, then the plain ones."""

    def __init__(self, randomized: Sequence[ViewCache], plain: Sequence[ViewCache] = ()) -> None:
        """Takes caches of randomized tables and of the plain one, one view or more in all."""
        views = [[cache[i] for cache in caches for i in range(len(cache))] for caches in (randomized, plain)]
        changing, kept = ([view for view in some if view.objects] for some in views)
        self._views, self._plain_from = changing + kept, len(changing)

    def __len__(self) -> int:
        """Number of views."""
        return len(self._views)

    def __getitem__(self, index: int) -> View:
        """A view as it was rendered."""
        return self._views[index]


class RandomizedViews(ViewSequence):
    """Views of whole images; `varied` changes what the caches hold."""

    def __init__(
        self, randomized: Sequence[ViewCache], plain: Sequence[ViewCache] = (), plain_kept: float = PLAIN_KEPT
    ) -> None:
        """Takes the caches.

        Args:
            randomized: always varied.
            plain: varied at times.
            plain_kept: how often a view of these is drawn as it was rendered, 0 to 1.
        """
        super().__init__(randomized, plain)
        self._plain_kept = plain_kept

    def varied(self, number: int, rng: np.random.Generator) -> View:
        """A view on another background or after a random crop, behind a random arm, through a random camera.

        Some draws of the plain table give the view as it was rendered.
        """
        view = self._views[number]
        if number >= self._plain_from and rng.random() < self._plain_kept:
            return view
        if rng.random() < ELSEWHERE:
            view = on_another_background(view, rng)
        elif rng.random() < CROPPED:
            view = cropped(view, rng)
        view = sometimes_hidden(view, rng)
        return replace_pixels(view, degraded(view.rgb, rng), view.instances) if rng.random() < DEGRADED else view


def sometimes_hidden(view: View, rng: np.random.Generator) -> View:
    """The view with an arm in front of some objects at times, though never of all."""
    if rng.random() >= HIDDEN:
        return view
    hidden = replace_pixels(view, *hide_behind_arm(view.rgb, view.instances, rng))
    return hidden if hidden.objects else view


def cropped(view: View, rng: np.random.Generator) -> View:
    """A random part of a view, of another aspect; the view itself where that part shows no object."""
    height, width = view.instances.shape
    tall, wide = (round(rng.uniform(SMALLEST_CROP, 1.0) * side) for side in (height, width))
    top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    return part_of(view, Region(top, left, tall, wide))
