# SPDX-License-Identifier: Apache-2.0
"""Who says what in the demo, and what is meant."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 92
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


# Ann and Bob take turns. Both ask for a thing "of the same colour", and Ann means blue while Bob means yellow: a node
# that mixed up their dialogues would look for the wrong thing.
LINES = (
    Line("ann", "Where is the blue bottle?", Thing("blue", "bottle")),
    Line("bob", "the yellow ring", Thing("yellow", "ring")),
    Line("ann", "and the teddy bear of the same colour?", Thing("blue", "teddy bear")),
    Line("bob", "and the plate of the same colour?", Thing("yellow", "plate")),
    Line("ann", "the bottle right of the cube", Thing("purple", "bottle")),
    Line("bob", "give me the rightmost blue thing", Thing("blue", "can")),
    Line("ann", "Find something to build with and explain why.", Thing("green", "cube")),
    Line("bob", "the red mug", Thing("red", "mug"), absent=True),
)
