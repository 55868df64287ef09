# SPDX-License-Identifier: Apache-2.0
"""Views of the region of the objects, as the embedded model reads images, varied each time they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lisa_ros.segmentation.region import Region, box_around, region_around
from lisa_ros.simulation.randomization.degradation import degraded, hide_behind_arm
from lisa_ros.simulation.scene import Camera, View
from lisa_ros.tabletop.view_sources import MARGIN, MARGIN_SPREAD, replace_pixels
from lisa_ros.tabletop.views import ViewCache
from lisa_ros.training.scenes.compositing import on_another_background

ELSEWHERE, SHIFTED, HIDDEN, DEGRADED = 0.3, 0.4, 0.12, 0.8
"""How often a view gets another background, is framed anew, partly hidden by an arm, and degraded as by a camera."""
PLAIN_KEPT = 0.5
"""How often a view of the plain table is drawn without noise and blur."""
WHOLE = 0.25
"""How often a view of the plain table, or one on another background, is not framed: CLIP also finds the region."""
SMALLEST = 0.45
"""Side of the region in the camera's image, at least, relative to the view."""


class FramedViews:
    """The views of framed tables and of plain ones in one sequence; `varied` changes what the caches hold."""

    def __init__(self, framed: Sequence[ViewCache], plain: Sequence[ViewCache] = ()) -> None:
        """Takes caches of views that are framed already, and of the plain table, whose views are framed here."""
        views = [[cache[i] for cache in caches for i in range(len(cache))] for caches in (framed, plain)]
        ready, whole = ([view for view in some if view.objects] for some in views)
        self._views, self._plain_from = ready + whole, len(ready)

    def __len__(self) -> int:
        """Number of views."""
        return len(self._views)

    def __getitem__(self, index: int) -> View:
        """A view as it was rendered."""
        return self._views[index]

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
        if rng.random() < HIDDEN:
            hidden = replace_pixels(view, *hide_behind_arm(view.rgb, view.instances, rng))
            view = hidden if hidden.objects else view
        return magnified(view, rng) if rng.random() < DEGRADED else view


def reframed(view: View, rng: np.random.Generator) -> View:
    """The region of the objects with random margins; the view itself where that would show none."""
    box = box_around(view.instances > 0)
    if box is None:
        return view
    margins = np.clip(rng.normal(MARGIN, MARGIN_SPREAD, 4), -0.03, 0.4).tolist()
    height, width = view.instances.shape
    region = region_around(box, (height, width), (margins[0], margins[1], margins[2], margins[3]))
    return part_of(view, region)


def part_of(view: View, region: Region) -> View:
    """A region of a view, with the objects that it shows; the view itself where it shows none."""
    rgb, instances = (np.ascontiguousarray(region.of(pixels)) for pixels in (view.rgb, view.instances))
    if not instances.any():
        return view
    k = view.camera.k.copy()
    k[:2, 2] -= (region.left, region.top)
    camera = Camera(region.width, region.height, k, view.camera.pose)
    smaller = View(rgb, region.of(view.depth_m), instances, view.objects, camera, view.has_distractors)
    return replace_pixels(smaller, rgb, instances)


def magnified(view: View, rng: np.random.Generator) -> View:
    """The view as a part of a random camera's image: with its noise and blur, and at times fewer pixels."""
    height, width = view.instances.shape
    share = float(np.exp(rng.uniform(np.log(SMALLEST), 0.0))) if rng.random() < 0.5 else 1.0
    size = (round(width * share), round(height * share))
    taken = np.asarray(cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    taken = degraded(taken, rng, frame=rng.uniform(share, 2.0))
    back = cv2.resize(taken, (width, height), interpolation=cv2.INTER_LINEAR)
    return replace_pixels(view, np.asarray(back, dtype=np.uint8), view.instances)
