# SPDX-License-Identifier: Apache-2.0
"""`lisa` in its own process, for test_run.py: `waiting_finetuning.py FOLDER ARGUMENT...`.

At batch WAIT_AT it creates FOLDER/waiting and continues when the file FOLDER/go exists.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import torch

from lisa_ros.cli.main import main
from lisa_ros.training.finetune.stage import FinetuneStage
from lisa_ros.training.loop.trainer import Scalars

WAIT_AT = 3


def wait_in(folder: Path) -> None:
    step = FinetuneStage.step

    def waiting(self: FinetuneStage, number: int) -> tuple[torch.Tensor, Scalars]:
        if number == WAIT_AT:
            (folder / "waiting").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
        return step(self, number)

    FinetuneStage.step = waiting  # type: ignore[method-assign]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it, and so would we
    torch.set_num_threads(1)
    wait_in(Path(sys.argv[1]))
    raise SystemExit(main(sys.argv[2:]))
