# SPDX-License-Identifier: Apache-2.0
"""Makes the reduced golden packs in test/data from the full ones.

A golden pack is a checkpoint of toy size with the public implementation's own outputs. The full packs are 83 MB; a
clone carries the smallest part of each that still pins every stage, as an archive that test/helpers/parity/packs.py
unpacks:

* golden-lisa-a: the weights rounded to what float16 can hold, which halves the archive, and the public code's own
  outputs with these weights; cases 0 and 3, and the image of case 1
* golden-segllm-a: the weights whole; case 3, whose second round refers to the first
* golden-lira-a: the weights whole; image 1 and case 2, which is about it

Three steps, of which the second runs in the environment that tools/parity/upstream_answers.py describes:

    tools/run python tools/parity/reduce_golden_packs.py round PACKS/golden-lisa-a ROUNDED
    python tools/parity/upstream_answers.py --source LISA --pack ROUNDED
    tools/run python tools/parity/reduce_golden_packs.py archive PACKS ROUNDED test/data
"""

from __future__ import annotations

import io
import lzma
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch

KEPT = {
    "golden-lisa-a": ("0.npz", "3.npz", "0.png", "1.png", "3.png"),
    "golden-segllm-a": ("3_1.npz", "3_2.npz"),
    "golden-lira-a": ("image1.npz", "case2.npz", "crops.npz", "positions.npz"),
}
"""Of each pack's folder `golden`; other arrays are left out, and LISA's other images, which are large."""


def round_weights(pack: Path, rounded: Path) -> None:
    """Copies a LISA pack with weights rounded to float16's values, stored as float32 as before."""
    copy(pack, rounded)
    for file in rounded.rglob("*.bin"):
        tensors = torch.load(file, weights_only=True)
        torch.save(
            {name: one.half().float() if one.is_floating_point() else one for name, one in tensors.items()}, file
        )


def copy(pack: Path, folder: Path) -> None:
    """Copies a pack, which may be read-only."""
    shutil.copytree(pack, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def reduce(pack: Path, name: str) -> None:
    """Deletes what a pack's archive leaves out, and stores arrays plainly: the archive is compressed as a whole."""
    suffixes = (".npz", ".png") if name == "golden-lisa-a" else (".npz",)
    for file in (pack / "golden").iterdir():
        if file.suffix in suffixes and file.name not in KEPT[name]:
            file.unlink()
    for file in (pack / "golden").glob("*.npz"):
        with np.load(file) as arrays:
            np.savez(file, **dict(arrays))


def archive(pack: Path, file: Path) -> None:
    """A folder as tar.xz, the same bytes for the same content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(pack.rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(f"{pack.name}/{path.relative_to(pack)}")
                info.size, info.mode = path.stat().st_size, 0o644
                tar.addfile(info, io.BytesIO(path.read_bytes()))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    file.write_bytes(lzma.compress(packed.getvalue(), filters=filters))


def main(arguments: list[str]) -> int:
    """Runs a step; returns the exit status."""
    match arguments:
        case ["round", pack, rounded]:
            round_weights(Path(pack), Path(rounded))
        case ["archive", packs, rounded, output]:
            for name in KEPT:
                with tempfile.TemporaryDirectory() as scratch:
                    copy(Path(rounded) if name == "golden-lisa-a" else Path(packs) / name, Path(scratch) / name)
                    reduce(Path(scratch) / name, name)
                    file = Path(output) / f"{name}.tar.xz"
                    archive(Path(scratch) / name, file)
                print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
