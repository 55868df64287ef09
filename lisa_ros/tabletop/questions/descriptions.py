# SPDX-License-Identifier: Apache-2.0
"""Unambiguous descriptions of the objects in a view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from lisa_ros.simulation.scene import COLOURS, KINDS, SceneObject, View
from lisa_ros.tabletop.questions.phrasings import COLOUR_NOUNS, Use
from lisa_ros.tabletop.questions.synonyms import plural_of
from lisa_ros.tabletop.views import RESERVED_PAIRS


@dataclass(frozen=True)
class Description:
    """A kind, a colour or both; None leaves it open. Neither: everything."""

    kind: str | None = None
    colour: str | None = None

    def fits(self, item: SceneObject) -> bool:
        """Whether the description is true of this object."""
        return self.kind in (None, item.kind) and self.colour in (None, item.colour)

    @property
    def is_reserved(self) -> bool:
        """Whether it is kept from training, which must then not call it absent either."""
        return (self.kind, self.colour) in RESERVED_PAIRS

    def noun(self, without_kind: str = COLOUR_NOUNS[0], called: str | None = None) -> str:
        """Such as "red mug"; `without_kind` stands in where the kind is open, and `called` is another word for it."""
        return f"{self.colour or ''} {called or self.kind or without_kind}".strip()

    def plural(self, without_kind: str = COLOUR_NOUNS[0], called: str | None = None) -> str:
        """Such as "red mugs"."""
        return plural_of(self.noun(without_kind, called))


def every_description() -> Iterator[Description]:
    """Every kind, every colour and every pair of the two that the simulation knows."""
    for kind, colour in product((*KINDS, None), (*COLOURS, None)):
        if kind or colour:
            yield Description(kind, colour)


def middle(view: View, *instances: int) -> tuple[float, float]:
    """Mean (u, v) of the pixels of these objects, as shares of the image's width and height, 0 to 1.

    Raises:
        ValueError: none of them is in the image.
    """
    wanted = np.zeros(256, dtype=np.bool_)
    wanted[list(instances)] = True
    rows, columns = np.nonzero(wanted[view.instances])
    if not len(rows):
        raise ValueError(f"objects {instances} are not in the image")
    height, width = view.instances.shape
    return float((columns.mean() + 0.5) / width), float((rows.mean() + 0.5) / height)


class VisibleObjects:
    """The objects of a view, as far as they can be seen.

    An object with fewer than `min_pixels` pixels is a doubtful case: a description that fits it is used neither for
    what is there nor for what is absent.
    """

    def __init__(self, view: View, min_pixels: int) -> None:
        """Count the pixels of every object of the view once."""
        self._pixels = np.bincount(view.instances.ravel(), minlength=256)
        self._middles: dict[int, tuple[float, float]] = {}
        self._view = view
        self.items = tuple(item for item in view.objects if self._pixels[item.instance] > 0)
        self._doubtful = {item.instance for item in self.items if self.pixels(item) < min_pixels}

    def pixels(self, item: SceneObject) -> int:
        """How many of the image's pixels show it."""
        return int(self._pixels[item.instance])

    def middle(self, item: SceneObject) -> tuple[float, float]:
        """Mean (u, v) of its pixels, as shares of the image's width and height."""
        if item.instance not in self._middles:
            self._middles[item.instance] = middle(self._view, item.instance)
        return self._middles[item.instance]

    def depth_m(self, item: SceneObject) -> float:
        """How far from the camera its centre is along the optical axis, metres."""
        pose = self._view.camera.pose
        return float(pose[:3, 2] @ (np.asarray(item.position_m) - pose[:3, 3]))

    def apart_m(self, item: SceneObject, other: SceneObject) -> float:
        """Distance of the two centres along the table, metres."""
        return float(np.hypot(*(np.asarray(item.position_m) - np.asarray(other.position_m))[:2]))

    def fitting(self, description: Description) -> tuple[SceneObject, ...]:
        """All objects with at least one pixel that the description is true of."""
        return tuple(item for item in self.items if description.fits(item))

    def clear(self, description: Description) -> tuple[SceneObject, ...]:
        """The objects that are meant; none where one can hardly be seen, or distractors would be meant too."""
        if description == Description() and self._view.has_distractors:
            return ()
        return self._only_clear(self.fitting(description))

    def useful(self, use: Use) -> SceneObject | None:
        """The one object for this use; None where there is none, a choice, or only something near it."""
        accepted = [item for item in self.items if item.kind in use.kinds + use.near]
        if len(accepted) != 1 or accepted[0].kind not in use.kinds:
            return None
        return next(iter(self._only_clear((accepted[0],))), None)

    def useless(self, use: Use) -> bool:
        """Whether nothing in the image could be meant, not even with good will."""
        return not any(item.kind in use.kinds + use.near for item in self.items)

    def descriptions(self) -> list[Description]:
        """Everything that is true of at least one object, each once, in a fixed order."""
        present = [d for item in self.items for d in _ways_to_say(item)]
        return list(dict.fromkeys(present))

    def _only_clear(self, items: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
        return () if any(item.instance in self._doubtful for item in items) else items


def _ways_to_say(item: SceneObject) -> tuple[Description, Description, Description]:
    return Description(item.kind, item.colour), Description(item.kind), Description(colour=item.colour)
