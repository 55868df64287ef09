# SPDX-License-Identifier: Apache-2.0
"""Views and dialogues as the tensors that training steps take.

A batch depends on the seed and the number of the step alone, so that an interrupted training resumes with the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.prompt import TEMPLATES, build_prompt
from lisa_ros.models.lisa.sam.pixels import sam_pixels
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.simulation.scene import KINDS, SceneObject, View
from lisa_ros.tabletop.questions.conversation import Question, true_mask
from lisa_ros.tabletop.questions.descriptions import middle
from lisa_ros.tabletop.questions.phrasings import PLACES
from lisa_ros.tabletop.views import ViewCache
from lisa_ros.training.embedded.architecture import SAM
from lisa_ros.training.embedded.codes import ANY_COLOUR, ANY_KIND, COLOUR_NAMES, Meaning
from lisa_ros.training.scenes.framed_views import FramedViews
from lisa_ros.training.scenes.randomized_views import RandomizedViews

Rng = np.random.Generator
Views = ViewCache | RandomizedViews | FramedViews
"""Views to learn from; those that are no ViewCache are varied each time they are drawn."""
MASK_SIDE = 4 * SAM.grid
"""Side of the low-resolution masks that SAM's decoder makes, pixels."""

IGNORED = -100
MIDDLING, LEAST_WEIGHT, MOST_WEIGHT = 144, 0.6, 3.0
"""Labels on an object of three by three patches, which weigh 1, and how little and how much labels can weigh."""


def step_rng(seed: int, stage: str, step: int) -> Rng:
    """The random numbers of one training step."""
    return np.random.default_rng([seed, *stage.encode(), step])


def view_numbers(views: Views, rng: Rng, count: int) -> list[int]:
    """Which views `draw_view` takes, called so often with the same random numbers."""
    return [draw_numbered(views, rng)[0] for _ in range(count)]


def draw_view(views: Views, rng: Rng) -> View:
    """A random view, mirrored half of the time, in slightly other light and colour temperature."""
    return draw_numbered(views, rng)[1]


def draw_numbered(views: Views, rng: Rng) -> tuple[int, View]:
    """The same, with its number in the cache."""
    number = int(rng.integers(len(views)))
    view = views[number] if isinstance(views, ViewCache) else views.varied(number, rng)
    rgb, instances = view.rgb, view.instances
    if rng.random() < 0.5:  # before any question is asked, so that left is left
        rgb, instances = rgb[:, ::-1], instances[:, ::-1]
    gain = rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, size=3)
    rgb = np.clip(rgb * gain, 0, 255).astype(np.uint8)
    return number, replace(view, rgb=rgb, instances=np.ascontiguousarray(instances))


def in_strange_colours(view: View, rng: Rng) -> View:
    """The same objects in colours without information: all grey, or channels exchanged and mixed.

    A network that must recognize kinds in such images learns shapes, and recognizes a kind in a colour new to it.
    """
    mixing = np.eye(3)[rng.permutation(3)] if rng.random() < 0.7 else np.full((3, 3), 1 / 3)
    blend = rng.uniform(0.0, 0.5)
    mixing = (1 - blend) * mixing + blend * rng.dirichlet(np.ones(3), size=3)
    rgb = np.clip(view.rgb @ mixing.T, 0, 255).astype(np.uint8)
    return replace(view, rgb=rgb)


def coarse_mask(mask: NDArray[np.bool_]) -> torch.Tensor:
    """A mask in the decoder's resolution: the share of each coarse pixel that it covers, (MASK_SIDE, MASK_SIDE)."""
    height, width = mask.shape
    scale = MASK_SIDE / max(height, width)
    size = (round(height * scale), round(width * scale))
    coarse = F.interpolate(torch.from_numpy(mask).float()[None, None], size, mode="area")[0, 0]
    return F.pad(coarse, (0, MASK_SIDE - size[1], 0, MASK_SIDE - size[0]))


def labels(view: View, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(kind, colour) at each point of a grid over the image; the last label of each is "nothing".

    Args:
        view: the truth.
        size: (h, w) of the grid.

    Returns:
        two (h, w) int64 tensors.
    """
    seen = _instances_at(view, size)
    kinds, colours = np.full(256, len(KINDS)), np.full(256, len(COLOUR_NAMES))
    for item in view.objects:
        kinds[item.instance], colours[item.instance] = KINDS.index(item.kind), COLOUR_NAMES.index(item.colour)
    return torch.from_numpy(kinds[seen]), torch.from_numpy(colours[seen])


def label_weights(view: View, size: tuple[int, int]) -> torch.Tensor:
    """(h, w) float32: how much each of `labels` counts, more at small objects, which questions ask for as often.

    An object of n points has the weight sqrt(MIDDLING / n) at each, from LEAST_WEIGHT to MOST_WEIGHT; all else 1.
    """
    seen = _instances_at(view, size)
    weights, counts = np.ones(256), np.bincount(seen.ravel(), minlength=256)
    for item in view.objects:
        wanted = np.sqrt(MIDDLING / max(counts[item.instance], 1))
        weights[item.instance] = np.clip(wanted, LEAST_WEIGHT, MOST_WEIGHT)
    return torch.from_numpy(weights[seen]).float()


def _instances_at(view: View, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The instance at each point of a grid over the image, `size` (h, w)."""
    height, width = view.instances.shape
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    at: NDArray[np.uint8] = view.instances[np.ix_(rows, columns)]
    return at


def sam_point(view: View, share: tuple[float, float]) -> tuple[float, float]:
    """A point given as shares of the image's width and height, as shares of the side of SAM's square input."""
    height, width = view.instances.shape
    side = max(height, width)
    return share[0] * width / side, share[1] * height / side


def shared_appearance(items: Sequence[SceneObject]) -> tuple[int, int]:
    """(kind, colour) that these objects share, ANY_KIND or ANY_COLOUR where they differ."""
    kinds, colours = {item.kind for item in items}, {item.colour for item in items}
    kind = KINDS.index(kinds.pop()) if len(kinds) == 1 else ANY_KIND
    colour = COLOUR_NAMES.index(colours.pop()) if len(colours) == 1 else ANY_COLOUR
    return kind, colour


def meaning_of(view: View, question: Question) -> Meaning:
    """What a question means: kind and colour as far as the question gives them, and where the objects are.

    What the question does not give would have to be guessed. Uses give the kind, and a follow-up takes what it leaves
    out from the turn before, unless it gives only a position.
    """
    by_number = {item.instance: item for item in view.objects}
    items = [by_number[number] for number in question.instances]
    text = question.text.lower()
    kind, colour = shared_appearance(items)
    inherits = question.follows and not any(f" {words} it" in text for ways in PLACES.values() for words in ways)
    tells_kind = inherits or question.family in ("use", "explain") or any(item.kind in text for item in items)
    tells_colour = inherits or any(item.colour in text for item in items)
    points = tuple(sam_point(view, middle(view, item.instance)) for item in items)
    return Meaning(kind if tells_kind else ANY_KIND, colour if tells_colour else ANY_COLOUR, points)


def sam_batch(views: Sequence[View]) -> torch.Tensor:
    """(B, 3, side, side) float32."""
    return torch.cat([sam_pixels(view.rgb, SAM.image_size)[0] for view in views])


def clip_batch(views: Sequence[View], clip: ClipPreprocessing) -> torch.Tensor:
    """(B, 3, h, w) float32."""
    return torch.cat([clip(view.rgb) for view in views])


@dataclass(frozen=True)
class Dialogue:
    """A dialogue of several turns as one sequence of ids, each turn answered truly.

    Attributes:
        ids: (length,) int64, IMAGE_TOKEN_INDEX where the image goes.
        targets: (length,) int64; the id where the model has to say it, IGNORED elsewhere.
        masks: (n, MASK_SIDE, MASK_SIDE), one for each `[SEG]` among the targets.
        meanings: of each mask.
        instances: everything that is meant in any turn.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    masks: torch.Tensor
    meanings: tuple[Meaning, ...]
    instances: frozenset[int]


def make_dialogue(view: View, questions: Sequence[Question], tokenizer: LisaTokenizer) -> Dialogue:
    """The ids, targets and truth of a dialogue in the template that the embedded checkpoint speaks."""
    ids, targets = _ids_and_targets([(q.text, q.answer) for q in questions], tokenizer)
    asked = [replace(question, instances=part) for question in questions for part in question.masks]
    masks = [coarse_mask(true_mask(view, question)) for question in asked]
    return Dialogue(
        torch.tensor(ids),
        torch.tensor(targets),
        torch.stack(masks) if masks else torch.zeros(0, MASK_SIDE, MASK_SIDE),
        tuple(meaning_of(view, question) for question in asked),
        frozenset(number for question in asked for number in question.instances),
    )


def _ids_and_targets(exchanges: list[tuple[str, str]], tokenizer: LisaTokenizer) -> tuple[list[int], list[int]]:
    template = TEMPLATES["llava_v1"]
    ids = tokenizer.encode_prompt(build_prompt(template, exchanges))
    targets = [IGNORED] * len(ids)
    for i, (command, answer) in enumerate(exchanges):
        start = len(tokenizer.encode_prompt(build_prompt(template, [*exchanges[:i], (command, "")])))
        end = len(tokenizer.encode_prompt(build_prompt(template, [*exchanges[:i], (command, answer)])))
        targets[start:end] = ids[start:end]
    return ids, targets
