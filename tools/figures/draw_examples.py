#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws a success and a failure of each family from a run of `lisa evaluate --dataset tabletop`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.datasets.masks import decode_mask
from lisa_ros.datasets.samples import Sample
from lisa_ros.datasets.tabletop import read_tabletop
from lisa_ros.evaluation.items import Item, ItemLog
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import explanation_of

FAMILIES = ("direct", "attribute", "relation", "use", "several", "explain", "follow", "absent")
TRUE_COLOUR = (255, 255, 255)
EDGE = (200, 200, 200)


def main() -> None:
    """A row for each two families; of each a success, drawn by lot, beside one of the worst failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what lisa evaluate wrote")
    parser.add_argument("output", type=Path, help="a PNG")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seed", type=int, default=0, help="of the lot")
    chosen = parser.parse_args()
    samples = {sample.name: sample for sample in read_tabletop(None, chosen.split)}
    with ItemLog(chosen.folder / "items.jsonl") as log:
        items = [item for item in log.items.values() if item.failed is None]
    rng = np.random.default_rng(chosen.seed)
    pairs = [pair(family, [item for item in items if item.group == family], samples, rng) for family in FAMILIES]
    rows = [side_by_side(pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
    cv2.imwrite(str(chosen.output), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def pair(family: str, items: list[Item], samples: dict[str, Sample], rng: np.random.Generator) -> NDArray[np.uint8]:
    """RGB, a success beside a failure."""
    good = [item for item in items if item.iou >= 0.75]
    bad = sorted(items, key=lambda item: item.iou)[: max(1, len(items) // 50)]
    drawn = [draw(some[int(rng.integers(len(some)))], samples) for some in (good or items, bad)]
    return side_by_side(drawn)


def side_by_side(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """One image. Captions have different numbers of lines; what is missing at the bottom becomes grey."""
    height = max(image.shape[0] for image in images)
    filled = [cv2.copyMakeBorder(i, 0, height - i.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=EDGE) for i in images]
    return np.concatenate(filled, axis=1)


def draw(item: Item, samples: dict[str, Sample]) -> NDArray[np.uint8]:
    """RGB: what was found as an overlay, what is true as an outline, question and answer below."""
    sample = samples[item.sample]
    assert callable(sample.image)
    caption = f"{item.group}, IoU {item.iou:.2f}\n{item.round}: {item.asked}\n→ {explanation_of(item.answer)}"
    framed = draw_overlay(sample.image(), [decode_mask(item.found, item.size)], caption)
    truth = sample.rounds[item.round - 1].truth()
    outlines, _ = cv2.findContours(truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(framed, outlines, -1, TRUE_COLOUR, 1)
    return cv2.copyMakeBorder(framed, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=EDGE)


if __name__ == "__main__":
    main()
