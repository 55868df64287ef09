# SPDX-License-Identifier: Apache-2.0
"""How alike two words sound, by their letters and by their Metaphone codes."""

from __future__ import annotations

from collections.abc import Sequence

import jellyfish
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

_SHARES = (0.4, 0.3, 0.3)
"""Weights of the letters, of the Metaphone codes, and of the codes' classes in the distance."""

# As in Soundex: consonants that are spoken with the same part of the tongue or lips. "0" is Metaphone's "th".
_CLASSES = str.maketrans({"P": "B", "F": "B", "V": "B", "D": "T", "0": "T", "M": "N", "G": "K", "Z": "S", "X": "S"})


class Sounds:
    """Texts that others are compared with; each may be several words."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Takes texts in lower case."""
        self._forms = [_forms(text) for text in texts]

    def distances(self, text: str) -> NDArray[np.float32]:
        """(texts,) from 0 (alike) to 1 (nothing in common): the weighted mean of three normalized edit distances.

        They are of the letters without spaces, of the Metaphone codes (consonants as they are spoken), and of these
        codes with similar consonants made equal.
        """
        total = np.zeros(len(self._forms), dtype=np.float32)
        if not self._forms:
            return total
        for form, others, share in zip(_forms(text), zip(*self._forms, strict=True), _SHARES, strict=True):
            total += share * cdist([form], others, scorer=OSA.normalized_distance)[0]
        return total


def _forms(text: str) -> tuple[str, str, str]:
    letters = text.replace(" ", "").replace("'", "")
    code = jellyfish.metaphone(letters) or letters.upper()
    return letters, code, code.translate(_CLASSES)
