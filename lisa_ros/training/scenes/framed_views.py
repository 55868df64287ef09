# SPDX-License-Identifier: Apache-2.0
"""Views of the region of the objects, as the embedded model reads images, varied each time they are drawn."""

from __future__ import annotations

import cv2
import numpy as np

from lisa_ros.simulation.randomization.degradation import degraded
from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.view_sources import part_of, random_region, replace_pixels
from lisa_ros.training.scenes.compositing import on_another_background
from lisa_ros.training.scenes.randomized_views import ViewSequence, sometimes_hidden

ELSEWHERE, SHIFTED, DEGRADED = 0.3, 0.4, 0.8
"""How often a view gets another background, is framed anew, and degraded as by a camera."""
PLAIN_KEPT = 0.5
"""How often a view of the plain table is drawn without noise and blur."""
WHOLE = 0.25
"""How often a view of the plain table, or one on another background, is not framed: CLIP also finds the region."""
SMALLEST = 0.45
"""Side of the region in the camera's image, at least, relative to the view."""


class FramedViews(ViewSequence):
    """Views that are framed already, and plain ones, which are framed here; `varied` changes what the caches hold."""

    def varied(self, number: int, rng: np.random.Generator) -> View:
        """A view on another background or in another frame, behind a random arm, through a random camera."""
        view = self._views[number]
        if number >= self._plain_from:
            view = view if rng.random() < WHOLE else reframed(view, rng)
            if rng.random() < PLAIN_KEPT:
                return view
        if rng.random() < ELSEWHERE:
            view = on_another_background(view, rng)
            view = view if rng.random() < WHOLE else reframed(view, rng)
        elif rng.random() < SHIFTED:
            view = reframed(view, rng)
        view = sometimes_hidden(view, rng)
        return magnified(view, rng) if rng.random() < DEGRADED else view


def reframed(view: View, rng: np.random.Generator) -> View:
    """The region of the objects with random margins; the view itself where that would show none."""
    region = random_region(view.instances, rng)
    return view if region is None else part_of(view, region)


def magnified(view: View, rng: np.random.Generator) -> View:
    """The view as a part of a random camera's image: with its noise and blur, and at times fewer pixels."""
    height, width = view.instances.shape
    share = float(np.exp(rng.uniform(np.log(SMALLEST), 0.0))) if rng.random() < 0.5 else 1.0
    size = (round(width * share), round(height * share))
    taken = np.asarray(cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    taken = degraded(taken, rng, frame=rng.uniform(share, 2.0))
    back = cv2.resize(taken, (width, height), interpolation=cv2.INTER_LINEAR)
    return replace_pixels(view, np.asarray(back, dtype=np.uint8), view.instances)
