# SPDX-License-Identifier: Apache-2.0
"""Converted checkpoints that several modules test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conversion import EMBEDDED, SHARD_BYTES, converted


@pytest.fixture(scope="session")
def eight_bit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint, converted without an interruption, in several files. Not to be changed."""
    return converted(EMBEDDED, tmp_path_factory.mktemp("converted") / "eight", shard_bytes=SHARD_BYTES)


@pytest.fixture
def writable(eight_bit: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(eight_bit, tmp_path / "writable"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may change."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "source"))
