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
        layers: of CLIP, whose features are used one after the other; 0: the patch embeddings.
        weights: one for each channel of all these features.
        bias: log-odds where all features are 0.
    """

    layers: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float

    @classmethod
    def from_json(cls, value: Any, width: int) -> PatchClassifier:
        """Reads `"lisa_ros_object_patches"` of config.json.

        Args:
            value: what stands there.
            width: channels of CLIP's features.

        Raises:
            ValueError: it is not an object with "layers", a finite "bias" and a finite weight for each channel.
        """
        layers = tuple(int(one) for one in value["layers"])
        weights, bias = tuple(float(one) for one in value["weights"]), float(value["bias"])
        if len(weights) != width * len(layers) or not all(map(math.isfinite, (*weights, bias))):
            raise ValueError(
                f"lisa_ros_object_patches must have a finite bias and {width} finite weights for each of its layers"
            )
        return cls(layers, weights, bias)

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
