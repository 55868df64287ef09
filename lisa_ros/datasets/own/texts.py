# SPDX-License-Identifier: Apache-2.0
"""From the labels of an annotation tool to the texts that a model is asked with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lisa_ros.datasets.files import read_json_file
from lisa_ros.datasets.samples import DataError, Round, Sample, Truth, shown
from lisa_ros.segmentation.files.text_files import MOST_BYTES

FILE = "texts.json"
"""In a data set's folder: {"label": "text" or ["text", ...]}."""

Texts = Mapping[str, Sequence[str]]
"""Label -> the texts that ask for its objects."""


def read_texts(file: Path | None) -> Texts:
    """The texts of a file; none for None.

    Raises:
        DataError: it is not such a file, or too large.
    """
    if file is None:
        return {}
    content = read_json_file(file, most_bytes=MOST_BYTES)
    if not isinstance(content, dict):
        raise DataError(f'{file} is no JSON object {{"label": ["text", ...]}}')
    texts = {label: [one] if isinstance(one, str) else one for label, one in content.items()}
    for label, found in texts.items():
        if not isinstance(found, list) or not found or not all(isinstance(t, str) and t.strip() for t in found):
            raise DataError(f"{file} has {shown(found)} for {label!r}; a text, or a list of texts, is expected")
    return texts


def texts_in(folder: Path) -> Texts:
    """The texts of a data set's folder; none where it has no such file."""
    file = folder / FILE
    return read_texts(file if file.is_file() else None)


def rounds_of(label: str, truth: Callable[[], Truth], texts: Texts) -> list[Round]:
    """A round for each text of a label; without texts, the label itself is asked for.

    A text that ends as a sentence does is one; any other is a noun phrase.

    Raises:
        DataError: the label is blank, so that it asks for nothing.
    """
    phrases = texts.get(label) or [label.replace("_", " ").strip()]
    if not phrases[0]:
        raise DataError(f"the label {label!r} names nothing; give it a name, or texts in {FILE}")
    return [Round(text, text.rstrip().endswith((".", "?", "!")), truth) for text in phrases]


def unused_texts(samples: Iterable[Sample], texts: Texts) -> list[str]:
    """A sentence for each label whose texts ask for nothing in the samples, as those of a misspelt label."""
    asked = {one.text for sample in samples for one in sample.rounds}
    return [
        f"there are texts for {label!r}, but no usable image has an object with this label"
        for label, phrases in texts.items()
        if asked.isdisjoint(phrases)
    ]
