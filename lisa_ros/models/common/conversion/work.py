# SPDX-License-Identifier: Apache-2.0
"""The options of a conversion, and the plan that a model makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lisa_ros.models.common.conversion.plan import Stream
from lisa_ros.models.common.options import CONVERTED_TO, DEVICES
from lisa_ros.segmentation.errors import LisaError

SHARD_BYTES = 500_000_000
"""Size after which a new file begins. An interruption costs at most the work on one file."""

CLIP_DESCRIPTIONS = ("config.json", "preprocessor_config.json")
"""What a converted folder needs of CLIP besides its weights."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Conversion:
    """The options of `lisa convert`.

    Attributes:
        source: as released: LISA's or SegLLM's folder, or LIRA's pieces, see models.lira.released.pieces.find_pieces.
        output: the folder to write; new, or empty, or left by an interrupted conversion of the same source.
        quantization: of LLaMA's linear layers, one of CONVERTED_TO.
        vision_tower: the CLIP folder; None: the one that the source's config.json names.
        device: where the weights are quantized. "auto" is the GPU where there is one.
        shard_bytes: size after which a new file begins.
    """

    source: Path
    output: Path
    quantization: str = "4bit"
    vision_tower: str | None = None
    device: str = "auto"
    shard_bytes: int = field(default_factory=lambda: SHARD_BYTES)

    def check(self) -> None:
        """Raises a LisaError that names an unknown choice, and the known ones."""
        for name, choices in (("quantization", CONVERTED_TO), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise LisaError(f"{name} is {getattr(self, name)!r}; it can be {', '.join(choices)}")


@dataclass(frozen=True)
class Work:
    """The plan of a conversion.

    Attributes:
        streams: what is read, and the files that are written; the index lists the first stream's files.
        stamps: what must be the same to resume an interrupted conversion, plain values by name.
        describe: writes everything into the folder except weights, their index and config.json.
        config: config.json, without the record of the conversion.
        notes: lines for people.
    """

    streams: tuple[Stream, ...]
    stamps: dict[str, Any]
    describe: Callable[[Path], None]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


def stamp(file: Path) -> list[int]:
    """Size (bytes) and time of the last change (ns)."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
