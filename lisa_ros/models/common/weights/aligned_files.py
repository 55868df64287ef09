# SPDX-License-Identifier: Apache-2.0
"""Writes safetensors files tensor by tensor, aligned so that they can be used without a copy when they are mapped.

The safetensors package needs all tensors in memory to write a file, and aligns them to 8 bytes. Its reader, and every
other, reads these files as well (format: github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.weights.files import ALIGNMENT, Layout

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


class FilePlan:
    """The place of each tensor in a file.

    Attributes:
        layouts: key -> type and shape.
        header: the file's first bytes; a multiple of ALIGNMENT.
        places: key -> first byte in the file.
        size: of the file, bytes.
    """

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        """Lays the tensors out: first those after which the next one begins at a multiple of ALIGNMENT.

        Raises:
            ValueError: a type that weights do not have.
        """
        self.layouts = dict(layouts)
        unknown = [f"{key} ({layout.dtype})" for key, layout in layouts.items() if layout.dtype not in _NAMES]
        if unknown:
            raise ValueError(f"these are not types of weights: {', '.join(unknown)}")
        order = sorted(layouts, key=lambda key: layouts[key].nbytes % ALIGNMENT != 0)
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        begins: dict[str, int] = {}
        for key in order:
            begins[key], end = end, end + layouts[key].nbytes
            entries[key] = {
                "dtype": _NAMES[layouts[key].dtype],
                "shape": list(layouts[key].shape),
                "data_offsets": [begins[key], end],
            }
        self.header = _header(entries)
        self.places = {key: len(self.header) + begin for key, begin in begins.items()}
        self.size = len(self.header) + end

    def is_written(self, file: Path) -> bool:
        """Whether a file has this plan's size and header. The tensors' bytes are not read."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        with file.open("rb") as stream:
            return stream.read(len(self.header)) == self.header


def _header(entries: Mapping[str, Any]) -> bytes:
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


class PlannedFile:
    """Writes one file; until it is complete, its name ends in `.part`."""

    def __init__(self, file: Path, plan: FilePlan) -> None:
        """Opens the file; its folder exists.

        Raises:
            OSError: it cannot be written.
        """
        self.plan = plan
        self._file, self._part = file, self.part_of(file)
        self._missing = set(plan.layouts)
        self._stream = self._part.open("wb")
        self._stream.write(plan.header)

    @staticmethod
    def part_of(file: Path) -> Path:
        """The name of a file that is not complete yet."""
        return file.with_name(f"{file.name}.part")

    def put(self, key: str, tensor: torch.Tensor) -> None:
        """Writes a tensor to its place.

        Raises:
            RuntimeError: its key, type or shape was not planned.
            OSError: it cannot be written.
        """
        if self.plan.layouts.get(key) != Layout.of(tensor):
            raise RuntimeError(f"{self._file}: {key} is {Layout.of(tensor)}, planned {self.plan.layouts.get(key)}")
        numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        self._stream.seek(self.plan.places[key])
        self._stream.write(numbers.data)
        self._missing.discard(key)

    def finish(self) -> None:
        """Renames the file to its final name, after its bytes are on the disk.

        Raises:
            RuntimeError: tensors are missing.
            OSError: it cannot be written.
        """
        if self._missing:
            raise RuntimeError(f"{self._file} lacks {', '.join(sorted(self._missing))}")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._part.replace(self._file)

    def abandon(self) -> None:
        """Deletes the unfinished file."""
        with suppress(OSError):  # closing writes the rest, which fails on a full disk, too
            self._stream.close()
        self._part.unlink(missing_ok=True)
