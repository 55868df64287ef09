# SPDX-License-Identifier: Apache-2.0
"""What every loaded model behind the doorway tells of itself."""

from __future__ import annotations

from typing import Protocol


class LoadedModel(Protocol):
    """A network with its weights, see lisa_ros.models.common.loaded."""

    @property
    def name(self) -> str:
        """Checkpoint, precision and device, for logs."""
        ...

    def gpu_bytes(self) -> int:
        """See OnDevice."""
        ...

    def release(self) -> None:
        """See OnDevice."""
        ...


class LoadedSegmenter:
    """The part of a Segmenter that is the same for all.

    Attributes:
        threads: CPU threads that torch computes with, where the loader has set them; else None.
    """

    threads: int | None = None

    def __init__(self, model: LoadedModel) -> None:
        """Takes the model; it is asked by the subclass."""
        self._loaded = model

    @property
    def name(self) -> str:
        """Checkpoint, precision, device and, where it was chosen, the number of CPU threads; for logs."""
        if self.threads is None:
            return self._loaded.name
        return f"{self._loaded.name}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"

    def gpu_bytes(self) -> int:
        """See OnDevice."""
        return self._loaded.gpu_bytes()

    def release(self) -> None:
        """See OnDevice."""
        self._loaded.release()
