# SPDX-License-Identifier: Apache-2.0
"""SAM 3 as a Segmenter: a command is reduced to its noun phrase, and each instance of it is an object with a score."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from lisa_ros.models.common.answers.segmenter import LoadedSegmenter, command_text
from lisa_ros.models.common.checkpoints.hub import title_of
from lisa_ros.models.common.devices import choose_device, choose_dtype, device_memory, free_memory
from lisa_ros.models.common.errors import CheckpointError, ClosedError
from lisa_ros.models.common.image_handle import ImageHandle
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.sam3.names import name_in, why_no_name
from lisa_ros.segmentation.answers import (
    SEG_TEXT,
    AnswerKind,
    Event,
    Finished,
    MaskFound,
    ObjectMask,
    Reference,
    TextDelta,
)
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.pretrained import load_pretrained
from lisa_ros.segmentation.interface import DeviceMemory
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing

if TYPE_CHECKING:
    from lisa_ros.segmentation.turns import Turn

_THRESHOLD = "0.5"


def load(checkpoint: Path, options: LoadOptions | None) -> Sam3Segmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    options = options or LoadOptions()
    options.check()
    if options.quantization not in ("auto", "none"):
        raise LisaError(f"SAM 3 is not quantized; quantization is {options.quantization!r}, use 'none' or 'auto'")
    threshold = _fraction(options.own_options().get("threshold", _THRESHOLD))
    device = choose_device(options.device)
    dtype = choose_dtype(options, device)
    known: Any = transformers
    classes = known.Sam3Model, known.Sam3Processor
    model, processor = load_pretrained(*classes, checkpoint, "as SAM 3", CheckpointError, dtype=dtype)
    name = f"{title_of(checkpoint)}, {str(dtype).removeprefix('torch.')} on {device.type}"
    return Sam3Segmenter(Sam3(name, model.eval().to(device), processor, threshold))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise LisaError(f"the model option threshold is {text!r}; it can be 0 to 1")
    return value


class Sam3Image(ImageHandle):
    """An image and its vision features, computed when they are first needed."""

    def __init__(self, image: NDArray[np.uint8], sam3: Sam3) -> None:
        """Takes the image; nothing is computed yet."""
        super().__init__(image)
        self._sam3, self._lock, self._features = sam3, threading.Lock(), None

    def features(self) -> Any:
        """The output of Sam3Model.get_vision_features."""
        with self._lock:
            if self._features is None:
                self._features = self._sam3.features(self.image)
            return self._features

    def _forget(self) -> None:
        with self._lock:
            self._features = None


class Sam3:
    """SAM 3 with its weights. May be used from several threads at once."""

    def __init__(self, name: str, model: Any, processor: Any, threshold: float) -> None:
        """Takes transformers' objects, and the least score of an instance."""
        self.name, self._model, self._processor, self._threshold = name, model, processor, threshold
        self._lock = threading.Lock()

    def encode(self, image: NDArray[np.uint8]) -> Sam3Image:
        """See Segmenter.encode."""
        return Sam3Image(image, self)

    @torch.inference_mode()
    def features(self, image: NDArray[np.uint8]) -> Any:
        """The vision features of RGB uint8 (H, W, 3)."""
        model = self._loaded()
        pixels = self._processor(images=image, return_tensors="pt")["pixel_values"].to(model.device, model.dtype)
        with self._lock:
            return model.get_vision_features(pixels)

    @torch.inference_mode()
    def instances(self, image: Sam3Image, phrase: str) -> list[tuple[NDArray[np.bool_], float, list[float]]]:
        """(mask of (H, W), score, box x0, y0, x1, y1) of each instance, best first."""
        features, model = image.features(), self._loaded()
        text = self._processor(text=phrase, original_sizes=[list(image.size)], return_tensors="pt")
        given = {name: text[name].to(model.device) for name in ("input_ids", "attention_mask")}
        with self._lock:
            outputs = model(vision_embeds=features, **given)
        (found,) = self._processor.post_process_instance_segmentation(
            outputs, threshold=self._threshold, target_sizes=[list(image.size)]
        )
        masks, scores = found["masks"].cpu().numpy() > 0, found["scores"].float().tolist()
        each = zip(masks, scores, found["boxes"].float().tolist(), strict=True)
        return sorted((one for one in each if one[0].any()), key=lambda one: -one[1])

    def memory(self) -> DeviceMemory:
        """See Segmenter.memory."""
        return DeviceMemory() if self._model is None else device_memory(self._model.device)

    def release(self) -> None:
        """See Segmenter.release."""
        with self._lock:
            self._model = None
        free_memory()

    def _loaded(self) -> Any:
        if self._model is None:
            raise ClosedError("the model was released")
        return self._model


class Sam3Segmenter(LoadedSegmenter):
    """SAM 3 as a Segmenter."""

    def __init__(self, sam3: Sam3) -> None:
        """Takes the model."""
        super().__init__(sam3)
        self._sam3 = sam3

    def session(self, encoded: Sam3Image, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0) -> Sam3Session:
        """See Segmenter.session. SAM 3 knows no dialogue: earlier turns have no effect."""
        return Sam3Session(self._sam3, encoded)


class Sam3Session:
    """Commands about one image; none depends on another."""

    def __init__(self, sam3: Sam3, image: Sam3Image) -> None:
        self._sam3, self._image = sam3, image

    def segment(
        self,
        command: str,
        references: Sequence[Reference] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        answer: AnswerKind = "full",
        pointing: Pointing = NO_POINTING,
    ) -> Iterator[Event]:
        """See Session.segment. References and max_new_tokens have no effect; "mask_only" is the best instance."""
        text = command_text(command)
        pointing.refuse("SAM 3")
        if cancelled():
            yield Finished("", (), "cancelled")
            return
        phrase = name_in(text)
        if phrase is None:
            sentence = why_no_name(text)
            yield TextDelta(sentence)
            yield Finished(sentence, (), "end")
            return
        found = self._sam3.instances(self._image, phrase)
        if cancelled():
            yield Finished("", (), "cancelled")
            return
        yield from self._events(found[:1] if answer == "mask_only" else found, phrase)

    def _events(self, found: list[tuple[NDArray[np.bool_], float, list[float]]], phrase: str) -> Iterator[Event]:
        raw, objects = "", list[ObjectMask]()
        for mask, score, (x0, y0, x1, y1) in found:
            gap = " " if raw else ""
            begin = len(raw) + len(gap)
            raw += gap + SEG_TEXT
            span = (begin, begin + len(SEG_TEXT))
            objects.append(ObjectMask(mask, span, score=score, phrase=phrase, box=(x0, y0, x1, y1)))
            yield TextDelta(gap + SEG_TEXT)
            yield MaskFound(objects[-1])
        yield Finished(raw, tuple(objects), "end")
