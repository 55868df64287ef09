# SPDX-License-Identifier: Apache-2.0
"""Examples to prove `lisa finetune` with: the simulated table asked about in German.

The embedded model has never seen a word of it.
`python -m lisa_ros.training.language.german_examples OUT` writes OUT/train and OUT/val in ReasonSeg's format.

Each example is a view, one object of it and two noun phrases that mean it alone: "die Tasse", "eine Tasse".
Where asked for, OUT/old gets dialogues of the kind that the model knows, in its own English: learned along, they keep
it from forgetting.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.shapes import mask_entry
from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.tabletop.questions.conversation import MIN_SHARE, conversation, true_mask
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects
from lisa_ros.tabletop.view_sources import VIEWS_PER_ARRANGEMENT
from lisa_ros.tabletop.views import DEFAULT_CACHE, RESERVED_PAIRS, SPLITS, ViewCache, render_views

DEFINITE = {"m": "der", "f": "die", "n": "das"}
INDEFINITE = {"m": "ein", "f": "eine", "n": "ein"}

NOUNS: dict[str, tuple[str, str]] = {
    "mug": ("f", "Tasse"),
    "duck": ("f", "Ente"),
    "teddy bear": ("m", "Teddybär"),
    "ball": ("m", "Ball"),
    "brick": ("m", "Baustein"),
    "domino": ("m", "Dominostein"),
    "cube": ("m", "Würfel"),
    "can": ("f", "Dose"),
    "plate": ("m", "Teller"),
    "book": ("n", "Buch"),
    "bottle": ("f", "Flasche"),
    "bowl": ("f", "Schüssel"),
    "cone": ("m", "Kegel"),
    "ring": ("m", "Ring"),
}
"""Kind of the simulation -> gender and noun."""

SEED = 1
"""Of the English questions."""

OLD_TURNS = 4
"""Of an English dialogue, at most."""

Annotation = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A view, and what the phrases about it mean."""

    view: View
    item: SceneObject

    @property
    def annotation(self) -> Annotation:
        """What its JSON file says."""
        texts = list(noun_phrases(self.item.kind))
        found = shapes(self.view.instances == self.item.instance)
        return {"text": texts, "is_sentence": False, "shapes": found}


def noun_phrases(kind: str) -> tuple[str, str]:
    """In the nominative, with the definite and with the indefinite article."""
    gender, noun = NOUNS[kind]
    return f"{DEFINITE[gender]} {noun}", f"{INDEFINITE[gender]} {noun}"


def examples(views: Sequence[View], count: int) -> list[Example]:
    """At most one example a view: of what the phrase means alone and shows clearly, of the kind used least."""
    used: Counter[str] = Counter()
    found: list[Example] = []
    for view in views:
        options = [item for item in view.objects if _is_clear(view, item)]
        if options and len(found) < count:
            item = min(options, key=lambda one: used[one.kind])
            used[item.kind] += 1
            found.append(Example(view, item))
    return found


def _is_clear(view: View, item: SceneObject) -> bool:
    visible = VisibleObjects(view, round(MIN_SHARE * view.instances.size))
    return visible.clear(Description(item.kind)) == (item,)


def shapes(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A mask (H, W) as the shapes of an annotation file; none for an empty one."""
    return [mask_entry("target", mask)] if mask.any() else []


def write_examples(found: Sequence[Example], folder: Path) -> None:
    """NAME.png and NAME.json for each, the folder made.

    Raises:
        FileExistsError: the folder is there.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    for i, example in enumerate(found):
        name = f"{i:04}_{example.item.colour}_{example.item.kind.replace(' ', '_')}"
        _write(folder / name, example.view, example.annotation)


def write_old(views: Sequence[View], folder: Path, seed: int) -> int:
    """English dialogues, one about each view, of one to OLD_TURNS questions of all families with the answers learned.

    Returns:
        the number of dialogues.

    Raises:
        FileExistsError: the folder is there.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i, view in enumerate(views):
        asked = conversation(view, rng, int(rng.integers(1, OLD_TURNS + 1)), learning=True)
        turns = [{"text": q.text, "answer": q.answer, "shapes": shapes(true_mask(view, q))} for q in asked]
        _write(folder / f"old_{i:04}", view, {"dialogue": turns})
    return len(views)


def _write(stem: Path, view: View, annotation: Annotation) -> None:
    image, text = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.json")
    if not cv2.imwrite(str(image), cv2.cvtColor(view.rgb, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{image} could not be written")
    text.write_text(json.dumps(annotation, ensure_ascii=False) + "\n", encoding="utf-8")


def _views(cache: Path, split: str, arrangements: int) -> list[View]:
    """One view of each arrangement of a split, rendered where missing."""
    count = arrangements * VIEWS_PER_ARRANGEMENT
    avoid = RESERVED_PAIRS if split == "train" else frozenset[tuple[str, str]]()
    render_views(SPLITS[split], count, cache=cache / split, avoid=avoid)
    views = ViewCache(cache / split, count)
    return [views[i] for i in range(0, len(views), VIEWS_PER_ARRANGEMENT)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both folders."""
    parser = argparse.ArgumentParser(
        prog="lisa_ros.training.language.german_examples", description="German examples of the table."
    )
    parser.add_argument("out", type=Path, help="gets the folders train and val")
    parser.add_argument("--examples", type=int, default=239, help="to learn from (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=100, help="to be asked about (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where views are kept")
    parser.add_argument("--old", type=int, default=0, help="English ones to keep in mind (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("examples", "held_out", "old"):
        if getattr(options, name) < 0:
            parser.error(f"--{name.replace('_', '-')} is a number of 0 or more")
    try:
        _write_all(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


def _write_all(options: argparse.Namespace) -> None:
    for folder, split, count in (("train", "train", options.examples), ("val", "validation", options.held_out)):
        # Half as many arrangements again, since some show nothing that can be asked for.
        found = examples(_views(options.cache, split, count + count // 2 + 8), count)
        write_examples(found, options.out / folder)
        print(f"{options.out / folder}: {len(found)} examples")
    if options.old:
        count = write_old(_views(options.cache, "train", options.old), options.out / "old", SEED)
        print(f"{options.out / 'old'}: {count} examples")


if __name__ == "__main__":
    raise SystemExit(main())
