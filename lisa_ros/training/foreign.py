# SPDX-License-Identifier: Apache-2.0
"""Examples to prove `lisa finetune` with: the simulated table asked about in German.

The embedded model has never seen a word of it. `python -m lisa_ros.training.foreign OUT` writes OUT/train and OUT/val
in ReasonSeg's format.

Each example is a view, one object of it and two noun phrases that mean it alone: "die rote Tasse", "eine rote Tasse".
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.training.descriptions import Description, Sight
from lisa_ros.training.questions import MIN_SHARE
from lisa_ros.training.scenes import (
    DEFAULT_CACHE,
    SPLITS,
    UNSEEN_PAIRS,
    VIEWS_PER_ARRANGEMENT,
    ViewCache,
    render_views,
)

DEFINITE = {"m": "der", "f": "die", "n": "das"}
INDEFINITE = {"m": "ein", "f": "eine", "n": "ein"}
STRONG_ENDINGS = {"m": "er", "f": "e", "n": "es"}
"""Of an adjective behind the indefinite article, nominative; behind the definite one it is "e" for all."""

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

ADJECTIVES: dict[str, str] = {
    "red": "rot",
    "orange": "orangefarben",
    "yellow": "gelb",
    "green": "grün",
    "blue": "blau",
    "purple": "violett",
    "white": "weiß",
    "black": "schwarz",
}
"""Colour of the simulation -> adjective without its ending."""


@dataclass(frozen=True)
class Example:
    """A view, and what the phrases about it mean."""

    view: View
    thing: SceneObject


def noun_phrases(kind: str, colour: str) -> tuple[str, str]:
    """In the nominative, with the definite and with the indefinite article."""
    gender, noun = NOUNS[kind]
    stem = ADJECTIVES[colour]
    return f"{DEFINITE[gender]} {stem}e {noun}", f"{INDEFINITE[gender]} {stem}{STRONG_ENDINGS[gender]} {noun}"


def examples(views: Sequence[View], count: int) -> list[Example]:
    """At most one example a view: of what the phrase means alone and shows clearly, a kind and colour used least."""
    used: Counter[str] = Counter()
    found: list[Example] = []
    for view in views:
        options = [thing for thing in view.objects if _is_clear(view, thing)]
        if options and len(found) < count:
            thing = min(options, key=lambda one: used[one.kind] + used[one.colour])
            used.update([thing.kind, thing.colour])
            found.append(Example(view, thing))
    return found


def _is_clear(view: View, thing: SceneObject) -> bool:
    sight = Sight(view, round(MIN_SHARE * view.instances.size))
    return sight.clear(Description(thing.kind, thing.colour)) == (thing,)


def shapes(mask: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A mask (H, W) as ReasonSeg's polygons; holes are not to be judged, since the format has no background label."""
    outlines, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parents = hierarchy[0][:, 3] if hierarchy is not None else []
    return [
        {"label": "ignore" if parent >= 0 else "target", "points": outline.reshape(-1, 2).tolist()}
        for outline, parent in zip(outlines, parents, strict=True)
    ]


def write_examples(found: Sequence[Example], folder: Path) -> None:
    """NAME.png and NAME.json for each, the folder made.

    Raises:
        FileExistsError: the folder is there.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    for i, example in enumerate(found):
        stem = f"{i:04}_{example.thing.colour}_{example.thing.kind.replace(' ', '_')}"
        file = folder / f"{stem}.png"
        if not cv2.imwrite(str(file), cv2.cvtColor(example.view.rgb, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{file} could not be written")
        annotation = {
            "text": list(noun_phrases(example.thing.kind, example.thing.colour)),
            "is_sentence": False,
            "shapes": shapes(example.view.instances == example.thing.instance),
        }
        text = json.dumps(annotation, ensure_ascii=False)
        (folder / f"{stem}.json").write_text(text + "\n", encoding="utf-8")


def _views(cache: Path, split: str, examples_wanted: int) -> Iterator[View]:
    """One view of each arrangement of a split, rendered where missing; half as many again, since some show nothing."""
    count = (examples_wanted + examples_wanted // 2 + 8) * VIEWS_PER_ARRANGEMENT
    avoid = UNSEEN_PAIRS if split == "train" else frozenset[tuple[str, str]]()
    render_views(SPLITS[split], count, cache=cache / split, avoid=avoid)
    views = ViewCache(cache / split, count)
    return (views[i] for i in range(0, len(views), VIEWS_PER_ARRANGEMENT))


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both folders."""
    parser = argparse.ArgumentParser(prog="lisa_ros.training.foreign", description="German examples of the table.")
    parser.add_argument("out", type=Path, help="gets the folders train and val")
    parser.add_argument("--examples", type=int, default=239, help="to learn from (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=100, help="to be asked about (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where views are kept")
    options = parser.parse_args(arguments)
    for folder, split, count in (("train", "train", options.examples), ("val", "validation", options.held_out)):
        found = examples(list(_views(options.cache, split, count)), count)
        write_examples(found, options.out / folder)
        print(f"{options.out / folder}: {len(found)} examples")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
