# SPDX-License-Identifier: Apache-2.0
"""The words and phrases that a spoken command is expected to have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.text_files import read_text
from lisa_ros.speech.extra import SpeechError

FILE_NAME = "vocabulary.txt"
"""In a checkpoint's folder: what an operator says to this model."""

EDGE = ""
"""Stands before the first and after the last word of a sentence, in pairs."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_CLOSED = "# closed:"
_MOST_WORDS_AND_PAIRS = 20_000
"""Each word of an utterance is compared with all of them: with so many a command takes 0.3 s of processor time."""


class VocabularyError(SpeechError):
    """A vocabulary file cannot be used; the text says why."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; "set-up" has two."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def pairs_of(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Neighbours in a sentence, its begin and its end among them."""
    return zip([EDGE, *words], [*words, EDGE], strict=True)


@dataclass(frozen=True)
class Vocabulary:
    """Words and pairs of neighbouring words.

    Attributes:
        words: in lower case.
        pairs: neighbours in a sentence or phrase.
        closed: the model knows no words beside these, so that a word which is not among them was hardly meant.
    """

    words: frozenset[str] = frozenset()
    pairs: frozenset[tuple[str, str]] = frozenset()
    closed: bool = False

    @classmethod
    def of_phrases(cls, phrases: Iterable[str], *, closed: bool = False) -> Vocabulary:
        """The words and pairs of words, phrases or whole sentences."""
        split = [words_of(phrase) for phrase in phrases]
        words = frozenset(word for phrase in split for word in phrase)
        return cls(words, frozenset(pair for phrase in split if phrase for pair in pairs_of(phrase)), closed)

    def __or__(self, other: Vocabulary) -> Vocabulary:
        """Both together; closed where one of them is."""
        return Vocabulary(self.words | other.words, self.pairs | other.pairs, self.closed or other.closed)


def read_vocabulary(file: Path) -> Vocabulary:
    """Reads a text file: a word, phrase or sentence a line; lines that begin with # are comments.

    A comment "# closed: ..." says that the model knows no other words.

    Raises:
        VocabularyError: it cannot be read, is larger than 10 MB, is no UTF-8 text, or has no word or too many.
    """
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe would be waited for
            raise VocabularyError(f"The vocabulary {file} is no file.")
        lines = [line.strip() for line in read_text(file).splitlines()]
    except OSError as error:
        raise VocabularyError(f"The vocabulary {file} cannot be read: {error.strerror}.") from error
    except LisaError as error:
        raise VocabularyError(f"The vocabulary {error}{'' if str(error).endswith('?') else '.'}") from error
    closed = any(line.startswith(_CLOSED) for line in lines)
    vocabulary = Vocabulary.of_phrases((line for line in lines if not line.startswith("#")), closed=closed)
    if not vocabulary.words:
        raise VocabularyError(f"The vocabulary {file} has no word; it needs a word or phrase a line.")
    count = len(vocabulary.words) + len(vocabulary.pairs)
    if count > _MOST_WORDS_AND_PAIRS:
        raise VocabularyError(
            f"The vocabulary {file} has {count} different words and pairs of neighbouring words; it may have "
            f"{_MOST_WORDS_AND_PAIRS}, or a command would be understood seconds late."
        )
    return vocabulary


def model_vocabulary(checkpoint: Path) -> Vocabulary:
    """The vocabulary in a checkpoint folder's vocabulary.txt; empty where there is no such file.

    Raises:
        VocabularyError: it has one that cannot be used.
    """
    file = checkpoint / FILE_NAME
    return read_vocabulary(file) if file.is_file() else Vocabulary()
