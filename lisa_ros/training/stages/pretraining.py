# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the vision parts, CLIP and SAM, from the simulator's dense truth.

LISA builds on a pretrained CLIP, SAM and LLaMA; a small one from random weights needs the same order. What connects
them is in codes.py (what `[SEG]` gives SAM) and hints.py (what CLIP gives LLaMA).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.simulation.scene import KINDS, SceneObject, View
from lisa_ros.tabletop.questions.descriptions import middle
from lisa_ros.training.embedded.architecture import CLIP, PROMPT_WIDTH
from lisa_ros.training.embedded.codes import ANY_COLOUR, ANY_KIND, COLOUR_NAMES, Meaning, codes, fourier
from lisa_ros.training.loop.attention import lighten
from lisa_ros.training.loop.losses import mask_loss
from lisa_ros.training.loop.trainer import Scalars
from lisa_ros.training.scenes.batches import (
    IGNORED,
    MASK_SIDE,
    Rng,
    Views,
    clip_batch,
    coarse_mask,
    draw_view,
    in_strange_colours,
    label_weights,
    labels,
    sam_batch,
    sam_point,
    shared_appearance,
    step_rng,
    view_numbers,
)
from lisa_ros.training.scenes.gallery import ROWS, gallery
from lisa_ros.training.stages.hints import GRID, NAMED, WIDTH, hint_loss, stacked

NOTHING_WEIGHT = 0.2
"""Weight of "nothing here" among the labels; most of an image is table."""
FINENESS = 4
"""Labels per patch and side."""
HINT_WEIGHT = 4.0
FAR_OFF = 0.3
"""How often the position in a code is far off, as LLaMA's is on tables that it does not know."""
CODE_NOISE = 0.15
"""Standard deviation of the noise on codes that SAM learns from: LLaMA does not produce them without error."""


class LabelStage(Protocol):
    """A stage that trains CLIP with the labels of patches."""

    network_part: nn.Module
    head: PatchLabels


class PatchLabels(nn.Module):
    """Reads kind and colour off patches' features; used in pretraining only."""

    def __init__(self, width: int) -> None:
        """Takes features of `width` channels and gives FINENESS x FINENESS labels per patch."""
        super().__init__()
        self.kinds, self.colours = len(KINDS) + 1, len(COLOUR_NAMES) + 1
        self.read = nn.Linear(width, (self.kinds + self.colours) * FINENESS**2)

    def loss(
        self,
        features: torch.Tensor,
        kinds: torch.Tensor,
        colours: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy, and the shares of the objects' points whose kind and colour are right.

        Args:
            features: (patches, width).
            kinds: (patches, FINENESS * FINENESS) int64; IGNORED where there is no image.
            colours: likewise.
            weights: of each label, same shape; None: all are equal.
        """
        logits = self.read(features).unflatten(-1, (-1, FINENESS**2))
        kind_logits, colour_logits = logits.split([self.kinds, self.colours], dim=1)
        right = {"kinds": _right(kind_logits, kinds), "colours": _right(colour_logits, colours)}
        return _label_loss(kind_logits, kinds, weights) + _label_loss(colour_logits, colours, weights), right


def by_patch(labelled: torch.Tensor) -> torch.Tensor:
    """(B, side, side) -> (B, patches, FINENESS * FINENESS)."""
    cells = labelled.unflatten(2, (-1, FINENESS)).unflatten(1, (-1, FINENESS))
    patches: torch.Tensor = cells.transpose(2, 3).flatten(3).flatten(1, 2)
    return patches


def _label_loss(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    of_class = torch.ones(logits.shape[1])
    of_class[-1] = NOTHING_WEIGHT
    if weights is None:
        return F.cross_entropy(logits, target, weight=of_class, ignore_index=IGNORED)
    each = F.cross_entropy(logits, target, weight=of_class, ignore_index=IGNORED, reduction="none")
    total = (of_class[target.clamp(min=0)] * weights * (target != IGNORED)).sum()
    return (each * weights).sum() / total


def _right(logits: torch.Tensor, target: torch.Tensor) -> float:
    """Share of the objects' points where the best label that is not "nothing" is the true one."""
    items = (target != IGNORED) & (target < logits.shape[1] - 1)
    best = logits[:, :-1].argmax(1)
    return float((best == target)[items].float().mean()) if items.any() else 1.0


class SamStage(nn.Module):
    """SAM: labels at every patch, and masks of what a code means."""

    def __init__(
        self, network: LisaNetwork, views: Views, seed: int, batch: int, queries: int, name: str = "sam_pretraining"
    ) -> None:
        """Trains `network.visual_model` on `batch` views a step, `queries` masks of each."""
        super().__init__()
        self.network_part = network.visual_model.requires_grad_(True)  # an earlier stage may have left it fixed
        lighten(network.visual_model.image_encoder)
        self.head = PatchLabels(PROMPT_WIDTH)
        self._network: list[LisaNetwork] = [network]  # in a list: the other parts are not this module's
        self.name = name
        self._views, self._seed, self._batch, self._queries = views, seed, batch, queries

    def describe(self, number: int) -> str:
        """The views of a batch."""
        return f"views {view_numbers(self._views, step_rng(self._seed, self.name, number), self._batch)}"

    def images(self, number: int) -> NDArray[np.uint8]:
        """Of a batch: view, truth, and what SAM finds for the same code."""
        rng = step_rng(self._seed, self.name, number)
        views = [draw_view(self._views, rng) for _ in range(ROWS)]
        logits, targets = self._masks(views, self._features(views), rng)
        shown = [view for view in views for _ in range(self._queries)]
        every = slice(None, None, self._queries)
        return gallery(shown[every], logits[every], targets[every])

    def _features(self, views: Sequence[View]) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features: torch.Tensor = self.network_part.image_encoder(sam_batch(views))
        return features.float()

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, self.name, number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        features = self._features(views)
        kinds, colours = (by_patch(labelled).flatten(0, 1) for labelled in padded_labels(views))
        dense, right = self.head.loss(features.flatten(2).transpose(1, 2).flatten(0, 1), kinds, colours)
        logits, targets = self._masks(views, features, rng)
        masks = mask_loss(logits, targets)
        scalars = {"dense": dense.item(), **right, "masks": masks.item(), "iou": batch_iou(logits, targets)}
        return 0.3 * dense + masks, scalars

    def _masks(self, views: Sequence[View], features: torch.Tensor, rng: Rng) -> tuple[torch.Tensor, torch.Tensor]:
        logits, targets = [], []
        for i, view in enumerate(views):
            drawn = [draw_query(view, rng) for _ in range(self._queries)]
            prompts = codes([meaning for meaning, _ in drawn])
            prompts = prompts + torch.from_numpy(rng.normal(0.0, CODE_NOISE, prompts.shape)).float()
            logits.append(self._network[0].prompted_logits(prompts, features[i : i + 1]))
            targets += [target for _, target in drawn]
        return torch.cat(logits), torch.stack(targets)


def draw_query(view: View, rng: Rng) -> tuple[Meaning, torch.Tensor]:
    """A random meaning and its mask: most often one object by its position, else all that share kind or colour."""
    item = view.objects[int(rng.integers(len(view.objects)))]
    chances = rng.random(3)
    if chances[2] < 0.65:
        kind, colour = shared_appearance([item])
        points: tuple[tuple[float, float], ...] = (_jittered(view, item, rng),)
        kind, colour, items = (
            (ANY_KIND if chances[0] < 0.3 else kind),
            (ANY_COLOUR if chances[1] < 0.45 else colour),
            [item],
        )
    else:
        how = int(rng.integers(4))
        kind, colour = shared_appearance([other for other in view.objects if _alike(item, other, how)])
        items, points = [other for other in view.objects if _fits(other, kind, colour)], ()
    numbers = [other.instance for other in items]
    return Meaning(kind, colour, points), coarse_mask(np.isin(view.instances, numbers))


def _alike(item: SceneObject, other: SceneObject, how: int) -> bool:
    """By kind (0), colour (1), both (2) or being there at all (3)."""
    return (how in (1, 3) or item.kind == other.kind) and (how in (0, 3) or item.colour == other.colour)


def _fits(item: SceneObject, kind: int, colour: int) -> bool:
    own_kind, own_colour = shared_appearance([item])
    return kind in (ANY_KIND, own_kind) and colour in (ANY_COLOUR, own_colour)


def _jittered(view: View, item: SceneObject, rng: Rng) -> tuple[float, float]:
    """About the middle of an object: off by about a tenth of its size, at times by a quarter."""
    reach = (0.25 if rng.random() < FAR_OFF else 0.1) * (
        np.count_nonzero(view.instances == item.instance) / view.instances.size
    ) ** 0.5
    u, v = sam_point(view, middle(view, item.instance))
    return u + float(rng.normal(0.0, reach)), v + float(rng.normal(0.0, reach))


def padded_labels(views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor]:
    """Kinds and colours (B, MASK_SIDE, MASK_SIDE), IGNORED beside and below the image."""
    kinds = torch.full((len(views), MASK_SIDE, MASK_SIDE), IGNORED)
    colours = kinds.clone()
    for i, view in enumerate(views):
        height, width = view.instances.shape
        scale = MASK_SIDE / max(height, width)
        size = (round(height * scale), round(width * scale))
        kinds[i, : size[0], : size[1]], colours[i, : size[0], : size[1]] = labels(view, size)
    return kinds, colours


def batch_iou(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean IoU of the masks in the decoder's resolution, for the log."""
    if not len(logits):
        return 0.0
    found, wanted = logits > 0, targets > 0.5
    shared, either = (found & wanted).sum((1, 2)), (found | wanted).sum((1, 2))
    return float((shared / either.clamp(min=1)).mean())


COLOUR_HINTS = slice(len(KINDS), len(KINDS) + len(COLOUR_NAMES))
"""Channels of hints that are colours."""


class ClipStage(nn.Module):
    """CLIP: labels at every patch, and hints, so that LLaMA can read from its features what is where."""

    def __init__(
        self,
        network: LisaNetwork,
        views: Views,
        clip: ClipPreprocessing,
        *,
        name: str,
        seed: int,
        batch: int,
        kept: int,
    ) -> None:
        """Trains `network.vision_tower` on `batch` views a step, `kept` patches of each."""
        super().__init__()
        self.network_part = network.vision_tower.requires_grad_(True)
        self.head = PatchLabels(CLIP["hidden_size"])
        self.hints = nn.Linear(CLIP["hidden_size"], WIDTH)
        self.name = name
        self._placed = partial(fourier, places=network.visual_model.prompt_encoder.pe_layer)
        self._views, self._clip, self._seed, self._batch, self._kept = views, clip, seed, batch, kept

    def describe(self, number: int) -> str:
        """The views of a batch."""
        return f"views {view_numbers(self._views, step_rng(self._seed, self.name, number), self._batch)}"

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, self.name, number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        odd = slice(1, None, 2)
        views[odd] = [in_strange_colours(view, rng) for view in views[odd]]
        wanted = stacked(views, self._placed)
        kept = informative_patches(wanted, self._kept, rng)
        features, dense, right = label_loss(self, views, self._clip, kept, odd)
        found, true = self.hints(features), chosen(wanted, kept)
        true[odd, :, COLOUR_HINTS] = found[odd, :, COLOUR_HINTS].detach()
        error = hint_loss(found, true)
        return dense + HINT_WEIGHT * error, {"dense": dense.item(), **right, "hints": error.item()}


def label_loss(
    stage: LabelStage,
    views: Sequence[View],
    clip: ClipPreprocessing,
    kept: torch.Tensor,
    strange: slice,
    weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Scalars]:
    """CLIP's features of some patches, and the loss of the labels that are read off them.

    Args:
        stage: its CLIP and its labels.
        views: of the batch.
        clip: CLIP's preprocessing.
        kept: (B, count) int64, the patches.
        strange: the views with other colours, whose colours are not learned.
        weights: (B, count, FINENESS * FINENESS) of the labels; None: all are equal.

    Returns:
        features (B, count, width) float32, the loss, and the share of right labels.
    """
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = patch_features(stage.network_part, clip_batch(views, clip), kept)
    features = features.float()
    kinds, colours = (chosen(truth, kept) for truth in dense_labels(views))
    colours[strange] = IGNORED
    flat = None if weights is None else weights.flatten(0, 1)
    loss, right = stage.head.loss(features.flatten(0, 1), kinds.flatten(0, 1), colours.flatten(0, 1), flat)
    return features, loss, right


def dense_labels(views: Sequence[View]) -> list[torch.Tensor]:
    """Kinds and colours, each (B, patches, FINENESS * FINENESS)."""
    truth = [labels(view, (FINENESS * GRID, FINENESS * GRID)) for view in views]
    return [by_patch(torch.stack(maps)) for maps in zip(*truth, strict=True)]


def dense_weights(views: Sequence[View]) -> torch.Tensor:
    """Weights of dense_labels, (B, patches, FINENESS * FINENESS)."""
    return by_patch(torch.stack([label_weights(view, (FINENESS * GRID, FINENESS * GRID)) for view in views]))


def informative_patches(wanted: torch.Tensor, count: int, rng: Rng) -> torch.Tensor:
    """Which patches to compute: those that show something first, then those beside them, then any.

    Nine tenths of an image are table. Leaving most of that out costs little and makes a step about twice as fast (Li
    et al., Scaling Language-Image Pre-training via Masking, arXiv 2212.00794, section 3).

    Args:
        wanted: (B, GRID * GRID, WIDTH) hints.
        count: patches of each image, at most GRID * GRID.
        rng: source of all random numbers.

    Returns:
        (B, count) int64, ascending.
    """
    shown = (wanted[..., NAMED - 2] > 0.02).float().unflatten(1, (GRID, GRID))
    near = F.max_pool2d(shown[:, None], 3, stride=1, padding=1)[:, 0]
    score = (shown + near).flatten(1) + 0.9 * torch.from_numpy(rng.random(wanted.shape[:2])).float()
    found: torch.Tensor = score.topk(count, dim=1).indices.sort(dim=1).values
    return found


def chosen(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """(B, patches, c) -> (B, count, c): the kept rows."""
    return rows.gather(1, kept[..., None].expand(-1, -1, rows.shape[-1]))


def patch_features(tower: Any, pixels: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """CLIP's last hidden states of the kept patches, the others left out from the first layer on.

    Args:
        tower: CLIPVisionModel.
        pixels: (B, 3, h, w).
        kept: (B, count) int64.

    Returns:
        (B, count, width).
    """
    embedded = tower.embeddings(pixels)
    some = torch.cat([embedded[:, :1], chosen(embedded[:, 1:], kept)], dim=1)
    states: torch.Tensor = tower.encoder(inputs_embeds=tower.pre_layrnorm(some)).last_hidden_state
    return states[:, 1:]
