# SPDX-License-Identifier: Apache-2.0
"""Classifies the patches of an image: whether each shows an object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import is_kind

OBJECT_PATCHES: Final = "lisa_ros_object_patches"
"""config.json's entry with a PatchClassifier."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class PatchClassifier:
    """Whether a patch shows an object, from its features in CLIP: a logistic regression.

    Attributes:
        layers: of CLIP, whose features are used one after the other; 0: the patch embeddings.
        weights: one for each channel of all these features.
        bias: log-odds where all features are 0.
    """

    layers: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float

    @classmethod
    def from_json(cls, value: Any, width: int) -> PatchClassifier:
        """Reads OBJECT_PATCHES of config.json.

        Args:
            value: the entry.
            width: of CLIP's features, channels of a layer.

        Raises:
            ValueError: it is not an object with "layers", a finite "bias" and a finite weight for each channel.
        """
        if not isinstance(value, dict):
            raise ValueError(f"{OBJECT_PATCHES} must be an object; it is of the type {type(value).__name__}")
        layers, weights = value.get("layers"), value.get("weights")
        bias: Any = value.get("bias")
        if not isinstance(layers, list) or not layers or not all(type(one) is int for one in layers):
            raise ValueError(f'{OBJECT_PATCHES} must have "layers", a list of whole numbers; they are {layers!r:.40}')
        wanted = f'{OBJECT_PATCHES} must have "bias", a finite number, and "weights", {width * len(layers)} of them'
        if not isinstance(weights, list) or len(weights) != width * len(layers):
            found = f"{len(weights)} of them" if isinstance(weights, list) else repr(weights)
            raise ValueError(f"{wanted}; its weights are {found:.40}")
        wrong = [one for one in (bias, *weights) if not _is_finite(one)]
        if wrong:
            raise ValueError(f"{wanted}; it has {wrong[0]!r:.40}")
        return cls(tuple(layers), tuple(map(float, weights)), float(bias))

    def as_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return {"layers": list(self.layers), "bias": self.bias, "weights": list(self.weights)}

    def probabilities(self, features: torch.Tensor) -> NDArray[np.float32]:
        """(patches, channels) features, row by row -> (grid, grid) float32."""
        weights = torch.tensor(self.weights, dtype=torch.float32, device=features.device)
        odds = features.float() @ weights + self.bias
        side = math.isqrt(len(odds))
        grid: NDArray[np.float32] = odds.sigmoid().reshape(side, side).cpu().numpy()
        return grid


def _is_finite(value: Any) -> bool:
    """Whether it is a number, and a finite one in float32."""
    return is_kind(value, int, float) and abs(value) <= _LARGEST
