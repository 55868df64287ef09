#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well a linear map reads the kinds of objects from CLIP's features: what the language model can know of them.

`tools/run python tools/embedded/kinds_in_clip.py --views FOLDER` fits it to every second view of FOLDER/framed, from
which the recipe trains, and prints the share of right kinds on the others and on the splits of the evaluation, by the
objects' size. Images show the region around the true objects. As many right kinds on views of the training as on
others: more views do not help. Fewer: they do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa.checkpoint import load_lisa
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.image.object_region import MARGIN
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.region import box_around, region_around
from lisa_ros.simulation.scene import KINDS, View
from lisa_ros.tabletop.view_sources import FRAMED, part_of
from lisa_ros.tabletop.views import ViewCache
from lisa_ros.training.stages.dialogues import SMALLEST_ASKED
from lisa_ros.training.stages.hints import GRID

SIZES = (0, 12, 16, 22, 30, 40, 192)
"""Limits of the rows' sizes: square root of an object's pixels, in CLIP's image."""
DECAY = 1e-3


def main() -> None:
    """Prints a row for each set of views."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=embedded_checkpoint())
    parser.add_argument("--views", type=Path, default=Path(".cache/tabletop"), help="folder with framed views")
    parser.add_argument("--splits", nargs="*", default=["test", "second", "far"], help="folders of --data")
    parser.add_argument("--data", type=Path, default=Path(".cache/tabletop"), help="folder of the splits")
    parser.add_argument("--count", type=int, default=1400, help="framed views; of the splits at most 96")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lisa = load_lisa(chosen.checkpoint, LoadOptions(device="cpu", precision="fp32"))
    framed = [shown(view) for view in cached(chosen.views / FRAMED.name, chosen.count)]
    features, kinds, _ = objects_of(lisa, framed[::2])
    mean, spread = features.mean(0), features.std(0).clamp(min=1e-6)  # some features never change
    weight, bias = fitted((features - mean) / spread, kinds)
    sizes = " | ".join(f"{a} to {b}" for a, b in pairwise(SIZES))
    print(f"| views | objects | right | {sizes} |")
    print("|---" * (2 + len(SIZES)) + "|")
    for name in (FRAMED.name, *chosen.splits):
        views = framed[1::2] if name == FRAMED.name else [shown(view) for view in cached(chosen.data / name, 96)]
        features, kinds, sides = objects_of(lisa, views)
        right = (((features - mean) / spread @ weight + bias).argmax(1) == kinds).float()
        groups = [right[(sides >= a) & (sides < b)] for a, b in pairwise(SIZES)]
        cells = [f"{group.mean():.2f}" if len(group) else "" for group in groups]
        print(f"| {name} | {len(kinds)} | {right.mean():.3f} | {' | '.join(cells)} |", flush=True)


def cached(folder: Path, count: int) -> list[View]:
    """The first views of a folder."""
    cache = ViewCache(folder, count)
    return [cache[i] for i in range(len(cache))]


def shown(view: View) -> View:
    """The region around the view's objects."""
    box = box_around(view.instances > 0)
    return view if box is None else part_of(view, region_around(box, view.instances.shape, (MARGIN,) * 4))


def objects_of(lisa: Lisa, views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each object: mean feature of the patches that it covers most, number of its kind, side in pixels."""
    rows = [row for view in views for row in _rows(lisa, view)]
    features, kinds, sides = zip(*rows, strict=True)
    return torch.stack(features), torch.tensor(kinds), torch.tensor(sides)


@torch.no_grad()
def _rows(lisa: Lisa, view: View) -> Iterator[tuple[torch.Tensor, int, float]]:
    pixels = lisa.clip(view.rgb)
    features = lisa.network.patch_features(pixels, (-1,))[0].float()
    for item in view.objects:
        covered = torch.from_numpy((view.instances == item.instance).astype(np.float32))[None, None]
        share = float(covered.mean())
        if share < SMALLEST_ASKED:
            continue
        patches = F.adaptive_avg_pool2d(covered, GRID).flatten()
        patches = patches * (patches > 0.5 * patches.max())
        yield patches @ features / patches.sum(), KINDS.index(item.kind), share**0.5 * pixels.shape[-1]


def fitted(features: torch.Tensor, kinds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a softmax regression."""
    weight = torch.zeros(features.shape[1], len(KINDS), requires_grad=True)
    bias = torch.zeros(len(KINDS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = F.cross_entropy(features @ weight + bias, kinds) + DECAY * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()


if __name__ == "__main__":
    main()
