# SPDX-License-Identifier: Apache-2.0
"""The classifier of patches, fitted to features of which one tells whether a patch shows an object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lisa_ros.models.lisa.image.patch_classifier import PatchClassifier
from lisa_ros.simulation.scene import Camera, SceneObject, View
from lisa_ros.training.stages import object_patches
from lisa_ros.training.stages.hints import GRID

WIDTH, HEIGHT = 8 * GRID, 4 * GRID
MUG = SceneObject(1, "mug", "red", (0.1, 0.1, 0.1), (0.0, 0.0, 0.0))


class ToyNetwork:
    """Its features of a patch: its brightness, noise, and one that never changes."""

    def patch_features(self, pixels: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
        bright = torch.nn.functional.adaptive_avg_pool2d(pixels, GRID).flatten(1)
        noise = torch.randn(*bright.shape, 2, generator=torch.Generator().manual_seed(int(1000 * bright.sum())))
        return torch.cat([3.0 * bright[..., None], noise, torch.ones_like(bright)[..., None]], dim=-1)


def as_pixels(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.mean(axis=2) / 255).float()[None, None]


@pytest.fixture
def views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of one bright object each, instead of rendered ones."""

    def draw(source: object, rng: np.random.Generator) -> View:
        instances = np.zeros((HEIGHT, WIDTH), np.uint8)
        top, left = int(rng.integers(0, HEIGHT - 12)), int(rng.integers(0, WIDTH - 24))
        instances[top : top + 12, left : left + 24] = 1
        rgb = np.repeat(255 * instances[:, :, None], 3, axis=2)
        camera = Camera(WIDTH, HEIGHT, np.eye(3), np.eye(4))
        return View(rgb, np.ones((HEIGHT, WIDTH), np.float32), instances, (MUG,), camera)

    monkeypatch.setattr(object_patches, "draw_view", draw)
    monkeypatch.setattr(object_patches, "VIEWS", 30)
    monkeypatch.setattr(object_patches, "LAYERS", (-1,))


def shown(classifier: PatchClassifier, covered: NDArray[np.uint8]) -> Iterator[tuple[float, float]]:
    image = np.repeat(255 * covered[:, :, None], 3, axis=2)
    probabilities = classifier.probabilities(ToyNetwork().patch_features(as_pixels(image), classifier.layers)[0])
    share = covered.reshape(GRID, HEIGHT // GRID, GRID, WIDTH // GRID).mean(axis=(1, 3))
    yield from zip(share.ravel().tolist(), probabilities.ravel().tolist(), strict=True)


def test_patches_with_objects_are_told_from_others(views: None) -> None:
    found = object_patches.fit_object_patches(ToyNetwork(), None, as_pixels, seed=1)  # type: ignore[arg-type]
    assert found == object_patches.fit_object_patches(ToyNetwork(), None, as_pixels, seed=1)  # type: ignore[arg-type]
    assert PatchClassifier.from_json(found.as_json(), 4) == found, "it can be written and read"
    assert found.weights[3] == 0.0, "what never changes tells nothing"
    covered = np.zeros((HEIGHT, WIDTH), np.uint8)
    covered[9:30, 21:70] = 1
    for share, probability in shown(found, covered):
        assert probability > 0.75 if share > 0.3 else share > 0 or probability < 0.25
