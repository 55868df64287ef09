# SPDX-License-Identifier: Apache-2.0
"""What the encoded images of all models share."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.preprocessing import check_image

_numbers = itertools.count(1001)


def new_number() -> int:
    """A negative number that no other image, and no token, has."""
    return -next(_numbers)


class ImageHandle:
    """An image and a place for what is computed of it. Safe to share between threads.

    Attributes:
        number: stands for the image in the keys of prompts.
        image: RGB uint8 (H, W, 3).
        prefill_lock: see PromptImage.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """Takes the image; nothing is computed yet.

        Raises:
            ImageError: it is not RGB, uint8, (H, W, 3), or its sides differ too much.
        """
        check_image(image)
        self.number = new_number()
        self.image = image
        self.prefill_lock = threading.Lock()
        self._finalizers: list[weakref.finalize[..., ImageHandle]] = []

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        height, width = self.image.shape[:2]
        return height, width

    def when_gone(self, callback: Callable[[int], None], number: int) -> None:
        """Calls `callback(number)` once, when the image is released or garbage collected.

        The garbage collector may run in any thread and at any allocation: the callback must take no lock.
        """
        finalizer = weakref.finalize(self, callback, number)
        finalizer.atexit = False
        self._finalizers.append(finalizer)

    def release(self) -> None:
        """Frees what was computed of the image; running answers about it end undisturbed."""
        finalizers, self._finalizers = self._finalizers, []
        for finalizer in finalizers:
            finalizer()
        self._forget()

    def _forget(self) -> None:
        """Drops what was computed; a later use computes it again."""
