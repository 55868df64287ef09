# SPDX-License-Identifier: Apache-2.0
"""Tells which patches of an image show an object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class PatchClassifier:
    """Tells from CLIP's features of a patch whether it shows an object: a logistic regression.

    Attributes:
        weights: one for each channel of the features.
        bias: log-odds where all features are 0.
    """

    weights: tuple[float, ...]
    bias: float

    @classmethod
    def from_json(cls, value: Any, width: int) -> PatchClassifier:
        """Reads `"lisa_ros_object_patches"` of config.json.

        Raises:
            ValueError: it is not an object with a finite "bias" and `width` finite "weights".
        """
        weights, bias = tuple(float(one) for one in value["weights"]), float(value["bias"])
        if len(weights) != width or not all(map(math.isfinite, (*weights, bias))):
            raise ValueError(f"lisa_ros_object_patches must have a finite bias and {width} finite weights")
        return cls(weights, bias)

    def as_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return {"bias": self.bias, "weights": list(self.weights)}

    def probabilities(self, features: torch.Tensor) -> NDArray[np.float32]:
        """(patches, width) features, row by row -> (grid, grid) float32."""
        weights = torch.tensor(self.weights, dtype=torch.float32, device=features.device)
        odds = features.float() @ weights + self.bias
        side = math.isqrt(len(odds))
        grid: NDArray[np.float32] = odds.sigmoid().reshape(side, side).cpu().numpy()
        return grid
