# SPDX-License-Identifier: Apache-2.0
"""What can be said of the things in a view without being misunderstood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from lisa_ros.simulation.scene import COLOURS, KINDS, SceneObject, View
from lisa_ros.training.phrasings import COLOUR_NOUNS, PLURALS, Use


@dataclass(frozen=True)
class Description:
    """A kind, a colour or both; None leaves it open. Neither: everything."""

    kind: str | None = None
    colour: str | None = None

    def fits(self, thing: SceneObject) -> bool:
        """Whether the words are true of this object."""
        return self.kind in (None, thing.kind) and self.colour in (None, thing.colour)

    def noun(self, without_kind: str = COLOUR_NOUNS[0]) -> str:
        """Such as "red mug"; `without_kind` stands in where the kind is open."""
        return f"{self.colour or ''} {self.kind or without_kind}".strip()

    def plural(self, without_kind: str = COLOUR_NOUNS[0]) -> str:
        """Such as "red mugs"."""
        kind = self.kind or without_kind
        return f"{self.colour or ''} {PLURALS.get(kind, kind + 's')}".strip()


def every_description() -> Iterator[Description]:
    """Every kind, every colour and every pair of the two that the simulation knows."""
    for kind, colour in product((*KINDS, None), (*COLOURS, None)):
        if kind or colour:
            yield Description(kind, colour)


class Sight:
    """The objects of a view, as far as they can be seen.

    An object with fewer than `min_pixels` pixels is a doubtful case: a description that fits it is used neither for
    what is there nor for what is absent.
    """

    def __init__(self, view: View, min_pixels: int) -> None:
        """Count the pixels of every object of the view once."""
        pixels = np.bincount(view.instances.ravel(), minlength=256)
        self.things = tuple(thing for thing in view.objects if pixels[thing.instance] > 0)
        self._doubtful = {thing.instance for thing in self.things if pixels[thing.instance] < min_pixels}

    def fitting(self, description: Description) -> tuple[SceneObject, ...]:
        """All objects with at least one pixel that the words are true of."""
        return tuple(thing for thing in self.things if description.fits(thing))

    def clear(self, description: Description) -> tuple[SceneObject, ...]:
        """The objects meant by the words, or none where one of them can hardly be seen."""
        return self._only_clear(self.fitting(description))

    def useful(self, use: Use) -> SceneObject | None:
        """The one object for this use; None where there is none, a choice, or only something near it."""
        accepted = [thing for thing in self.things if thing.kind in use.kinds + use.near]
        if len(accepted) != 1 or accepted[0].kind not in use.kinds:
            return None
        return next(iter(self._only_clear((accepted[0],))), None)

    def useless(self, use: Use) -> bool:
        """Whether nothing in the picture could be meant, not even with good will."""
        return not any(thing.kind in use.kinds + use.near for thing in self.things)

    def descriptions(self) -> list[Description]:
        """Everything that is true of at least one object, each once, in a fixed order."""
        present = [d for thing in self.things for d in _ways_to_say(thing)]
        return list(dict.fromkeys(present))

    def _only_clear(self, things: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
        return () if any(thing.instance in self._doubtful for thing in things) else things


def _ways_to_say(thing: SceneObject) -> tuple[Description, Description, Description]:
    return Description(thing.kind, thing.colour), Description(thing.kind), Description(colour=thing.colour)
