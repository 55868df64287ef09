# SPDX-License-Identifier: Apache-2.0
"""The commands that are spoken: drawn by the language of the simulated table, about tables of fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.tabletop.questions.conversation import questions

SEEDS = (21, 22, 23, 24)
"""Of the tables. The correction was developed on other ones."""

COMMANDS_PER_TABLE = 6
WIDTH, HEIGHT = 640, 480
_TRIED = 40


@dataclass(frozen=True)
class Table:
    """One simulated table and what is said about it."""

    seed: int
    commands: tuple[str, ...]


def tables(count: int = len(SEEDS), commands: int = COMMANDS_PER_TABLE) -> list[Table]:
    """The first tables, with so many commands each; each command is about something that is there."""
    return [Table(seed, _commands(seed, commands)) for seed in SEEDS[:count]]


def _commands(seed: int, count: int) -> tuple[str, ...]:
    table = Tabletop(seed, width=WIDTH, height=HEIGHT)
    try:
        asked = questions(table.render(), np.random.default_rng(seed), _TRIED)
    finally:
        table.close()
    texts = dict.fromkeys(question.text for question in asked if question.instances)
    return tuple(texts)[:count]
