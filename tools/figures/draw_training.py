#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the curves of a training from its logs. Needs matplotlib, which set-up does not install."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

CURVES = {
    "clip_pretraining": ("kinds", "colours"),
    "sam_pretraining": ("iou", "kinds"),
    "text_pretraining": ("code", "words"),
    "hint_grounding": ("code", "words"),
    "alignment": ("code", "words"),
    "joint": ("iou", "code", "words"),
    "hard_negatives": ("iou", "code", "words"),
    "rebalancing": ("iou", "code", "words"),
    "other_object": ("code", "words"),
    "joint_a": ("iou", "code", "words"),
    "joint_b": ("iou", "code", "words"),
    "clip_randomized": ("kinds", "colours"),
    "sam_randomized": ("iou", "kinds"),
    "language_randomized": ("code", "words"),
    "joint_randomized": ("iou", "code", "words"),
}
"""What is drawn of each stage, in the recipe's order."""


def main(folder: Path, output: Path) -> None:
    """One panel for each stage that has a log."""
    logs = {stage: read_log(folder / f"{stage}.jsonl") for stage in CURVES if (folder / f"{stage}.jsonl").is_file()}
    if not logs:
        raise SystemExit(f"{folder} has no logs of the recipe's stages ({', '.join(CURVES)})")
    figure, panels = plt.subplots(2, (len(logs) + 1) // 2, figsize=(15, 6), squeeze=False)
    for panel, (stage, log) in zip(panels.flat, logs.items(), strict=False):
        for name in CURVES[stage]:
            points = [(line["step"], line[name]) for line in log if name in line]
            steps, values = np.array(points).T
            panel.plot(steps, smooth(values), label=name)
        panel.set_title(f"{stage} ({log[-1]['seconds'] / 60:.0f} min)")
        panel.set_xlabel("step")
        panel.set_ylim(0.0, 1.0)
        panel.grid(alpha=0.3)
        panel.legend()
    for panel in list(panels.flat)[len(logs) :]:
        panel.axis("off")
    figure.tight_layout()
    figure.savefig(output, dpi=80)


def read_log(file: Path) -> list[dict[str, float]]:
    """The lines of a stage's jsonl log."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def smooth(values: np.ndarray, count: int = 9) -> np.ndarray:
    """Running mean over `count` log lines; batches are small and differ much."""
    padded = np.pad(values, count // 2, mode="edge")
    return np.convolve(padded, np.ones(count) / count, mode="valid")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: draw_training.py FOLDER OUTPUT.png")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
