# SPDX-License-Identifier: Apache-2.0
"""What `lisa benchmark` can be asked. Imports no torch, so that a command line can offer the choices at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lisa_ros.models.options import LoadOptions

SHAPES = ("embedded", "mini", "7b", "13b")
AGAINST = ("upstream-style",)


@dataclass(frozen=True)
class BenchmarkOptions:
    """One measurement.

    Attributes:
        shape: one of SHAPES; "embedded" is the checkpoint that comes with the package, the others have random weights.
        checkpoint: a folder to be measured instead of a shape.
        load: precision, quantization, device.
        repeats: times that everything is measured; medians are told.
        against: one of AGAINST, or None.
        tokens: of the answer that is timed to its end.
        output: JSON file.
        memory_cap_gib: GPU memory that the process may take; None: all.
    """

    shape: str = "embedded"
    checkpoint: Path | None = None
    load: LoadOptions = field(default_factory=LoadOptions)
    repeats: int = 3
    against: str | None = None
    tokens: int = 64
    output: Path = Path("benchmark.json")
    memory_cap_gib: float | None = None
