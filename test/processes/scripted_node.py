# SPDX-License-Identifier: Apache-2.0
"""lisa_node with the scripted segmenter, in its own process."""

import sys
import time
from pathlib import Path
from typing import Any

from scripted_segmenter import ScriptedSegmenter

from lisa_ros.nodes.lisa.node import main
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.interface import Segmenter


class Stubborn(ScriptedSegmenter):
    """A model of another package that cannot say what memory it has, and cannot be released."""

    def memory(self) -> Any:
        return None

    def release(self) -> None:
        raise SystemExit("the licence server is gone")


def load(parameters: NodeParameters) -> Segmenter:
    if parameters.checkpoint == "broken":
        raise ValueError("the folder has no config.json")
    if parameters.checkpoint.startswith("gate "):
        gate = Path(parameters.checkpoint.split()[-1])
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            time.sleep(0.01)
    return Stubborn() if parameters.checkpoint == "stubborn" else ScriptedSegmenter()


if __name__ == "__main__":
    sys.exit(main(load=load))
