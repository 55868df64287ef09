# SPDX-License-Identifier: Apache-2.0
"""Where views come from: the plain table, or randomized tables by one of two renderers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.region import Region, box_around, region_around
from lisa_ros.simulation.scene import Camera, View

if TYPE_CHECKING:
    from lisa_ros.simulation.randomized_table import RandomizedTable, Renderer

VIEWS_PER_ARRANGEMENT = 3
"""How many views are taken of one arrangement, each in other colours and from another side."""
RANDOMIZED_SHARD = 32
"""Views of a shard of randomized tables: small, since size and renderer change from one shard to the next."""
LARGE = 640
"""Images with a side of this many pixels or more are rendered with one sample a pixel."""
FEW_SMOOTH = 4
"""One framed shard in so many is rendered with four samples a pixel, which takes three times as long."""
PREVIEW = 4
"""How many times smaller the images are in which the region of the objects is found."""
MARGIN, MARGIN_SPREAD = 0.12, 0.08
"""Mean and standard deviation of the margin around the objects, as shares of the longer side of their box."""
LEAST_VISIBLE = 1 / 12_000
"""Randomized views list whatever covers this share of the image or more: small objects must not be called absent."""


@dataclass(frozen=True)
class ViewSource:
    """How the views of a shard are made.

    Attributes:
        name: stored in the shard, so that no folder mixes sources.
        ranges: "training", "distant" or "far", as in simulation.randomization.ranges; None: the plain table.
        renderers: of randomized tables; the shard's seed chooses.
        sizes: (width, height) of the images, pixels; the shard's seed chooses.
        kept_side: images with a longer side are made smaller before they are stored; 0: stored as rendered.
        is_degraded: whether images are stored as a random camera would give them, partly hidden by an arm at times.
        is_framed: whether the image shows the region of the objects alone, as the embedded model reads images.
    """

    name: str
    ranges: str | None = None
    renderers: tuple[Renderer, ...] = ("pybullet",)
    sizes: tuple[tuple[int, int], ...] = ()
    kept_side: int = 0
    is_degraded: bool = False
    is_framed: bool = False

    def size(self, seed: int, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the shard with this seed; the given size where the source leaves it open."""
        return self.sizes[seed % len(self.sizes)] if self.sizes else (width, height)

    def views(self, seed: int, count: int, size: tuple[int, int], avoid: Collection[tuple[str, str]]) -> Iterator[View]:
        """The views of a shard, which depend on these arguments alone.

        Args:
            seed: of the shard.
            count: number of views.
            size: (width, height) of the rendered images, pixels.
            avoid: (kind, colour) pairs that no view shows.
        """
        # Only those who render need the simulator.
        if self.ranges is None:
            yield from _plain_views(seed, count, size, avoid)
            return
        yield from self._randomized_views(seed, count, size, avoid)

    def _randomized_views(
        self, seed: int, count: int, size: tuple[int, int], avoid: Collection[tuple[str, str]]
    ) -> Iterator[View]:
        from lisa_ros.simulation.randomization import ranges
        from lisa_ros.simulation.randomized_table import RandomizedTable

        chosen = {"training": ranges.TRAINING, "distant": ranges.DISTANT, "far": ranges.FAR}[self.ranges or ""]
        renderer = self.renderers[seed // max(1, len(self.sizes)) % len(self.renderers)]
        rng = np.random.default_rng([seed, 2])
        with RandomizedTable(
            seed,
            ranges=chosen,
            renderer=renderer,
            width=size[0],
            height=size[1],
            avoid=avoid,
            oversampling=self._oversampling(seed, size),
        ) as table:
            for index in range(count):
                if index % VIEWS_PER_ARRANGEMENT == 0:
                    table.rearrange()
                else:
                    table.recolour()
                view = _framed_view(table, rng) if self.is_framed else _view_with_objects(table)
                if self.is_degraded:
                    view = _degraded(view, chosen.hidden_by_arm, rng)
                yield smaller(view, self.kept_side) if self.kept_side else view

    def _oversampling(self, seed: int, size: tuple[int, int]) -> int:
        if self.is_framed:
            return 2 if seed % FEW_SMOOTH == 0 else 1
        return 1 if max(size) >= LARGE else 1 + seed % 2


def _degraded(view: View, hidden_by_arm: float, rng: np.random.Generator) -> View:
    """The view with noise and blur, and in a share of the draws with an arm in front of some objects."""
    from lisa_ros.simulation.randomization.degradation import degraded, hide_behind_arm

    rgb, instances = view.rgb, view.instances
    if rng.random() < hidden_by_arm:
        rgb, instances = hide_behind_arm(rgb, instances, rng)
    return replace_pixels(view, degraded(rgb, rng), instances)


def _plain_views(seed: int, count: int, size: tuple[int, int], avoid: Collection[tuple[str, str]]) -> Iterator[View]:
    from lisa_ros.simulation.tabletop import Tabletop

    with Tabletop(seed, width=size[0], height=size[1], avoid=avoid) as table:
        for index in range(count):
            if index % VIEWS_PER_ARRANGEMENT == 0:
                table.rearrange()
            else:
                table.recolour()
            table.move_camera()
            yield table.render()


def _view_with_objects(table: RandomizedTable) -> View:
    """From a new camera with an object in its image; random cameras may miss all of them."""
    while True:
        table.move_camera()
        view = table.render(LEAST_VISIBLE)
        if view.objects:
            return view


def _framed_view(table: RandomizedTable, rng: np.random.Generator) -> View:
    """A view of the region of the objects, with margins as a network that finds it leaves them.

    The region is found in a small image, and only then rendered at full size.
    """
    while True:
        table.move_camera()
        whole = table.camera
        small = _with_size(whole, whole.width // PREVIEW, whole.height // PREVIEW)
        table.set_camera(small)
        region = random_region(table.render(0.0).instances, rng)
        if region is None:
            continue
        table.set_camera(_zoomed(small, region, whole.width, whole.height))
        view = table.render(LEAST_VISIBLE)
        if view.objects:
            return view


def random_region(instances: NDArray[np.uint8], rng: np.random.Generator) -> Region | None:
    """The region of the objects (H, W; 0: none) with random margins; None where there is no object."""
    box = box_around(instances > 0)
    if box is None:
        return None
    top, left, bottom, right = np.clip(rng.normal(MARGIN, MARGIN_SPREAD, 4), -0.03, 0.4).tolist()
    height, width = instances.shape
    return region_around(box, (height, width), (top, left, bottom, right))


def _with_size(camera: Camera, width: int, height: int) -> Camera:
    """The camera with an image of another size."""
    return _zoomed(camera, Region(0, 0, camera.height, camera.width), width, height)


def _zoomed(camera: Camera, region: Region, width: int, height: int) -> Camera:
    """The camera with an image of a region alone, in a size of its own."""
    k = camera.k.copy()
    k[:2, 2] += 0.5 - np.array([region.left, region.top])
    k[:2] *= np.array([[width / region.width], [height / region.height]])
    k[:2, 2] -= 0.5
    return Camera(width, height, k, camera.pose)


def replace_pixels(view: View, rgb: NDArray[np.uint8], instances: NDArray[np.uint8]) -> View:
    """The view with another image, and without the objects that its new instances do not show."""
    shown = set(np.unique(instances).tolist())
    objects = tuple(one for one in view.objects if one.instance in shown)
    return View(rgb, view.depth_m, instances, objects, view.camera, view.has_distractors)


def part_of(view: View, region: Region) -> View:
    """A region of a view, with the objects that it shows; the view itself where it shows none."""
    rgb, instances = (np.ascontiguousarray(region.of(pixels)) for pixels in (view.rgb, view.instances))
    if not instances.any():
        return view
    k = view.camera.k.copy()
    k[:2, 2] -= (region.left, region.top)
    camera = Camera(region.width, region.height, k, view.camera.pose)
    part = View(rgb, region.of(view.depth_m), instances, view.objects, camera, view.has_distractors)
    return replace_pixels(part, rgb, instances)


def smaller(view: View, side: int) -> View:
    """The view with its longer side at most `side` pixels; the camera stays that of the full size but for K."""
    height, width = view.instances.shape
    factor = side / max(height, width)
    if factor >= 1.0:
        return view
    size = (round(width * factor), round(height * factor))
    rgb = np.asarray(cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    instances = np.asarray(cv2.resize(view.instances, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
    k = view.camera.k.copy()
    k[:2] *= factor
    k[:2, 2] += (factor - 1.0) / 2.0
    depth = np.asarray(cv2.resize(view.depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.float32)
    camera = Camera(*size, k, view.camera.pose)
    return replace_pixels(View(rgb, depth, instances, view.objects, camera, view.has_distractors), rgb, instances)


OWN_TABLE = ViewSource("own")
"""The plain table in PyBullet's renderer, as `sim_camera` shows it."""
RANDOMIZED = ViewSource(
    "randomized",
    "training",
    ("software", "pybullet", "software"),
    ((320, 240), (426, 240), (320, 320), (240, 320), (400, 300)),
    kept_side=320,
)
"""For training. Images are degraded when they are drawn, each time in another way."""
FRAMED = ViewSource(
    "framed",
    "training",
    ("software", "pybullet", "software"),
    ((320, 240),),
    is_framed=True,
)
"""For training, of the region of the objects alone."""
DISTANT = ViewSource(
    "distant",
    "distant",
    ("software", "pybullet", "software"),
    ((320, 240), (426, 240), (320, 240), (240, 320), (320, 240)),
    kept_side=320,
)
"""For training, of whole images with small objects."""
SECOND = ViewSource("second", "training", ("software",), ((640, 480),), is_degraded=True)
"""For evaluation: the software renderer over the training's ranges."""
CALIBRATION = ViewSource(
    "calibration", "training", ("software", "pybullet"), ((640, 480), (320, 240), (1280, 720)), is_degraded=True
)
"""For the calibration of scores: both renderers over the training's ranges, in cameras' usual sizes."""
FAR_TABLE = ViewSource("far", "far", ("pybullet", "software"), ((640, 480), (1280, 720), (480, 640)), is_degraded=True)
"""For evaluation: textures, lenses and light outside the training's ranges, by both renderers."""
SOURCES = {source.name: source for source in (OWN_TABLE, RANDOMIZED, SECOND, CALIBRATION, FAR_TABLE)}
