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

FAMILIES = ("direct", "attribute", "relation", "use", "several", "explain", "follow", "absent")
TRUE_COLOUR = (255, 255, 255)


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
    rows = [np.concatenate(pairs[i : i + 2], axis=1) for i in range(0, len(pairs), 2)]
    cv2.imwrite(str(chosen.output), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def pair(family: str, items: list[Item], samples: dict[str, Sample], rng: np.random.Generator) -> NDArray[np.uint8]:
    """RGB, a success beside a failure."""
    good = [item for item in items if item.iou >= 0.75]
    bad = sorted(items, key=lambda item: item.iou)[: max(1, len(items) // 50)]
    drawn = [draw(some[int(rng.integers(len(some)))], samples) for some in (good or items, bad)]
    return np.concatenate(drawn, axis=1)


def draw(item: Item, samples: dict[str, Sample]) -> NDArray[np.uint8]:
    """RGB: what was found as an overlay, what is true as an outline, question and answer below."""
    sample = samples[item.sample]
    assert callable(sample.image)
    image = draw_overlay(sample.image(), [decode_mask(item.found, item.size)])
    truth = sample.rounds[item.round - 1].truth()
    outlines, _ = cv2.findContours(truth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, TRUE_COLOUR, 1)
    words = np.full((64, image.shape[1], 3), 250, np.uint8)
    said = [f"{item.group}, IoU {item.iou:.2f}", f"{item.round}: {item.asked}", f"> {item.answer.removesuffix('</s>')}"]
    for row, text in enumerate(said):
        size = 0.36 if len(text) < 50 else 0.36 * 50 / len(text)
        cv2.putText(words, text, (4, 16 + 20 * row), cv2.FONT_HERSHEY_SIMPLEX, size, (30, 30, 30), 1, cv2.LINE_AA)
    framed = np.concatenate([image, words])
    return cv2.copyMakeBorder(framed, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(200, 200, 200))


if __name__ == "__main__":
    main()
