# SPDX-License-Identifier: Apache-2.0
"""The commands of the demo, and the objects that they mean."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 92
"""The simulated scene that the commands are about."""


@dataclass(frozen=True)
class ObjectName:
    """An object on the table, by colour and kind."""

    colour: str
    kind: str

    def __str__(self) -> str:
        return f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Line:
    """One command.

    Attributes:
        operator: who gives the command; each operator has a dialogue.
        text: of the command.
        meant: the object that is meant.
        absent: whether the table has no such object.
    """

    operator: str
    text: str
    meant: ObjectName
    absent: bool = False


# Ann and Bob take turns. Both ask for a thing "of the same colour", and Ann means blue while Bob means yellow: a node
# that mixed up their dialogues would find the wrong object.
LINES = (
    Line("ann", "Where is the blue bottle?", ObjectName("blue", "bottle")),
    Line("bob", "the yellow ring", ObjectName("yellow", "ring")),
    Line("ann", "and the teddy bear of the same colour?", ObjectName("blue", "teddy bear")),
    Line("bob", "and the plate of the same colour?", ObjectName("yellow", "plate")),
    Line("ann", "the bottle right of the cube", ObjectName("purple", "bottle")),
    Line("bob", "give me the rightmost blue thing", ObjectName("blue", "can")),
    Line("ann", "Find something to build with and explain why.", ObjectName("green", "cube")),
    Line("bob", "the red mug", ObjectName("red", "mug"), absent=True),
)
