# SPDX-License-Identifier: Apache-2.0
"""What every speech recogniser has in common, and the choice of one."""

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


def load_recognizer(model: str = "", language: str = "", device: str = "auto") -> Recognizer:
    """Loads a recogniser.

    Args:
        model: folder or hub id of a transformers speech model; empty: the small English one of moonshine-voice.
        language: spoken language for multilingual models, e.g. "de" or "german"; empty: English, or as the model has it.
        device: "auto", "cpu" or "cuda".

    Raises:
        SpeechError: a package is missing, or the model cannot be loaded or does not know the language.
    """
    if model:
        from lisa_ros.speech.recognition.transformers_model import TransformersRecognizer

        return TransformersRecognizer(model, language, device)
    from lisa_ros.speech.recognition.moonshine import MoonshineRecognizer

    return MoonshineRecognizer(language)
