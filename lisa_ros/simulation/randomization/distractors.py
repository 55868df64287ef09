# SPDX-License-Identifier: Apache-2.0
"""Objects of kinds that no question is about, in colours that no question names."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.random import Generator

from lisa_ros.simulation.arrangement import RGB
from lisa_ros.simulation.meshes import box, lathe
from lisa_ros.simulation.objects import Model, Part, sized

COLOURS: tuple[RGB, ...] = (
    (0.42, 0.28, 0.16),
    (0.5, 0.5, 0.5),
    (0.33, 0.35, 0.38),
    (0.72, 0.66, 0.55),
    (0.3, 0.33, 0.22),
    (0.55, 0.48, 0.5),
)
"""Browns and greys: none of them is one of the colours that objects are asked for by."""


@cache
def distractor_models() -> tuple[Model, ...]:
    """A pen, a pyramid, a vase, a phone, a dumbbell, a star-shaped cutter and a pair of boxes."""
    pen = lathe([(0.0, 0.0), (0.05, 0.1), (0.06, 0.2), (0.06, 1.5), (0.0, 1.5)], 10)
    pyramid = lathe([(0.0, 0.0), (0.6, 0.0), (0.0, 0.7)], 4)
    vase = lathe([(0.0, 0.0), (0.2, 0.0), (0.35, 0.3), (0.12, 0.7), (0.25, 1.0), (0.2, 1.0), (0.08, 0.7), (0.0, 0.1)])
    dumbbell = lathe(
        [(0.0, 0.0), (0.3, 0.05), (0.3, 0.25), (0.1, 0.35), (0.1, 0.8), (0.3, 0.9), (0.3, 1.1), (0.0, 1.2)]
    )
    arms = [box((1.0, 0.3, 0.12)), box((0.3, 1.0, 0.12)), box((0.6, 0.6, 0.14))]
    stacked = [box((0.8, 0.4, 0.3)), box((0.3, 0.3, 0.5), (0.1, 0.0, 0.4))]
    return (
        Model("pen", sized([Part(pen)], 0.14), may_lie=True),
        Model("pyramid", sized([Part(pyramid)], 0.09)),
        Model("vase", sized([Part(vase)], 0.13, weight_at=0.3)),
        Model("phone", sized([Part(box((0.5, 1.0, 0.06)))], 0.13)),
        Model("dumbbell", sized([Part(dumbbell)], 0.12), may_lie=True),
        Model("cutter", sized([Part(mesh) for mesh in arms], 0.1)),
        Model("boxes", sized([Part(mesh) for mesh in stacked], 0.11, weight_at=0.3)),
    )


def draw_colour(rng: Generator) -> RGB:
    """One of COLOURS, slightly changed."""
    chosen = np.array(COLOURS[int(rng.integers(len(COLOURS)))]) * rng.uniform(0.8, 1.2) + rng.uniform(-0.03, 0.03, 3)
    red, green, blue = np.clip(chosen, 0.0, 1.0).tolist()
    return red, green, blue
