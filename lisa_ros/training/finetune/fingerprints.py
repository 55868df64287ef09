# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of a fine-tuning's inputs, file by file, so that a refused resume can name what has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lisa_ros.datasets.samples import Round, Sample

SAMPLED_BYTES = 1_000_000


def files_fingerprint(files: Sequence[Path]) -> dict[str, str]:
    """By name: of each file its size and samples of its bytes; to read all of LISA-7B would take a minute."""
    return {file.name: _sampled(file) for file in files}


def samples_fingerprint(samples: Sequence[Sample]) -> dict[str, str]:
    """By name: of each sample its image's size in bytes, its questions, and its annotation; wherever they lie."""
    return {sample.name: _of_sample(sample) for sample in samples}


def one_fingerprint(fingerprints: Mapping[str, str]) -> str:
    """One for all of them."""
    return hashlib.sha256(repr(sorted(fingerprints.items())).encode()).hexdigest()[:16]


def _sampled(file: Path) -> str:
    digest, size = hashlib.sha256(), file.stat().st_size
    digest.update(str(size).encode())
    with file.open("rb") as stream:
        for position in (0, size // 2, max(0, size - SAMPLED_BYTES)):
            stream.seek(position)
            digest.update(stream.read(SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def _of_sample(sample: Sample) -> str:
    digest = hashlib.sha256()
    if isinstance(sample.image, Path):
        digest.update(str(sample.image.stat().st_size).encode())
    digest.update(repr([(one.text, one.is_sentence, one.answer) for one in sample.rounds]).encode())
    for file in dict.fromkeys(filter(None, map(_annotation_of, sample.rounds))):
        digest.update(_content(file, file.stat().st_mtime_ns))
    return digest.hexdigest()[:12]


def _annotation_of(asked: Round) -> Path | None:
    """The file that a truth is read from: its `file`, or that of the object whose method it is."""
    truth: Any = asked.truth
    owner = getattr(truth.func, "__self__", None) if isinstance(truth, partial) else truth
    file = getattr(owner, "file", None)
    return file if isinstance(file, Path) else None


@lru_cache(maxsize=4)
def _content(file: Path, changed_ns: int) -> bytes:
    """Hash of a file; COCO's instances are one file for all samples."""
    return hashlib.sha256(file.read_bytes()).digest()
