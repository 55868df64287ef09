# SPDX-License-Identifier: Apache-2.0
"""The parts before they are joined, taught by the simulator's dense truth.

LISA stands on a pretrained CLIP, SAM and LLaMA; a small one from scratch needs the same order. What ties the parts
together is a code: a fixed random vector for each kind and each colour. SAM learns to find what a code means, the
language model learns to say the code, and when they meet they already speak of the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing
from lisa_ros.simulation.scene import KINDS, View
from lisa_ros.training.architecture import CLIP, PROMPT_WIDTH, SAM
from lisa_ros.training.batches import (
    ANY_COLOUR,
    ANY_KIND,
    COLOUR_NAMES,
    IGNORED,
    MASK_SIDE,
    Rng,
    clip_batch,
    coarse_mask,
    draw_view,
    labels,
    meaning,
    sam_batch,
    step_rng,
)
from lisa_ros.training.losses import mask_loss
from lisa_ros.training.scenes import ViewCache
from lisa_ros.training.trainer import Scalars

NOTHING_WEIGHT = 0.2
"""Weight of "nothing here" among the labels; most of a picture is table."""

CODE_SEED = 7


def code_table() -> tuple[torch.Tensor, torch.Tensor]:
    """Fixed codes: (kinds + 1, width) and (colours + 1, width); the last of each means "any"."""
    generator = torch.Generator().manual_seed(CODE_SEED)
    kinds = torch.randn(len(KINDS) + 1, PROMPT_WIDTH, generator=generator)
    colours = torch.randn(len(COLOUR_NAMES) + 1, PROMPT_WIDTH, generator=generator)
    return kinds / 2**0.5, colours / 2**0.5


def codes(meanings: torch.Tensor) -> torch.Tensor:
    """(n, 2) kinds and colours -> (n, PROMPT_WIDTH), entries of variance 1."""
    kinds, colours = code_table()
    return kinds[meanings[:, 0]] + colours[meanings[:, 1]]


class PatchLabels(nn.Module):
    """Reads kind and colour off a picture's features; used in pretraining only."""

    def __init__(self, width: int, fineness: int) -> None:
        """Takes features of `width` channels and gives `fineness` x `fineness` labels per patch."""
        super().__init__()
        self.fineness = fineness
        self.kinds, self.colours = len(KINDS) + 1, len(COLOUR_NAMES) + 1
        self.read = nn.Linear(width, (self.kinds + self.colours) * fineness**2)

    def loss(self, features: torch.Tensor, kinds: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
        """Cross-entropy.

        Args:
            features: (B, grid, grid, width).
            kinds: (B, side, side) int64, side = grid * fineness; IGNORED where there is no picture.
            colours: likewise.
        """
        logits = F.pixel_shuffle(self.read(features).permute(0, 3, 1, 2), self.fineness)
        kind_logits, colour_logits = logits.split([self.kinds, self.colours], dim=1)
        return _label_loss(kind_logits, kinds) + _label_loss(colour_logits, colours)


def _label_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    weight = torch.ones(logits.shape[1])
    weight[-1] = NOTHING_WEIGHT
    return F.cross_entropy(logits, target, weight=weight, ignore_index=IGNORED)


class EyesStage(nn.Module):
    """SAM: labels at every patch, and masks of what a code means."""

    def __init__(self, network: LisaNetwork, views: ViewCache, seed: int, batch: int, queries: int) -> None:
        """Trains `network.visual_model` on `batch` views a step, `queries` masks of each."""
        super().__init__()
        self.network_part = network.visual_model
        self.head = PatchLabels(PROMPT_WIDTH, MASK_SIDE // SAM.grid)
        self._network: list[LisaNetwork] = [network]  # in a list: the other parts are not this module's
        self._views, self._seed, self._batch, self._queries = views, seed, batch, queries

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, "eyes", number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self._network[0].visual_model.image_encoder(sam_batch(views))
        features = features.float()
        kinds, colours = padded_labels(views)
        dense = self.head.loss(features.permute(0, 2, 3, 1), kinds, colours)
        logits, targets = self._masks(views, features, rng)
        masks = mask_loss(logits, targets)
        return dense + masks, {"dense": dense.item(), "masks": masks.item(), "iou": batch_iou(logits, targets)}

    def _masks(self, views: Sequence[View], features: torch.Tensor, rng: Rng) -> tuple[torch.Tensor, torch.Tensor]:
        logits, targets = [], []
        for i, view in enumerate(views):
            drawn = [draw_query(view, rng) for _ in range(self._queries)]
            prompts = codes(torch.tensor([query for query, _ in drawn]))
            logits.append(self._network[0].prompted_logits(prompts, features[i : i + 1]))
            targets += [target for _, target in drawn]
        return torch.cat(logits), torch.stack(targets)


def draw_query(view: View, rng: Rng) -> tuple[tuple[int, int], torch.Tensor]:
    """A kind, a colour or both that the view shows, with the mask of all that fit."""
    thing = view.objects[int(rng.integers(len(view.objects)))]
    kind, colour = meaning([thing])
    drawn = rng.random()
    if drawn < 0.2:
        colour = ANY_COLOUR
    elif drawn < 0.32:
        kind = ANY_KIND
    elif drawn < 0.35:
        kind, colour = ANY_KIND, ANY_COLOUR
    fitting = [
        other.instance
        for other in view.objects
        if kind in (ANY_KIND, meaning([other])[0]) and colour in (ANY_COLOUR, meaning([other])[1])
    ]
    mask = torch.isin(torch.from_numpy(view.instances), torch.tensor(fitting, dtype=torch.uint8)).numpy()
    return (kind, colour), coarse_mask(mask)


def padded_labels(views: Sequence[View]) -> tuple[torch.Tensor, torch.Tensor]:
    """Kinds and colours (B, MASK_SIDE, MASK_SIDE), IGNORED beside and below the picture."""
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


class GlanceStage(nn.Module):
    """CLIP: labels at every patch, so that its features tell LLaMA what is where."""

    def __init__(self, network: LisaNetwork, views: ViewCache, clip: ClipPreprocessing, seed: int, batch: int) -> None:
        """Trains `network.vision_tower` on `batch` views a step."""
        super().__init__()
        self.network_part = network.vision_tower
        self.head = PatchLabels(CLIP["hidden_size"], 2)
        self._views, self._clip, self._seed, self._batch = views, clip, seed, batch

    def step(self, number: int) -> tuple[torch.Tensor, Scalars]:
        """One step's loss."""
        rng = step_rng(self._seed, "glance", number)
        views = [draw_view(self._views, rng) for _ in range(self._batch)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.network_part(clip_batch(views, self._clip))
        grid = CLIP["image_size"] // CLIP["patch_size"]
        features = out.last_hidden_state[:, 1:].float().unflatten(1, (grid, grid))
        truth = [labels(view, (2 * grid, 2 * grid)) for view in views]
        kinds, colours = (torch.stack(maps) for maps in zip(*truth, strict=True))
        loss = self.head.loss(features, kinds, colours)
        return loss, {"dense": loss.item()}
