# SPDX-License-Identifier: Apache-2.0
"""The SHA-256 manifest of a folder: SHA256SUMS, as `sha256sum` writes and checks it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_text

MANIFEST = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def write_manifest(folder: Path) -> Path:
    """Write the manifest of all files below a folder; returns its path."""
    lines = "".join(f"{_sha256(folder / name)}  {name}\n" for name in _names(folder))
    file = folder / MANIFEST
    write_text(file, lines)
    return file


def differences(folder: Path) -> list[str]:
    """Compare a folder with its manifest.

    Returns:
        one sentence for each file that was changed, is missing, or is not in the manifest.

    Raises:
        LisaError: there is no manifest, or it cannot be read.
    """
    expected = _read(folder)
    present = set(_names(folder))
    found = [f"{name}: is missing" for name in sorted(set(expected) - present)]
    found += [f"{name}: is not in the manifest" for name in sorted(present - set(expected))]
    changed = (name for name in sorted(present & set(expected)) if _sha256(folder / name) != expected[name])
    return [*found, *(f"{name}: was changed" for name in changed)]


def _read(folder: Path) -> dict[str, str]:
    file = folder / MANIFEST
    if not folder.is_dir():
        raise LisaError(f"there is no folder {folder}")
    if not file.is_file():
        raise LisaError(f"{folder} has no {MANIFEST}; `lisa verify --checkpoint {folder} --write` writes one")
    expected = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if (matched := _LINE.fullmatch(line)) is None or ".." in Path(matched[2]).parts:
            raise LisaError(f"{file} is damaged: {line[:80]!r} is not a line that sha256sum writes")
        expected[matched[2]] = matched[1]
    return expected


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise LisaError(f"there is no folder {folder}")
    return sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MANIFEST and not file.relative_to(folder).parts[0].startswith("__pycache__")
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
