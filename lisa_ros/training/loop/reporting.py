# SPDX-License-Identifier: Apache-2.0
"""What a training reports: a progress bar with ETA, lines of JSON, TensorBoard's scalars and images.

After an interruption the reports of steps that will be repeated are removed, so that nothing is reported twice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.segmentation.files.atomic_files import naming


class Reporter:
    """Reports one training; close it at the end.

    Files in `folder`: `<name>.jsonl`, one object with step, seconds and scalars a line; `tensorboard/<name>/`.
    """

    def __init__(self, name: str, folder: Path, first: int, steps: int) -> None:
        """Removes what was reported of `first` and later steps.

        Args:
            name: of the training.
            folder: exists.
            first: the next step.
            steps: number of all steps.
        """
        self._lines = folder / f"{name}.jsonl"
        self._seconds_before = _rewind(self._lines, first)
        self._began = time.monotonic()
        self._board = _open_board(folder / "tensorboard" / name, first) if first < steps else None
        self._bar = tqdm(initial=first, total=steps, desc=name, mininterval=10.0, unit="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Reports a step's numbers."""
        seconds = self._seconds_before + time.monotonic() - self._began
        with naming(self._lines), self._lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "seconds": seconds, **values}) + "\n")
        self._bar.set_postfix({key: f"{value:.3g}" for key, value in values.items()}, refresh=False)
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)

    def image(self, step: int, image: NDArray[np.uint8]) -> None:
        """Shows an image, RGB (H, W, 3)."""
        if self._board is not None:
            self._board.add_image("images", image, step, dataformats="HWC")

    def done(self, steps: int = 1) -> None:
        """Advances the bar."""
        self._bar.update(steps)

    def flush(self) -> None:
        """Writes what TensorBoard's writer holds back: a state saved now must find its past there after a kill."""
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Ends bar and files."""
        self._bar.close()
        if self._board is not None:
            self._board.close()


def _rewind(lines: Path, first: int) -> float:
    """Keeps the whole lines about steps before `first`; returns the seconds in the last of them."""
    if not lines.is_file():
        return 0.0
    kept, seconds = [], 0.0
    for line in lines.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            before = int(entry["step"]) < first
        except (ValueError, KeyError, TypeError):  # a line that a kill cut off
            continue
        if before:
            kept.append(line + "\n")
            seconds = float(entry.get("seconds", seconds))
    part = lines.with_suffix(".jsonl.part")
    part.write_text("".join(kept), encoding="utf-8")
    part.replace(lines)
    return seconds


def _open_board(folder: Path, first: int) -> Any:
    """TensorBoard's writer; None where it is not installed, since a training is worth having without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("tensorboard is not installed: scalars go into the .jsonl file alone", file=sys.stderr)
        return None
    # purge_step: a reader forgets events of this and later steps that an interrupted run wrote.
    return SummaryWriter(str(folder), purge_step=first)
