# SPDX-License-Identifier: Apache-2.0
"""golden-lira-a: what the public implementation computed for each image and case, and our answers to the cases."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from packs import arrays_of, numbers_in

from lisa_ros.models.lira import Answer, EncodedImage, Lira, MaskStep
from lisa_ros.segmentation.files.image_files import read_image

CASES = numbers_in("golden-lira-a", "case{}.npz", range(7))
"""The cases whose arrays are in the pack; the images and questions of all seven are."""
FREE = tuple(number for number in CASES if number in (0, 2, 3))
"""The cases in which the model generated everything itself."""
IMAGES = numbers_in("golden-lira-a", "image{}.npz", range(2))
LOGITS = 2e-3
"""The pack's tolerance for mask and class logits, of the largest golden number; 1e-4 for all else."""


@dataclass(frozen=True)
class Case:
    """One case: its entry in cases.json, its image and its arrays."""

    entry: dict[str, Any]
    image: NDArray[np.uint8]
    file: Path

    @functools.cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        return arrays_of(self.file)

    @property
    def question(self) -> str:
        return str(self.entry["question"])

    @property
    def emitted(self) -> list[int]:
        return [int(number) for number in self.arrays["emitted_ids"]]

    @property
    def answer(self) -> str:
        """The tokens' texts one by one, ` <p>` after each local view, without the closing mark."""
        text = "".join(self.entry["emitted_text"]).removesuffix("<|im_end|>")
        return text.replace("<image_id>", "<image_id> <p>")

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        return [self.mask(f"final{i}_mask") for i in range(self.entry["n_final_masks"])]

    def mask(self, name: str) -> NDArray[np.bool_]:
        size = self.image.shape[:2]
        return np.unpackbits(self.arrays[name])[: size[0] * size[1]].reshape(size).astype(bool)


def read_case(folder: Path, number: int) -> Case:
    """One case of the pack."""
    entry = json.loads((folder / "golden" / "cases.json").read_text())["cases"][number]
    image = read_image(folder / "golden" / entry["image"])
    return Case(entry, image, folder / "golden" / f"case{number}.npz")


def read_image_arrays(folder: Path, number: int) -> tuple[NDArray[np.uint8], Any]:
    """An image and its arrays."""
    golden = folder / "golden"
    return read_image(golden / f"image{number}.png"), arrays_of(golden / f"image{number}.npz")


def close(ours: torch.Tensor, golden: NDArray[Any], tolerance: float = 1e-4) -> None:
    """Fails unless the largest difference is within a share of the largest golden number."""
    assert tuple(ours.shape) == golden.shape
    assert float(np.abs(ours.detach().numpy() - golden).max()) <= tolerance * float(np.abs(golden).max())


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """An array as float32, with a batch axis."""
    return torch.from_numpy(np.asarray(array, dtype=np.float32)).unsqueeze(0)


_encoded: dict[tuple[int, str], EncodedImage] = {}


def encode(lira: Lira, case: Case) -> EncodedImage:
    """A case's image, encoded once by each model for all tests."""
    return _encoded.setdefault((id(lira), case.entry["image"]), lira.encode(case.image))


def ask(lira: Lira, case: Case, **options: Any) -> tuple[list[Any], Answer]:
    *steps, answer = lira.answer(
        encode(lira, case), case.question, max_new_tokens=case.entry["max_new_tokens"], **options
    )
    assert isinstance(answer, Answer)
    return steps, answer


def check_masks(steps: Sequence[Any], case: Case) -> None:
    masks = [step.logits > 0 for step in steps if isinstance(step, MaskStep)]
    assert len(masks) == len(case.masks)
    for ours, golden in zip(masks, case.masks, strict=True):
        assert np.array_equal(ours, golden)
