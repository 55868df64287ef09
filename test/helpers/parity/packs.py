# SPDX-License-Identifier: Apache-2.0
"""Where the golden packs are: checkpoints of toy size with the public implementations' own outputs.

`LISA_ROS_GOLDEN` names the folder of the full packs (default: `shared/reference` beside the checkout). A pack that is
not there is unpacked, once, from the reduced one in test/data; tools/parity/reduce_golden_packs.py says what that
leaves out.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from paths import DATA, ROOT


@functools.cache
def pack(name: str) -> Path:
    """The folder of a pack, full or reduced."""
    full = Path(os.environ.get("LISA_ROS_GOLDEN", ROOT.parent / "shared" / "reference")) / name
    return full if full.is_dir() else _unpacked(name)


def numbers_in(name: str, pattern: str, numbers: range) -> tuple[int, ...]:
    """Of some numbers, those whose file is in a pack's folder `golden`; the pattern has `{}` for the number."""
    return tuple(number for number in numbers if (pack(name) / "golden" / pattern.format(number)).is_file())


def arrays_of(file: Path) -> dict[str, NDArray[Any]]:
    """A file's arrays; the test is skipped where the reduced pack leaves the file out."""
    if not file.is_file():
        pytest.skip(
            f"{file.parent.parent.name}/golden/{file.name} is in the full pack only; LISA_ROS_GOLDEN names its folder"
        )
    with np.load(file) as arrays:
        return dict(arrays)


def _unpacked(name: str) -> Path:
    archive = DATA / f"{name}.tar.xz"
    version = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    home = ROOT / ".cache" / "golden" / version
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=home.parent))
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        try:
            scratch.rename(home)
        except OSError:  # another worker was faster
            if not home.is_dir():
                raise
    return home / name
