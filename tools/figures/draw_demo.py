#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the demo's dialogue as an animated GIF: tools/run python tools/figures/draw_demo.py docs/images/demo.gif.

The simulated camera's image, the embedded model's answers and the package's own overlays; no ROS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_ros.demo.script import LINES, SEED
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn, turn_of
from lisa_ros.simulation.tabletop import Tabletop

SIZE = (480, 360)
SHOWN_MS = 2200
ASKED_MS = 900


def main() -> None:
    """Each command first without, then with its answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="a GIF")
    chosen = parser.parse_args()
    with Tabletop(SEED, width=SIZE[0], height=SIZE[1]) as table:
        seen = table.render().rgb
    segmenter = load_segmenter(embedded_checkpoint())
    encoded = segmenter.encode(seen)
    dialogues: dict[str, list[Turn]] = {}
    images: list[NDArray[np.uint8]] = []
    for line in LINES:
        turns = dialogues.setdefault(line.operator, [])
        events = segmenter.session(encoded, turns).segment(line.text)
        finished = next(event for event in events if isinstance(event, Finished))
        turns.append(turn_of(line.text, finished, len(turns) + 1))
        asked = f"{line.operator}: {line.text}"
        said = explanation_of(finished.answer, [one.span for one in finished.objects])
        images.append(draw_overlay(seen, [], f"{asked}\n..."))
        images.append(draw_overlay(seen, [one.mask for one in finished.objects], f"{asked}\n{said}"))
    save(images, chosen.output)


def save(images: list[NDArray[np.uint8]], file: Path) -> None:
    """The images with one palette, all as high as the highest."""
    height = max(one.shape[0] for one in images)
    padded = [np.pad(one, ((0, height - one.shape[0]), (0, 0), (0, 0)), constant_values=24) for one in images]
    palette = Image.fromarray(np.concatenate(padded[1::4])).quantize(128)
    first, *rest = (Image.fromarray(one).quantize(palette=palette, dither=Image.Dither.NONE) for one in padded)
    first.save(file, save_all=True, append_images=rest, duration=[ASKED_MS, SHOWN_MS] * len(LINES), loop=0)


if __name__ == "__main__":
    main()
