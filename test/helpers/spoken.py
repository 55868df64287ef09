# SPDX-License-Identifier: Apache-2.0
"""Synthetic speech for tests; a test that needs a voice which is not installed is skipped."""

import functools

import pytest

from lisa_ros.benchmark.speech.sounds import speak
from lisa_ros.speech.audio.samples import Samples
from lisa_ros.speech.extra import SpeechError


@functools.cache
def said(text: str, voice: str) -> Samples:
    """The text by a voice of `lisa_ros.benchmark.speech.sounds`, 16 kHz."""
    try:
        return speak(text, voice)
    except SpeechError as error:
        pytest.skip(str(error))
