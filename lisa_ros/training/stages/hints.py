# SPDX-License-Identifier: Apache-2.0
"""Hints: what the simulator knows about each patch of CLIP's image, as one vector.

The hint of a patch is the sum over the objects in it of (share of the patch that it covers) x (kind, colour, 1, size,
where its middle is). CLIP learns to give hints linearly, with the place as SAM's position embedding; the language model
learns to read them before CLIP can, with the place as the waves of codes.py. One matrix then joins the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from lisa_ros.simulation.scene import KINDS, SceneObject, View
from lisa_ros.tabletop.questions.descriptions import middle
from lisa_ros.training.embedded.architecture import CLIP, PROMPT_WIDTH
from lisa_ros.training.embedded.codes import COLOUR_NAMES, WAVES
from lisa_ros.training.scenes.batches import Rng, sam_point

GRID = CLIP["image_size"] // CLIP["patch_size"]
NAMED = len(KINDS) + len(COLOUR_NAMES) + 2
"""Channels for kind, colour, "something is here" and size; those of the position follow."""
WIDTH = NAMED + PROMPT_WIDTH
"""Channels of the hints that CLIP gives."""
READ_WIDTH = NAMED + WAVES
"""Channels of the hints that LLaMA reads."""
Placed = Callable[[torch.Tensor], torch.Tensor]
"""(n, 2) points in 0..1 to (n, channels): codes.fourier or codes.waves."""
PLACE_WEIGHT = 1 / 32
"""Weight of a position channel's squared error: all of them together then count about as much as the kind."""


def hints(view: View, placed: Placed, rng: Rng | None = None) -> torch.Tensor:
    """(GRID * GRID, NAMED + channels of the position) float32, row by row.

    Args:
        view: the truth, of one object or more.
        placed: how positions are encoded.
        rng: where given, the hints err as a CLIP might that has not learned everything.
    """
    facts = torch.stack([_facts(view, item, rng) for item in view.objects])
    points = torch.tensor([sam_point(view, middle(view, item.instance)) for item in view.objects])
    if rng is not None:
        points = points + torch.from_numpy(rng.normal(0.0, 0.01, points.shape)).float()
    found = _shares(view).T @ torch.cat([facts, placed(points)], dim=1)
    return found if rng is None else found + torch.from_numpy(rng.normal(0.0, 0.05, found.shape)).float()


def owners(view: View) -> torch.Tensor:
    """(GRID * GRID,) int64: index into `view.objects` of what covers half of a patch or more; else -1."""
    if not view.objects:
        return torch.full((GRID * GRID,), -1)
    share, owner = _shares(view).max(dim=0)
    return torch.where(share >= 0.5, owner, -1)


def _shares(view: View) -> torch.Tensor:
    """(objects, GRID * GRID): how much of each patch each object covers."""
    instances = torch.from_numpy(np.ascontiguousarray(view.instances))
    numbers = torch.tensor([item.instance for item in view.objects], dtype=torch.uint8)
    covered = (instances[None] == numbers[:, None, None]).float()
    return F.adaptive_avg_pool2d(covered[None], GRID)[0].flatten(1)


def _facts(view: View, item: SceneObject, rng: Rng | None) -> torch.Tensor:
    """Kind, colour, that it is there, and size in octaves of length, (NAMED,)."""
    kind, colour = torch.zeros(len(KINDS)), torch.zeros(len(COLOUR_NAMES))
    kind[KINDS.index(item.kind)] = 1.0
    colour[COLOUR_NAMES.index(item.colour)] = 1.0
    if rng is not None:
        kind, colour = _doubted(kind, 0.2, rng), _doubted(colour, 0.05, rng)
    size = math.log2(np.count_nonzero(view.instances == item.instance) * 75.0 / view.instances.size) / 2
    return torch.cat([kind, colour, torch.tensor([1.0, size])])


def _doubted(chosen: torch.Tensor, share: float, rng: Rng) -> torch.Tensor:
    """Now and then part of the belief goes to another one."""
    if rng.random() >= share:
        return chosen
    doubt = float(rng.uniform(0.0, 0.45))
    other = torch.zeros_like(chosen)
    other[int(rng.integers(len(other)))] = 1.0
    return (1 - doubt) * chosen + doubt * other


def hint_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Squared error, summed over channels, mean over patches; both (..., WIDTH)."""
    error = (found - wanted).square()
    return (error[..., :NAMED].sum(-1) + PLACE_WEIGHT * error[..., NAMED:].sum(-1)).mean()


def stacked(views: Sequence[View], placed: Placed) -> torch.Tensor:
    """(B, GRID * GRID, channels) without errors."""
    return torch.stack([hints(view, placed) for view in views])
