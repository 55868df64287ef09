# SPDX-License-Identifier: Apache-2.0
"""The errors of checkpoints and of inference, and what stands for a network that was released."""

from __future__ import annotations

from typing import Any

from lisa_ros.segmentation.errors import LisaError


class CheckpointError(LisaError):
    """A checkpoint folder cannot be used; the text says what was wrong and what would be right."""


class PromptTooLongError(LisaError):
    """A prompt does not fit into the model's context; the text says by how much."""


class MemoryLimitError(LisaError):
    """An answer needs more memory than the limit leaves; the text says how much, and which option to change."""


class DeviceMemoryError(LisaError):
    """The GPU has too little memory for an answer; the text says what can be changed."""


class NotFiniteError(ArithmeticError):
    """The network computed a number that is not finite (NaN or infinity), so there is no answer."""


class ClosedError(RuntimeError):
    """A model was used after its memory had been released."""


class Released:
    """In place of a network whose memory was freed: every use raises a ClosedError."""

    def __getattr__(self, name: str) -> Any:
        raise ClosedError("The model was released.")
