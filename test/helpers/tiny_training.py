# SPDX-License-Identifier: Apache-2.0
"""A training of a second, run as a process of its own by test_trainer.py: `tiny_training.py FOLDER [WAIT_AT]`.

At batch WAIT_AT it makes FOLDER/waiting and goes on once there is a file FOLDER/go.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lisa_ros.training.loop.trainer import Schedule, train

SCHEDULE = Schedule(
    steps=24, learning_rate=0.05, warmup=4, save_every=5, log_every=1, accumulate=2, image_every=10, seed=3
)
SETTINGS = {"data": "noise"}


class TinyStage(nn.Module):
    """Fits noise, through dropout."""

    def __init__(self, folder: Path | None = None, wait_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self._folder, self._wait_at = folder, wait_at
        self.broken: int | None = None

    def step(self, number: int) -> tuple[torch.Tensor, dict[str, float]]:
        if number == self._wait_at and self._folder is not None:
            (self._folder / "waiting").touch()
            while not (self._folder / "go").exists():
                time.sleep(0.01)
        x = torch.from_numpy(np.random.default_rng(number).normal(size=(16, 4))).float()
        loss = (self.layers(x).squeeze(1) - x.sum(1)).square().mean()
        if number == self.broken:
            loss = loss * torch.tensor(float("nan"))
        return loss, {"loss": loss.item()}

    def describe(self, number: int) -> str:
        return f"noise{number}.png"

    def images(self, number: int) -> NDArray[np.uint8]:
        return np.full((8, 24, 3), number % 256, dtype=np.uint8)


def main(folder: Path, wait_at: int) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it, and so would we
    torch.set_num_threads(1)
    stage = TinyStage(folder, wait_at)
    try:
        train("tiny", stage, stage.step, SCHEDULE, folder, settings=SETTINGS)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1))
