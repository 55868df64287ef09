# SPDX-License-Identifier: Apache-2.0
"""Models for Python programs without ROS: `lisa_ros.load(...)`. Imports no torch before a model is loaded.

Example:
    model = lisa_ros.load("xinlai/LISA-7B-v1", quantization="4bit")
    answer = model.segment(image_rgb, "the red mug")
    answer.objects[0].mask                      # (H, W) bool

    dialogue = model.dialogue(image_rgb)        # remembers its turns
    dialogue.segment("the red mug")
    dialogue.segment("and the one left of it")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import (
    ANSWER_KINDS,
    CommandError,
    Event,
    Finished,
    Image,
    ObjectMask,
    Reference,
    checked_events,
)
from lisa_ros.segmentation.errors import LisaError, is_kind
from lisa_ros.segmentation.interface import AnswerOptions, Segmenter
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.segmentation.turns import Turn, turn_of

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ImageLike: TypeAlias = "Image | PilImage | Path | str"
"""RGB uint8 (H, W, 3), a PIL image, or an image file."""


def load(checkpoint: str | Path | None = None, **options: Any) -> Model:
    """Loads a model.

    Args:
        checkpoint: a folder, or a Hugging Face id such as "xinlai/LISA-7B-v1". None: the embedded demonstration model,
            which knows the objects of the simulated table and nothing else.
        options: fields of LoadOptions: template, precision, quantization, device, vision_tower ...

    Raises:
        ValueError: the checkpoint or an option cannot be used; the text says what would be right.
        TypeError: there is no such option.
    """
    known = [one.name for one in fields(LoadOptions)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"load() has no option {', '.join(unknown)}; there are {', '.join(known)}")
    named = embedded_checkpoint() if checkpoint is None else checkpoint
    return Model(load_segmenter(named, LoadOptions(**options)))


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a command.

    Attributes:
        image: RGB uint8 (H, W, 3), the image that was segmented.
        command: the command.
        text: the raw answer, "[SEG]" in place of each object.
        objects: in the order of the answer. Empty: the model found no such object.
        reason: "end", "length" (the answer was cut at max_new_tokens) or "cancelled".
        model: the name of the model that answered, of several (`segmenter="auto"`); empty: `Model.name`.
        note: what the model cannot do of this command, one sentence; empty: nothing.
    """

    image: Image = field(repr=False)
    command: str
    text: str
    objects: tuple[ObjectMask, ...]
    reason: str
    model: str = ""
    note: str = ""

    @property
    def explanation(self) -> str:
        """The answer for people: each "[SEG]" is replaced by the number of its object, "①" for `objects[0]`."""
        return explanation_of(self.text, [found.span for found in self.objects])

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(n, H, W): the masks of all objects."""
        height, width = self.image.shape[:2]
        return np.array([found.mask for found in self.objects], dtype=np.bool_).reshape(-1, height, width)

    def overlay(self) -> Image:
        """RGB uint8 (H + band, W, 3): the image with outlined and numbered objects, and the answer below."""
        from lisa_ros.segmentation.overlay import draw_overlay

        caption = f"{self.command}\n{self.explanation}"
        masks, labels = [found.mask for found in self.objects], [found.phrase for found in self.objects]
        return draw_overlay(self.image, masks, caption, labels)


class Dialogue:
    """One dialogue about one image. It remembers its turns, so that a command can refer to earlier ones.

    Attributes:
        image: RGB uint8 (H, W, 3).
        turns: the turns so far, oldest first.
    """

    def __init__(self, segmenter: Segmenter, image: Image) -> None:
        """Encodes the image, which is the expensive part."""
        self.image, self._segmenter = image, segmenter
        self._encoded = segmenter.encode(image)
        self.turns: list[Turn] = []

    def segment(self, command: str, references: Sequence[Reference] = (), **options: Unpack[AnswerOptions]) -> Answer:
        """Answers a command.

        Args:
            command: for example "the red mug".
            references: numbers of earlier turns that the command refers to, for models that take them (SegLLM).
            options: see `segmentation.interface.Session.segment`.

        Raises:
            CommandError: the model cannot take the command; the text says why.
        """
        for event in self.stream(command, references, **options):
            if isinstance(event, Finished):
                return Answer(self.image, command, event.answer, event.objects, event.reason, event.model, event.note)
        raise RuntimeError("the model's events ended without Finished")

    def stream(
        self, command: str, references: Sequence[Reference] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[Event]:
        """As `segment`, as events in the order in which the model makes them: MaskFound, TextDelta, one Finished.

        Raises:
            CommandError: the model cannot take the command; the text says why.
        """
        _check_options(options)
        if references and not self._segmenter.capabilities.references:
            raise CommandError(f"{self._segmenter.name} uses no references; name the earlier object in the command")
        session = self._segmenter.session(self._encoded, self.turns)
        events = session.segment(command, references, **options)
        for event in checked_events(events, self.image.shape[:2]):
            if isinstance(event, Finished) and event.reason != "cancelled":
                self.turns.append(turn_of(command, event, len(self.turns) + 1))
            yield event


def _check_options(options: AnswerOptions) -> None:
    """Raises a CommandError for values that no model takes: 0 tokens would be no limit at all."""
    if (answer := options.get("answer", "full")) not in ANSWER_KINDS:
        raise CommandError(f"answer is {answer!r}; it must be one of {', '.join(ANSWER_KINDS)}")
    if not is_kind(tokens := options.get("max_new_tokens", 1), Integral) or tokens < 1:
        raise CommandError(f"max_new_tokens is {tokens!r}; it must be a whole number of 1 or more")
    if not isinstance(pointing := options.get("pointing", NO_POINTING), Pointing):
        raise CommandError(f"pointing is a {type(pointing).__name__}; it must be a Pointing(points=((u, v),))")


class Model:
    """A loaded model.

    Attributes:
        name: checkpoint, precision, quantization and device.
        segmenter: the model's interface, see `lisa_ros.segmentation.interface`.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        """Made by `load`."""
        self.segmenter = segmenter
        self.name = segmenter.name

    def segment(self, image: ImageLike, command: str, **options: Unpack[AnswerOptions]) -> Answer:
        """Answers one command about an image, without a dialogue.

        Args:
            image: RGB uint8 (H, W, 3), a PIL image, or an image file.
            command: for example "hand me something to drink from".
            options: see `segmentation.interface.Session.segment`.

        Raises:
            CommandError: the model cannot take the command; the text says why.
            TypeError, ValueError: the image has another type or shape; the text says what would be right.
        """
        return self.dialogue(image).segment(command, **options)

    def dialogue(self, image: ImageLike) -> Dialogue:
        """A dialogue about an image, see `segment`."""
        return Dialogue(self.segmenter, rgb_of(image))


def rgb_of(image: ImageLike) -> Image:
    """An image as RGB uint8 (H, W, 3).

    Args:
        image: such an array, a PIL image of any mode, or an image file.

    Raises:
        TypeError, ValueError: it is none of these; the text says what would be right.
    """
    if isinstance(image, str | Path):
        if isinstance(image, str) and "://" in image:
            raise LisaError(f"{image} is an address; download the image and give its file")
        from lisa_ros.segmentation.files.image_files import read_image

        return read_image(Path(image).expanduser())
    if hasattr(image, "convert"):  # PIL's, without importing it
        return _from_pil(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        hint = ": tensor.cpu().numpy(), with the channels last" if kind == "Tensor" else ""
        raise TypeError(
            f"an image is RGB uint8 (H, W, 3), a PIL image, or the path of an image file; this is {kind}{hint}"
        )
    _check_array(image)
    return np.ascontiguousarray(image)  # torch takes no view that runs backwards, such as bgr[:, :, ::-1]


def _from_pil(image: Any) -> Image:
    """Upright, as an image file is read. Of modes with more than 8 bits, convert("RGB") would clip the values."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # I;16 is also the mode of depth images
        raise LisaError(
            f"this PIL image has mode {image.mode}, whose range is unknown; scale it to 0 to 255, mode L or RGB"
        )
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _check_array(image: NDArray[Any]) -> None:
    expected = "an image is RGB uint8 (H, W, 3), values 0 to 255"
    if image.dtype != np.uint8:
        raise LisaError(f"{expected}; this is {image.dtype}: {_conversion(image)}")
    if image.ndim == 2:
        raise LisaError(f"{expected}; this has one channel: numpy.stack([image] * 3, axis=2)")
    if image.ndim != 3 or image.shape[2] != 3:
        has_channels_first = image.ndim == 3 and image.shape[0] == 3
        hint = ", channels first: image.transpose(1, 2, 0)" if has_channels_first else ""
        if not has_channels_first and image.ndim == 3 and image.shape[2] == 4:
            hint = ", with a fourth channel: image[:, :, :3]"
        raise LisaError(f"{expected}; this is {image.shape}{hint}")


def _conversion(image: NDArray[Any]) -> str:
    """How to make an array of another dtype uint8."""
    if image.dtype == np.uint16:
        return "divide and convert: (image // 257).astype(numpy.uint8)"
    if image.dtype.kind == "f" and not (image.size and image.max() > 1.0):
        return "multiply by 255 and convert: (255 * image).astype(numpy.uint8)"
    return "convert it: image.astype(numpy.uint8)"
