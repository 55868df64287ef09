# SPDX-License-Identifier: Apache-2.0
"""Who says what in the demo, and what is meant."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 81
"""The simulated scene that the commands are about."""


@dataclass(frozen=True)
class Thing:
    """Something on the table, as people tell it from the others."""

    colour: str
    kind: str

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Line:
    """One command.

    Attributes:
        operator: who says it; each has a dialogue of their own.
        text: what is said.
        meant: the thing that is meant.
        absent: whether there is no such thing on the table.
    """

    operator: str
    text: str
    meant: Thing
    absent: bool = False


# Ann and Bob take turns. Both ask for "the mug of the same colour", which is another one for each: a node that mixed
# up their dialogues would give one of them the wrong mug.
LINES = (
    Line("ann", "the yellow duck", Thing("yellow", "duck")),
    Line("bob", "Where is the purple plate?", Thing("purple", "plate")),
    Line("ann", "and the mug of the same colour?", Thing("yellow", "mug")),
    Line("bob", "and the mug of the same colour?", Thing("purple", "mug")),
    Line("ann", "and the purple one?", Thing("purple", "mug")),
    Line("bob", "something to read", Thing("black", "book")),
    Line("ann", "what a child takes to bed", Thing("green", "teddy bear")),
    Line("bob", "the red ball", Thing("red", "ball"), absent=True),
)
