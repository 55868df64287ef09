# SPDX-License-Identifier: Apache-2.0
"""Reads golden-segllm-a: what the public implementation computed and masked, round by round."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packs import arrays_of, numbers_in

from lisa_ros.models.segllm import EncodedImage, Segllm
from lisa_ros.models.segllm.prompt import Round
from lisa_ros.models.segllm.visual_reference import reference_to_answer
from lisa_ros.segmentation.files.image_files import read_image

_ROUNDS = {0: 3, 1: 3, 2: 1, 3: 2}
CASES = {case: _ROUNDS[case] for case in numbers_in("golden-segllm-a", "{}_1.npz", range(4))}
"""Case -> number of its rounds; the cases whose arrays are in the pack."""
ROUNDS = [(case, number) for case, count in CASES.items() for number in range(1, count + 1)]
CANVAS = 1024


@dataclass(frozen=True)
class GoldenRound:
    """One round: its text, the rounds that it refers to (counted from 1), and every array of its file."""

    text: str
    references: tuple[int, ...]
    arrays: dict[str, NDArray[Any]]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """On the canvas."""
        return np.unpackbits(self.arrays["mask"]).reshape(CANVAS, CANVAS).astype(np.bool_)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 on the canvas."""
        x0, y0, x1, y1 = (float(edge) for edge in self.arrays["box"])
        return x0, y0, x1, y1


@dataclass(frozen=True)
class GoldenCase:
    """A dialogue about one image."""

    image: NDArray[np.uint8]
    rounds: tuple[GoldenRound, ...]

    def rounds_for(self, segllm: Segllm, encoded: EncodedImage, number: int) -> list[Round]:
        """Rounds 1 to `number` as the model's input, with the golden masks fed back."""
        rounds = []
        for one in self.rounds[:number]:
            earlier = [self.rounds[reference - 1] for reference in one.references]
            references = [reference_to_answer(encoded.canvas, before.mask, before.box) for before in earlier]
            rounds.append(segllm.round_of(one.text, references=references))
        return rounds


def read_golden_case(folder: Path, number: int) -> GoldenCase:
    """One case of the pack."""
    case = json.loads((folder / "golden" / "cases.json").read_text())["cases"][number]
    rounds = []
    for entry in case["rounds"]:
        arrays = arrays_of(folder / "golden" / entry["file"])
        rounds.append(GoldenRound(entry["text"], tuple(entry["refs"]), arrays))
    return GoldenCase(read_image(folder / "golden" / case["image"]), tuple(rounds))
