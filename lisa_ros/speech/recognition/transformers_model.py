# SPDX-License-Identifier: Apache-2.0
"""Any speech model of transformers that writes text from sound: Whisper, Moonshine, Speech2Text and the like."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.devices import free_memory
from lisa_ros.segmentation.files.pretrained import check_weights
from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.recognition.recognizer import Recognition

# Spoken text has 3 to 4 tokens a second; a recogniser that repeats itself without end must stop.
_TOKENS_PER_SECOND = 8
_LEAST_TOKENS = 16


_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+", re.ASCII)


class TransformersRecognizer:
    """A model from a folder or the hub. Its confidence is the geometric mean of its tokens' probabilities."""

    def __init__(self, model: str, language: str = "", device: str = "auto") -> None:
        """Loads the model, in 16 bits on a GPU.

        Args:
            model: folder or hub id.
            language: for multilingual models; empty: as the model decides.
            device: "auto", "cpu" or "cuda".

        Raises:
            SpeechError: it cannot be loaded, or does not know the language.
        """
        source = _source(model)
        from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

        self._device = torch.device(_device(device))
        dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        try:
            self._processor: Any = AutoProcessor.from_pretrained(source)  # type: ignore[no-untyped-call]
            found: Any = AutoModelForSpeechSeq2Seq.from_pretrained(source, dtype=dtype, output_loading_info=True)
        except Exception as error:  # whatever is wrong with a folder that people name
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            raise SpeechError(f"The speech model {model!r} cannot be loaded: {reason}") from error
        check_weights(found[0], found[1], source, SpeechError)
        self._model: Any = found[0].to(self._device).eval()
        # The length is given with each sound, in tokens that are new.
        self._model.generation_config.max_length = None
        self._dtype, self._model_name = dtype, model
        self._language = self._checked_language(language)

    @property
    def name(self) -> str:
        """See Recognizer."""
        return f"{self._model_name} on {self._device.type}"

    @torch.inference_mode()
    def recognize(self, samples: Samples) -> Recognition:
        """See Recognizer."""
        if not len(samples):
            return Recognition("")
        try:
            inputs = self._processor(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
            features = {
                name: value.to(self._device, self._dtype) if value.is_floating_point() else value.to(self._device)
                for name, value in inputs.items()
            }
            made = self._model.generate(
                **features,
                **self._language,
                max_new_tokens=_LEAST_TOKENS + math.ceil(_TOKENS_PER_SECOND * len(samples) / RATE),
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
            )
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise SpeechError(f"The recogniser {self.name} failed: {error}") from error
        text = self._processor.batch_decode(made.sequences, skip_special_tokens=True)[0].strip()
        return Recognition(text, self._confidence(made))

    def close(self) -> None:
        """See Recognizer."""
        self._model = None
        free_memory()

    def _confidence(self, made: Any) -> float | None:
        if not made.scores:
            return None
        scores = self._model.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)[0]
        finite = scores[torch.isfinite(scores)].float()
        return math.exp(float(finite.mean())) if len(finite) else None

    def _checked_language(self, language: str) -> dict[str, str]:
        """What `generate` is given for the language."""
        known = getattr(self._model.generation_config, "lang_to_id", None)
        if not language or known is None:
            if language and "language" not in inspect.signature(self._model.generate).parameters:
                raise SpeechError(f"The speech model {self._model_name!r} takes no language; leave asr_language empty.")
            return {}
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        if f"<|{code}|>" not in known:
            raise SpeechError(f"The speech model {self._model_name!r} does not know the language {language!r}.")
        return {"language": code, "task": "transcribe"}


def _source(model: str) -> str:
    """The folder, or the hub id, that a name stands for. huggingface_hub would ask the hub for any other name."""
    try:
        folder = Path(model).expanduser()
    except RuntimeError:  # ~nobody
        folder = Path(model)
    if folder.is_dir():
        return str(folder)
    if folder.exists() or not _HUB_ID.fullmatch(model):
        raise SpeechError(
            f"The speech model {model!r} cannot be loaded: it is neither a folder nor a Hugging Face id such as"
            " openai/whisper-tiny"
        )
    return model


def _device(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise SpeechError("The recogniser is to run on cuda, and torch sees no CUDA device here.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
