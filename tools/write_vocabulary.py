# SPDX-License-Identifier: Apache-2.0
"""Writes the embedded checkpoint's vocabulary.txt: sentences that together have every word and pair of its language.

Run after the language of the simulated table has changed: `tools/run python tools/write_vocabulary.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from lisa_ros.speech.language.vocabulary import FILE_NAME, pairs_of, words_of
from lisa_ros.tabletop.questions.corpus import every_request

FILE = Path(__file__).resolve().parents[1] / "lisa_ros" / "checkpoints" / "tabletop" / FILE_NAME

HEAD = """# What an operator says to this checkpoint: each word and each pair of words of the requests that it knows.
# Written by tools/write_vocabulary.py. One sentence a line; read by the speech recogniser's correction.
# closed: the model knows no other words.
"""


def covering(sentences: Iterable[str]) -> Iterator[str]:
    """The sentences, in their order, that bring a pair of words which none before them had."""
    known: set[tuple[str, str]] = set()
    for sentence in sentences:
        pairs = set(pairs_of(words_of(sentence)))
        if pairs - known:
            known |= pairs
            yield " ".join(words_of(sentence))


def vocabulary_text() -> str:
    """The whole file."""
    requests = [text for text in every_request() if "[SEG]" not in text]
    # The longest first: fewer sentences then have all pairs.
    lines = sorted(covering(sorted(requests, key=lambda text: (-len(text.split()), text))))
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Writes the file."""
    FILE.write_text(vocabulary_text(), encoding="utf-8")
    print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
