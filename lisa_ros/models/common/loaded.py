# SPDX-License-Identifier: Apache-2.0
"""What all loaded models share: warm-up, the memory they report and its release."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.devices import device_memory, free_memory
from lisa_ros.models.common.errors import Released
from lisa_ros.models.common.language.engine import Engine
from lisa_ros.segmentation.interface import DeviceMemory


class LoadedModel:
    """A model with its weights.

    Attributes:
        name: checkpoint, precision and device, for logs.
        network: has a `device`.
        engine: runs the language model.
    """

    name: str
    network: Any
    engine: Engine

    def memory(self) -> DeviceMemory:
        """Memory that torch has taken on the model's GPU; nothing on a CPU."""
        return device_memory(self.network.device)

    def release(self) -> None:
        """Frees the memory of weights and caches, whoever still holds this object; a second call does nothing.

        Returns when no thread computes with the model any longer. Running answers, and all later ones, end with a
        ClosedError.
        """
        if isinstance(self.network, Released):
            return
        self.engine.close()
        self.engine, self.network = cast(Any, Released()), Released()
        free_memory()


class TextModel(LoadedModel, ABC):
    """A model that answers in text with masks in it."""

    @abstractmethod
    def encode(self, image: NDArray[np.uint8]) -> Any:
        """Prepares an image, RGB uint8 (H, W, 3), for commands about it."""

    @abstractmethod
    def answer(self, image: Any, command: str, *, max_new_tokens: int = 512, mask_only: bool = False) -> Iterator[Any]:
        """Answers a command about an encoded image, step by step."""

    def warm_up(self) -> None:
        """Answers two commands about a grey image, so that no operator waits for what a GPU initializes at first."""
        image = self.encode(np.full((480, 640, 3), 127, dtype=np.uint8))
        for mask_only in (False, True):
            for _ in self.answer(image, "What is there?", max_new_tokens=4, mask_only=mask_only):
                pass
