# SPDX-License-Identifier: Apache-2.0
"""Logits of colour, position, relation and class words at a `[SEG]`, to inspect why the model marked an object.

LIRA's authors find that the state at a `[SEG]` encodes what the object is and what it looks like (arXiv 2507.06272).
It shows in the logits of the next token there, at words that are a single token. Nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lisa_ros.models.lira.tokenizer import LiraTokenizer

_FAMILIES = {
    "colour": "red orange yellow green blue purple pink brown black white gray grey silver gold",
    "position": "left right top bottom middle center front back upper lower near far first second third last",
    "relation": ("on under over above below behind beside between in inside by at with next against holding wearing"),
    # The names of COCO's 80 classes that are a single word.
    "object": (
        "person bicycle car motorcycle airplane bus train truck boat bench bird cat dog horse sheep cow elephant bear "
        "zebra giraffe backpack umbrella handbag tie suitcase frisbee skis snowboard kite skateboard surfboard bottle "
        "cup fork knife spoon bowl banana apple sandwich orange broccoli carrot pizza donut cake chair couch bed "
        "toilet tv laptop mouse remote keyboard microwave oven toaster sink refrigerator book clock vase scissors "
        "toothbrush"
    ),
}
WORDS: Mapping[str, tuple[str, ...]] = {family: tuple(words.split()) for family, words in _FAMILIES.items()}
"""Family -> words."""

Attributes = Mapping[str, Mapping[str, float]]
"""Family -> word -> logit."""


class AttributeReader:
    """Reads the logits of known words at a `[SEG]`."""

    def __init__(self, tokenizer: LiraTokenizer) -> None:
        """Selects the words that are a single token."""
        self._ids = {
            family: {word: number for word in words if (number := tokenizer.single(word)) is not None}
            for family, words in WORDS.items()
        }

    def read(self, logits: torch.Tensor) -> Attributes:
        """The words' logits out of (vocabulary,), the likeliest word first. Families without a word are left out."""
        found = {
            family: {word: float(logits[number]) for word, number in ids.items()} for family, ids in self._ids.items()
        }
        return {
            family: dict(sorted(words.items(), key=lambda pair: -pair[1])) for family, words in found.items() if words
        }
