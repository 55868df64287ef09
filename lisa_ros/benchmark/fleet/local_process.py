# SPDX-License-Identifier: Apache-2.0
"""A process with a model of its own, for the comparison with a server: IMAGES.npy COMMANDS [CHECKPOINT]."""

from __future__ import annotations

import sys

import numpy as np

from lisa_ros.benchmark.fleet.robots import COMMANDS, ask
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter


def main(arguments: list[str]) -> None:
    """Loads, says "ready", waits for a line and asks."""
    images, commands = np.load(arguments[0]), int(arguments[1])
    checkpoint = arguments[2] if len(arguments) > 2 else embedded_checkpoint()
    segmenter = load_segmenter(checkpoint, LoadOptions(threads=1))
    ask(segmenter, segmenter.encode(images[-1]), COMMANDS[0])
    print("ready", flush=True)
    sys.stdin.readline()
    encoded = None
    for count in range(commands):
        if not count % len(COMMANDS) or encoded is None:
            encoded = segmenter.encode(images[count // len(COMMANDS) % len(images)])
        ask(segmenter, encoded, COMMANDS[count % len(COMMANDS)])


if __name__ == "__main__":
    main(sys.argv[1:])
