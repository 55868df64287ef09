# SPDX-License-Identifier: Apache-2.0
"""Any model's masks, made finer by SAM 2: the mask and its box are SAM 2's prompt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.devices import free_memory
from lisa_ros.models.common.errors import ClosedError
from lisa_ros.models.common.sam2 import Sam2, Sam2Image
from lisa_ros.segmentation.answers import Event, Finished, Image, Mask, MaskFound, ObjectMask, Reference
from lisa_ros.segmentation.interface import AnswerOptions, Capabilities, DeviceMemory, Segmenter, Session
from lisa_ros.segmentation.masks import bounding_box, intersection_over_union
from lisa_ros.segmentation.scoring import pixel_probability
from lisa_ros.segmentation.turns import Turn

LEAST_IOU = 0.5
"""Of the refined mask with the model's own. Below it, SAM 2 has marked something else, and the model's mask stays."""

_MOST_LOGIT = 10.0


class RefinedImage:
    """An image for the model and for SAM 2, which encodes it when the first mask is found."""

    def __init__(self, image: Image, encoded: Any, sam2: Callable[[], Sam2]) -> None:
        """Takes the image, and what the model made of it."""
        self.image, self.encoded, self._sam2 = image, encoded, sam2
        self._features: Sam2Image | None = None
        self._lock = threading.Lock()

    def features(self) -> Sam2Image:
        """SAM 2's encoded image."""
        with self._lock:
            if self._features is None:
                self._features = self._sam2().encode(self.image)
            return self._features

    def release(self) -> None:
        """See Releasable."""
        try:
            self.encoded.release()
        finally:
            with self._lock:
                self._features = None


class RefinedSegmenter:
    """A model whose masks SAM 2 refines; see Segmenter."""

    def __init__(self, model: Segmenter, sam2: Sam2, refiner: str) -> None:
        """Takes the model, SAM 2, and the name of SAM 2's checkpoint."""
        self.refined = model
        self._refiner = refiner
        self._sam2: Sam2 | None = sam2

    @property
    def capabilities(self) -> Capabilities:
        """See Segmenter.capabilities: references go to the model."""
        return Capabilities(references=self.refined.capabilities.references)

    @property
    def name(self) -> str:
        """Of the model and of SAM 2's checkpoint."""
        return self.name_with(self.refined.name)

    def name_with(self, model: str) -> str:
        """The name of a model with SAM 2's checkpoint."""
        return f"{model}, masks refined by {self._refiner}"

    @property
    def sam2(self) -> Sam2:
        """SAM 2. Raises a ClosedError after `release`."""
        if self._sam2 is None:
            raise ClosedError("the model was released")
        return self._sam2

    def encode(self, image: Image) -> RefinedImage:
        """See Segmenter.encode."""
        return RefinedImage(image, self.refined.encode(image), lambda: self.sam2)

    def session(
        self, encoded: RefinedImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> RefinedSession:
        """See Segmenter.session."""
        session = self.refined.session(encoded.encoded, turns, max_history_tokens=max_history_tokens)
        return RefinedSession(self, encoded, session)

    def memory(self) -> DeviceMemory:
        """See Segmenter.memory: of the process, and so of both models."""
        return self.refined.memory()

    def release(self) -> None:
        """See Segmenter.release."""
        try:
            self.refined.release()
        finally:
            self._sam2 = None
            free_memory()


class RefinedSession:
    """A session of the model; its masks are refined on their way."""

    def __init__(self, segmenter: RefinedSegmenter, image: RefinedImage, session: Session) -> None:
        """Takes the model's own session."""
        self._segmenter, self._image, self._session = segmenter, image, session

    def segment(
        self, command: str, references: Sequence[Reference] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[Event]:
        """See Session.segment. A cancelled command's masks are not refined."""
        cancelled = options.get("cancelled", lambda: False)
        done: dict[int, tuple[ObjectMask, ObjectMask]] = {}

        def refined(found: ObjectMask) -> ObjectMask:
            if id(found) not in done:
                known = next((new for old, new in done.values() if old.mask is found.mask), None)
                new = _like(found, known) if known else found if cancelled() else self._refined(found)
                done[id(found)] = (found, new)
            return done[id(found)][1]

        for event in self._session.segment(command, references, **options):
            if isinstance(event, MaskFound):
                yield MaskFound(refined(event.object))
            elif isinstance(event, Finished):
                model = self._segmenter.name_with(event.model) if event.model else ""
                yield replace(event, objects=tuple(map(refined, event.objects)), model=model)
            else:
                yield event

    def _refined(self, found: ObjectMask) -> ObjectMask:
        """The object with SAM 2's mask, or as it is where SAM 2 has marked something else."""
        if not found.mask.any():
            return found
        sam2, features = self._segmenter.sam2, self._image.features()
        new = sam2.decode(features, box=_box(found.mask), mask=_logits(found), multimask=False)
        mask = new.logits > 0
        if intersection_over_union(mask, found.mask) < LEAST_IOU:
            return found
        return replace(
            found, mask=mask, probability=partial(pixel_probability, new.logits), score_calibrated=False, evidence=None
        )


def _like(found: ObjectMask, refined: ObjectMask) -> ObjectMask:
    """An object with the mask of another one that is already refined: a model may add a phrase at the end."""
    return replace(
        found,
        mask=refined.mask,
        probability=refined.probability,
        score_calibrated=refined.score_calibrated,
        evidence=refined.evidence,
    )


def _box(mask: Mask) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around a mask, pixels."""
    x, y, width, height = bounding_box(mask)
    return float(x), float(y), float(x + width), float(y + height)


def _logits(found: ObjectMask) -> NDArray[np.float32]:
    """(H, W) logits of the model's mask, from its probabilities where it has them."""
    if found.probability is None:
        return np.where(found.mask, _MOST_LOGIT, -_MOST_LOGIT).astype(np.float32)
    least = 1.0 / (1.0 + np.exp(_MOST_LOGIT))
    probability = np.clip(found.probability().astype(np.float64), least, 1.0 - least)
    return np.log(probability / (1.0 - probability)).astype(np.float32)
