# SPDX-License-Identifier: Apache-2.0
"""The input of a conversion and the work that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lisa_ros.models.common.conversion.plan import Stream
from lisa_ros.models.common.options import CONVERTED_TO, DEVICES

SHARD_BYTES = 500_000_000
"""Size from which another file is begun. What an interruption costs is at most the work on one file."""


CLIP_DESCRIPTIONS = ("config.json", "preprocessor_config.json")


Report = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """What `lisa convert` is told.

    Attributes:
        source: as released: LISA's or SegLLM's folder, or LIRA's pieces, see models.lira.pieces.find_pieces.
        output: the folder to write; not there yet, or empty, or what an interrupted conversion of the same left.
        quantization: of LLaMA's linear layers, one of CONVERTED_TO.
        vision_tower: the CLIP folder; None: the one that the source's config.json names.
        device: where it is quantized. "auto" is the GPU where there is one.
        shard_bytes: size from which another file is begun.
    """

    source: Path
    output: Path
    quantization: str = "4bit"
    vision_tower: str | None = None
    device: str = "auto"
    shard_bytes: int = field(default_factory=lambda: SHARD_BYTES)

    def check(self) -> None:
        """Raises a ValueError that names a choice which is none, and what it can be."""
        for name, choices in (("quantization", CONVERTED_TO), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it can be {', '.join(choices)}")


@dataclass(frozen=True)
class Work:
    """What a conversion comes to.

    Attributes:
        streams: what is read, and the files that are written; config.json and the index speak of the first one's.
        stamps: what must be the same for an interrupted conversion to go on, plain values by name.
        describe: writes all that the folder has beside weights, their index and config.json.
        config: config.json, but for the note of the conversion.
        notes: lines for people.
    """

    streams: tuple[Stream, ...]
    stamps: dict[str, Any]
    describe: Callable[[Path], None]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


def stamp(file: Path) -> list[int]:
    """Size and time of the last change."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
