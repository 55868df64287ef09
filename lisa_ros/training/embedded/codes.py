# SPDX-License-Identifier: Apache-2.0
"""Codes: what `[SEG]` has to give the mask decoder, fixed before any part of the network is trained.

A code is the sum of a vector for the kind, one for the colour and, for a single object, one for its position: a
few long waves over the image. (With SAM's own position embedding, of 128 random waves, LLaMA learned nothing of
positions in 400 steps.)
SAM learns to find what a code means and the language model learns to produce the code, so that both fit when they are
joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lisa_ros.simulation.scene import COLOURS, KINDS
from lisa_ros.training.embedded.architecture import PROMPT_WIDTH

COLOUR_NAMES = tuple(COLOURS)
ANY_KIND, ANY_COLOUR = len(KINDS), len(COLOUR_NAMES)
CODE_SEED = 7
RATES = (1, 2, 3)
WAVES = 4 * len(RATES)
RIDGE = 1e-3


@dataclass(frozen=True)
class Meaning:
    """What is meant by a mask.

    Attributes:
        kind: index into KINDS, or ANY_KIND.
        colour: index into COLOURS, or ANY_COLOUR.
        points: (u, v) of the middle of each object, pixels of SAM's input divided by its side. Only a single object's
            position is encoded.
    """

    kind: int
    colour: int
    points: tuple[tuple[float, float], ...] = ()


def code_table() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fixed codes, (n, PROMPT_WIDTH): of kinds and of colours, the last of each meaning "any", and of waves."""
    generator = torch.Generator().manual_seed(CODE_SEED)
    sizes = (len(KINDS) + 1, len(COLOUR_NAMES) + 1, WAVES)
    kinds, colours, places = (torch.randn(size, PROMPT_WIDTH, generator=generator) for size in sizes)
    return kinds / 2**0.5, colours / 2**0.5, places / WAVES**0.5


def codes(meanings: Sequence[Meaning]) -> torch.Tensor:
    """(n, PROMPT_WIDTH) float32; entries have a variance of about 1.5."""
    kinds, colours, places = code_table()
    named = torch.tensor([(m.kind, m.colour) for m in meanings], dtype=torch.int64).reshape(-1, 2)
    where = [waves(torch.tensor(m.points))[0] if len(m.points) == 1 else torch.zeros(WAVES) for m in meanings]
    placed = torch.stack(where) @ places if where else torch.zeros(0, PROMPT_WIDTH)
    return kinds[named[:, 0]] + colours[named[:, 1]] + placed


def waves(points: torch.Tensor) -> torch.Tensor:
    """(n, 2) points in 0..1 -> (n, WAVES): sines and cosines of a quarter, a half and three quarters of a turn."""
    turns = torch.pi / 2 * (2 * points.float() - 1)
    angles = torch.cat([turns * rate for rate in RATES], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def fourier(points: torch.Tensor, places: Any) -> torch.Tensor:
    """(n, 2) points in 0..1 -> (n, PROMPT_WIDTH): SAM's position embeddings, `prompt_encoder.pe_layer`."""
    embedded: torch.Tensor = places.forward_with_coords(points[None].float(), (1, 1))
    return embedded[0]


def waves_from_fourier(places: Any) -> torch.Tensor:
    """(WAVES, PROMPT_WIDTH): the matrix that best makes waves of position embeddings, by ridge regression."""
    line = torch.linspace(0.0, 1.0, 40)
    points = torch.cartesian_prod(line, 0.75 * line)
    named, wanted = fourier(points, places).double(), waves(points).double()
    normal = named.T @ named + RIDGE * len(points) * torch.eye(named.shape[1], dtype=torch.float64)
    solved: torch.Tensor = torch.linalg.solve(normal, named.T @ wanted)
    return solved.T.float()
