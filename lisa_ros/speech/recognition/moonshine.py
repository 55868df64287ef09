# SPDX-License-Identifier: Apache-2.0
"""The recogniser that needs no download: moonshine-voice with the tiny English model of its wheel."""

from __future__ import annotations

from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.extra import SpeechError, optional
from lisa_ros.speech.recognition.recognizer import Recognition

_ENGLISH = ("", "en", "english")
_LEAST_SAMPLES = RATE // 10


class MoonshineRecognizer:
    """Moonshine Tiny (27 million weights, 8 bits) on one core. It reports no confidence."""

    def __init__(self, language: str = "") -> None:
        """Loads the model of the wheel.

        Raises:
            SpeechError: the package or its model is missing, or another language than English is wanted.
        """
        if language.lower() not in _ENGLISH:
            raise SpeechError(
                f"The built-in recogniser knows English, not {language!r}; name a model for it with asr_model."
            )
        moonshine = optional("moonshine_voice")
        folder = moonshine.get_model_path()
        if not folder.is_dir():
            raise SpeechError(
                f"The installed moonshine-voice has no model in {folder}; version 0.0.62 has, 0.1 and later do not."
            )
        # Utterances are cut and trimmed before: its own voice activity is off. Who speaks is known, and finding it out
        # takes a quarter of the time.
        options = {"vad_threshold": "0.0", "identify_speakers": "false", "return_audio_data": "false"}
        try:
            self._transcriber = moonshine.Transcriber(str(folder), moonshine.ModelArch.TINY, options=options)
        except moonshine.MoonshineError as error:
            raise SpeechError(f"The built-in recogniser cannot be loaded: {error}.") from error
        self._error = moonshine.MoonshineError

    @property
    def name(self) -> str:
        """See Recognizer."""
        return "moonshine-tiny-en"

    def recognize(self, samples: Samples) -> Recognition:
        """See Recognizer."""
        if len(samples) < _LEAST_SAMPLES:
            return Recognition("")
        try:
            lines = self._transcriber.transcribe_without_streaming(samples.tolist(), RATE).lines
        except self._error as error:
            raise SpeechError(f"The recogniser failed: {error}.") from error
        return Recognition(" ".join(line.text.strip() for line in lines).strip())

    def close(self) -> None:
        """See Recognizer."""
        self._transcriber.close()
