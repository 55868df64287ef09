# SPDX-License-Identifier: Apache-2.0
"""What every speech recogniser has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lisa_ros.speech.audio.samples import Samples


@dataclass(frozen=True)
class Recognition:
    """The text of an utterance.

    Attributes:
        text: as the recogniser writes it; empty where it heard no words.
        confidence: 0 to 1; None: the recogniser reports none.
    """

    text: str
    confidence: float | None = None


class Recognizer(Protocol):
    """Turns the samples of one utterance into text."""

    @property
    def name(self) -> str:
        """For people: the model and where it runs."""

    def recognize(self, samples: Samples) -> Recognition:
        """The text of 16 kHz samples.

        Raises:
            SpeechError: the recogniser failed.
        """

    def close(self) -> None:
        """Frees its memory."""
