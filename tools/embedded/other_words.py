#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many objects the embedded model finds by other words than those of the evaluation.

`tools/run python tools/embedded/other_words.py` asks about views of the plain table's validation split, one question a
new dialogue, and prints the share of answers whose masks have an IoU of more than 0.5 with the object meant:

- synonyms that training says ("the cup"), and the usual words of the same objects;
- other ways to ask for a use that training says ("something I can kick"), and some that it does not;
- other sentences around "the red mug", none of which training says;
- lists of two and of three objects.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.models.model import load
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects
from lisa_ros.tabletop.questions.synonyms import SYNONYMS, USES
from lisa_ros.tabletop.views import ViewCache

LEAST_PIXELS = 400
NEW_USES = {
    "mug": ("I'm thirsty, hand me something to drink from", "something that holds a hot drink"),
    "book": ("I am bored, give me something to read", "something to study"),
    "ball": ("something for a football game", "what a child can kick"),
    "teddy bear": ("something a child sleeps with", "something soft for a baby"),
    "bowl": ("what can I eat soup from?", "something for my cereal"),
    "plate": ("what can I serve a sandwich on?", "something for a piece of cake"),
    "bottle": ("what can I pour water from?", "something that holds wine"),
    "duck": ("the toy that swims", "something for the bath of a child"),
    "ring": ("something that has a hole in it", "the thing that looks like a donut"),
    "cone": ("what closes a road?", "something that stands on a street"),
}
"""Ways to ask for what only this kind is for, which training does not say."""
NEW_REQUESTS = (
    *("Fetch the {x}.", "Pass me the {x}, would you?", "Locate the {x}.", "Where did I put the {x}?"),
    *("Can I have the {x}?", "I lost my {x}.", "Give the {x} to me.", "Reach for the {x}.", "Outline the {x}."),
    *("Hey robot, where is the {x}?", "Pick the {x} up.", "I want you to find the {x}.", "that {x} over there"),
)

Asked = tuple[str, str, tuple[int, ...]]
"""Set of questions, text and instances meant."""


def main() -> None:
    """Prints a row for each set of questions, and the words that are found least."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=str(embedded_checkpoint()))
    parser.add_argument("--views", type=Path, default=Path(".cache/tabletop/validation"))
    parser.add_argument("--count", type=int, default=48, help="views")
    chosen = parser.parse_args()
    model = load(chosen.checkpoint, device="cpu")
    views, rng = ViewCache(chosen.views), np.random.default_rng(1)
    found: dict[str, list[bool]] = defaultdict(list)
    by_word: dict[str, list[bool]] = defaultdict(list)
    for number in range(chosen.count):
        encoded = model.segmenter.encode(views[number].rgb)
        for name, text, meant in questions(views[number], rng):
            right = finds(model.segmenter, encoded, text, views[number], meant)
            found[name].append(right)
            by_word[f"{name}: {text}"].append(right)
        encoded.release()
    print("| questions | number | found |\n|---|---|---|")
    for name, right in found.items():
        print(f"| {name} | {len(right)} | {np.mean(right):.0%} |")
    worst = sorted(by_word.items(), key=lambda one: np.mean(one[1]))
    print(
        "\n".join(
            f"{np.mean(right):.0%} of {len(right)}: {text}"
            for text, right in worst
            if np.mean(right) < 0.7 and len(right) > 2
        )
    )


def questions(view: View, rng: np.random.Generator) -> Iterator[Asked]:
    """Questions about the objects whose kind is there only once, and lists of objects."""
    visible = VisibleObjects(view, LEAST_PIXELS)
    kinds = {item.kind for item in visible.items}
    alone = [item for item in visible.items if len(visible.clear(Description(item.kind))) == 1]
    for item in alone:
        meant, near = (item.instance,), {near for use in say.USES if item.kind in use.kinds for near in use.near}
        yield "usual words", f"the {item.kind}", meant
        yield from (("synonyms", f"the {word}", meant) for word in SYNONYMS[item.kind].sayable(kinds))
        if not near & kinds:
            yield from (("uses, learned", text, meant) for text in USES.get(item.kind, ()))
            yield from (("uses, new", text, meant) for text in NEW_USES.get(item.kind, ()))
        request = NEW_REQUESTS[int(rng.integers(len(NEW_REQUESTS)))]
        yield "new requests", request.format(x=f"{item.colour} {item.kind}"), meant
    for size in (2, 3):
        some = list(combinations(alone, size))
        for place in rng.permutation(len(some))[:3]:
            names = [f"{item.colour} {item.kind}" for item in some[place]]
            yield f"lists of {size}", say.LISTS[size][0].format(*names), tuple(i.instance for i in some[place])


def finds(segmenter: Segmenter, encoded: object, text: str, view: View, meant: tuple[int, ...]) -> bool:
    """Whether there is a mask for each object, with an IoU of more than 0.5."""
    *_, end = segmenter.session(encoded).segment(text)
    masks = [one.mask for one in end.objects] if isinstance(end, Finished) else []
    if len(masks) != len(meant):
        return False
    return all(any(intersection_over_union(mask, view.instances == one) > 0.5 for mask in masks) for one in meant)


if __name__ == "__main__":
    main()
