# SPDX-License-Identifier: Apache-2.0
"""Whether somebody speaks: the Silero network, whose weights are in its package."""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from typing import Any, Protocol

import numpy as np

from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.extra import optional

WINDOW = 512
"""Samples of one window: 32 ms."""


class VoiceActivity(Protocol):
    """Estimates, window by window of one stream, whether somebody speaks."""

    def probability(self, window: Samples) -> float:
        """That somebody speaks in this window of WINDOW samples, 0 to 1."""

    def reset(self) -> None:
        """Another stream begins."""


class SileroActivity:
    """Silero's network, about 0.2 ms a window on one core. Its weights are loaded once for all streams."""

    def __init__(self) -> None:
        """Loads the network, or takes a copy with a state of this stream's own.

        Raises:
            SpeechError: silero-vad is not installed.
        """
        self._torch = optional("torch")
        with _LOADING:
            self._network = copy.copy(_network())
        self.reset()

    def probability(self, window: Samples) -> float:
        """See VoiceActivity."""
        with self._torch.inference_mode():
            return float(self._network(self._torch.from_numpy(np.ascontiguousarray(window)), RATE).item())

    def reset(self) -> None:
        """See VoiceActivity."""
        self._network.reset_states()


_LOADING = threading.Lock()


@functools.cache
def _network() -> Any:
    """The network that all streams copy.

    A shallow copy of a TorchScript module shares its weights. Its state is assigned anew with each window, never
    changed in place, so that copies do not influence each other.
    """
    torch = optional("torch")
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # Its import sets torch's threads to one, for the whole process.
        network = optional("silero_vad").load_silero_vad()
    torch.set_num_threads(threads)
    return network
