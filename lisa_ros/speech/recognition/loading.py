# SPDX-License-Identifier: Apache-2.0
"""The choice of a recogniser."""

from __future__ import annotations

from lisa_ros.speech.recognition.moonshine import MoonshineRecognizer
from lisa_ros.speech.recognition.recognizer import Recognizer


def load_recognizer(model: str = "", language: str = "", device: str = "auto") -> Recognizer:
    """Loads a recogniser.

    Args:
        model: folder or hub id of a transformers speech model; empty: the small English one of moonshine-voice.
        language: spoken language for multilingual models, e.g. "de"; empty: English, or as the model decides.
        device: "auto", "cpu" or "cuda".

    Raises:
        SpeechError: a package is missing, or the model cannot be loaded or does not know the language.
    """
    if model:
        # Imports transformers, which takes seconds.
        from lisa_ros.speech.recognition.transformers_model import TransformersRecognizer

        return TransformersRecognizer(model, language, device)
    return MoonshineRecognizer(language)
