# SPDX-License-Identifier: Apache-2.0
"""Who says what in the demo, and what is meant."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 66
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


# Ann and Bob take turns. Both ask for a thing "of the same colour", and Ann means red while Bob means blue: a node that
# mixed up their dialogues would look for the wrong thing.
LINES = (
    Line("ann", "Where is the red cube?", Thing("red", "cube")),
    Line("bob", "the blue can", Thing("blue", "can")),
    Line("ann", "and the mug of the same colour?", Thing("red", "mug")),
    Line("bob", "and the domino of the same colour?", Thing("blue", "domino")),
    Line("ann", "something to read", Thing("purple", "book")),
    Line("bob", "something round with a hole", Thing("green", "ring")),
    Line("ann", "Find the yellow bowl.", Thing("yellow", "bowl")),
    Line("bob", "the green duck", Thing("green", "duck"), absent=True),
)
