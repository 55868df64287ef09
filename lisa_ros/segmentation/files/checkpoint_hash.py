# SPDX-License-Identifier: Apache-2.0
"""Which weights a checkpoint folder holds, as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lisa_ros.segmentation.errors import LisaError

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_THREADS = 4
"""hashlib releases the GIL; a 7B checkpoint has two to seven files of weights."""


def weights_of(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of each file of weights below a checkpoint folder, by its path in the folder.

    Raises:
        ValueError: There is no such folder, or it has no weights.
    """
    if not checkpoint.is_dir():
        raise LisaError(f"there is no checkpoint folder {checkpoint}")
    files = sorted(file for file in checkpoint.rglob("*") if file.suffix in _WEIGHTS and file.is_file())
    if not files:
        raise LisaError(f"{checkpoint} is not a checkpoint: it has no weights ({', '.join(_WEIGHTS)})")
    with ThreadPoolExecutor(_THREADS) as threads:
        hashes = threads.map(_sha256, files)
        return {file.relative_to(checkpoint).as_posix(): one for file, one in zip(files, hashes, strict=True)}


def one_hash(weights: Mapping[str, str]) -> str:
    """One hash of all files of weights: the SHA-256 of the lines that `sha256sum FILE...` prints, sorted by path."""
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(weights.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
