# SPDX-License-Identifier: Apache-2.0
"""Simulated tables as a data set: dialogues about views that the embedded model was never trained on.

Views are rendered where they are missing, from the seeds of their split; the questions too come from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.samples import DataError, Round, Sample, Truth
from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.tabletop.questions.conversation import ALL_WEIGHTS, WEIGHTS, Question, conversation, true_mask
from lisa_ros.tabletop.questions.relations import is_reserved
from lisa_ros.tabletop.view_sources import CALIBRATION, FAR_TABLE, OWN_TABLE, SECOND, ViewSource
from lisa_ros.tabletop.views import DEFAULT_CACHE, RESERVED_PAIRS, SHARD_VIEWS, SPLITS, ViewCache, render_views

VIEWS = {"test": 512, "validation": 256, "train": 512}
TURNS = 4
SEED = 20
HELD_OUT = "held-out"
"""Ends the name of a split that is asked in phrasings which training never uses."""


@dataclass(frozen=True)
class Table:
    """Views of one kind in a split with questions in all phrasings.

    Attributes:
        folder: of the rendered views, below the data set's folder.
        source: how views are made.
        views: how many.
        shard_views: views of each shard.
    """

    folder: str
    source: ViewSource
    views: int
    shard_views: int


TABLES = {
    "own": (Table("test", OWN_TABLE, 128, 64),),
    "second": (Table("second", SECOND, 96, 16),),
    "far": (Table("far", FAR_TABLE, 96, 16),),
    "calibration": (Table("validation", OWN_TABLE, 128, 64), Table("calibration", CALIBRATION, 192, 16)),
}
"""Splits that measure generalization: the plain table with new seeds, the second renderer, and the far table; and one
of plain and of randomized tables, with views of its own, for the calibration of scores.

Every second view is asked about in phrasings that training never uses.
"""
WITHOUT_MASK = ("count", "whether", "unknown kind", "not understood")
"""Families that are answered in text alone."""
LEAST_SHARE = 1 / 1200
"""Objects that cover less of an image of TABLES are neither asked for nor called absent."""


def view_count(split: str) -> int:
    """Number of views of a split.

    Raises:
        DataError: there is no such split.
    """
    if split in TABLES:
        return sum(table.views for table in TABLES[split])
    name = _base(split)
    if name not in VIEWS:
        known = [*VIEWS, *(f"{one}-{HELD_OUT}" for one in VIEWS), *TABLES]
        raise DataError(f"the simulated tables have no split {split!r}; there are {', '.join(known)}")
    return VIEWS[name]


def read_tabletop(folder: Path | None, split: str, limit: int | None = None, workers: int = 2) -> list[Sample]:
    """The views of a split, each with a dialogue of up to TURNS turns.

    Args:
        folder: where rendered views are kept, a folder for each split; None: DEFAULT_CACHE.
        split: a key of VIEWS, one of them with "-held-out", or one of TABLES.
        limit: only the first so many views; of VIEWS no more are rendered.
        workers: processes that render.

    Raises:
        DataError: there is no such split.
    """
    count = min(view_count(split), limit or view_count(split))
    if split in TABLES:
        caches = [_rendered_table(folder or DEFAULT_CACHE, table, workers) for table in TABLES[split]]
        views = (cache[index] for cache in caches for index in range(len(cache)))
        numbered = enumerate(islice(views, count))
        return [_sample(view, index, held_out=index % 2 == 1, varied=True) for index, view in numbered]
    cache = _rendered(_base(split), count, folder or DEFAULT_CACHE, workers)
    return [_sample(cache[index], index, held_out=split != _base(split)) for index in range(len(cache))]


def _rendered(name: str, count: int, folder: Path, workers: int) -> ViewCache:
    """The first views of a split. Fewer than a shard have a folder of their own: the views of a seed are the same."""
    home, shard_views = folder / name, SHARD_VIEWS
    if count < SHARD_VIEWS and not any(home.glob("shard_*.npz")):
        home, shard_views = folder / f"{name}_first_{count}", count
    avoid = RESERVED_PAIRS if name == "train" else frozenset()
    render_views(SPLITS[name], count, cache=home, workers=workers, shard_views=shard_views, avoid=avoid)
    return ViewCache(home, count)


def _base(split: str) -> str:
    return split.removesuffix(f"-{HELD_OUT}")


def _rendered_table(folder: Path, table: Table, workers: int) -> ViewCache:
    home, seed = folder / table.folder, SPLITS[table.folder]
    more = {"shard_views": table.shard_views, "source": table.source}
    render_views(seed, table.views, cache=home, workers=workers, **more)  # type: ignore[arg-type]
    return ViewCache(home, table.views)


def _sample(view: View, index: int, held_out: bool, varied: bool = False) -> Sample:
    rng = np.random.default_rng([SEED, index])
    least = round(LEAST_SHARE * view.instances.size) if varied else None
    weights = ALL_WEIGHTS if varied else WEIGHTS
    asked = conversation(view, rng, TURNS, held_out, min_pixels=least, weights=weights, varied=varied)
    return sample_of(view, f"view {index:04d}", asked)


def sample_of(view: View, name: str, asked: Sequence[Question]) -> Sample:
    """A view with a dialogue about it.

    Args:
        view: with its truth.
        name: unique within the data set.
        asked: the dialogue's questions, in order.
    """
    rounds = tuple(_round(view, question, turn) for turn, question in enumerate(asked, start=1))
    return Sample(name, partial(_image, view), rounds, dialogue=True)


def _image(view: View) -> NDArray[np.uint8]:
    return view.rgb


def _round(view: View, question: Question, turn: int) -> Round:
    items = [item for item in view.objects if item.instance in question.instances]
    family = question.family if question.instances or question.family in WITHOUT_MASK else "absent"
    return Round(
        question.text,
        is_sentence=True,
        truth=partial(_truth, view, question),
        answer=question.answer,
        group=family,
        tags=_tags(family, question, items, turn),
        must_say=f"{items[0].colour} {items[0].kind}" if len(items) == 1 else None,
        is_command=True,
    )


def _truth(view: View, question: Question) -> Truth:
    return true_mask(view, question).astype(np.uint8)


def _tags(family: str, question: Question, items: Sequence[SceneObject], turn: int) -> tuple[str, ...]:
    tags = []
    if family == "follow" and turn == TURNS:
        tags.append(f"follow at turn {TURNS}")
    if len(items) == 1 and (items[0].kind, items[0].colour) in RESERVED_PAIRS:
        tags.append("reserved pair of kind and colour")
    if len(items) == 1 and question.related_to and is_reserved(items[0].kind, question.related_to):
        tags.append("reserved pair of related kinds")
    return tuple(tags)
