# SPDX-License-Identifier: Apache-2.0
"""A vision-language model that points, with SAM 2, as a Segmenter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from lisa_ros.models.common.answers.segmenter import LoadedSegmenter, command_text, first_turn_that_fits
from lisa_ros.models.common.image_handle import ImageHandle
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.pointing.growing_answer import GrowingAnswer
from lisa_ros.models.pointing.parsing import Pointed, on_image
from lisa_ros.models.pointing.prompt import messages
from lisa_ros.segmentation.answers import (
    SEG_TEXT,
    AnswerKind,
    Event,
    Finished,
    ObjectMask,
    Reference,
)
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.scoring import pixel_probability

if TYPE_CHECKING:
    from lisa_ros.models.common.sam2 import Sam2Image
    from lisa_ros.models.pointing.checkpoint import Networks
    from lisa_ros.segmentation.turns import Turn

_LOG = logging.getLogger(__name__)
_NEEDED_TOKENS = 64
"""Positions that must remain for the answer: one object takes about 40."""
_THINK = "<think>\n"
_TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<bbox>", "<points>", "<labels>", SEG_TEXT)

Reason = Literal["end", "length", "cancelled"]


def load(checkpoint: Path, options: LoadOptions | None) -> PointingSegmenter:
    """See `lisa_ros.models.loading.load_segmenter`."""
    from lisa_ros.models.pointing.checkpoint import load_networks

    return PointingSegmenter(load_networks(checkpoint, options or LoadOptions()))


class PointingImage(ImageHandle):
    """An image, the model's input of it, and what SAM 2 has computed of it."""

    def __init__(self, image: NDArray[np.uint8], networks: Networks) -> None:
        """Takes the image; nothing is computed yet."""
        super().__init__(image)
        self._networks, self._lock = networks, threading.Lock()
        self._sam2: Sam2Image | None = None
        square, relative = networks.convention.square, networks.convention.relative
        whole = PilImage.fromarray(image)
        self.pil = whole.resize((square, square), PilImage.Resampling.BILINEAR) if square else whole
        side = relative or square
        self.frame = (side, side) if side else _input_size(networks.processor, self.size)

    def sam2(self) -> Sam2Image:
        """SAM 2's encoded image, computed when it is first needed."""
        with self._lock:
            if self._sam2 is None:
                self._sam2 = self._networks.mask_decoder.encode(self.image)
            return self._sam2

    def _forget(self) -> None:
        with self._lock:
            self._sam2 = None


def _input_size(processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the input that Qwen's processor makes of an image of (H, W) pixels."""
    blank = PilImage.new("RGB", (size[1], size[0]))
    _, rows, columns = processor.image_processor(images=[blank])["image_grid_thw"][0]
    patch = processor.image_processor.patch_size
    return int(columns) * patch, int(rows) * patch


class _Loaded:
    """What LoadedSegmenter wants of a model."""

    def __init__(self, networks: Networks) -> None:
        self.name, self._networks = networks.name, networks
        self.memory, self.release = networks.memory, networks.release

    def encode(self, image: NDArray[np.uint8]) -> PointingImage:
        return PointingImage(image, self._networks)


class PointingSegmenter(LoadedSegmenter):
    """A vision-language model that points, with SAM 2, as a Segmenter."""

    def __init__(self, networks: Networks) -> None:
        """Takes the networks."""
        super().__init__(_Loaded(networks))
        self._networks = networks

    def session(
        self, encoded: PointingImage, turns: Sequence[Turn] = (), *, max_history_tokens: int = 0
    ) -> PointingSession:
        """See Segmenter.session."""
        return PointingSession(self._networks, encoded, tuple(turns), max_history_tokens)


class PointingSession:
    """One dialogue about one image."""

    def __init__(
        self, networks: Networks, image: PointingImage, turns: tuple[Turn, ...], max_history_tokens: int
    ) -> None:
        self._networks, self._image, self._turns = networks, image, turns
        self._max_history_tokens = max_history_tokens

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
        """See Session.segment. The model takes no masks as input: references are ignored.

        "mask_only" makes the model point at once, without reasoning; it can still find nothing.
        """
        text = neutralize(command_text(command), self._control_texts)
        pointing.refuse("A vision-language model that points")
        if cancelled():
            yield Finished("", (), "cancelled")
            return
        begun = self._begun(direct=answer == "mask_only")
        said = GrowingAnswer(self._object, quiet=answer == "mask_only")
        with closing(self._written(self._inputs(text, begun), begun, max_new_tokens, cancelled)) as steps:
            for written, final, reason in steps:
                yield from said.update(self._networks.convention.read(written, final))
                if answer == "mask_only" and said.objects:
                    reason = "end"
                    break
        yield Finished(said.text, said.objects, reason)

    def _begun(self, *, direct: bool) -> str:
        """What is written for the model at the beginning of its answer, `<think>` of the chat template included."""
        asked = messages(self._networks.convention, "", (), self._image.frame, self._image.size)
        opened = _THINK if self._prompt(asked).endswith(_THINK) else ""
        return opened + (f"{'</think>' if opened else ''}{self._networks.convention.direct}" if direct else "")

    @property
    def _control_texts(self) -> tuple[str, ...]:
        return (*self._networks.processor.tokenizer.all_special_tokens, *_TAGS)

    def _harmless(self, turn: Turn) -> Turn:
        """An earlier turn, whose texts are as they were typed and written. Its `[SEG]` stand for its masks."""
        answer = neutralize(turn.answer, [one for one in self._control_texts if one != SEG_TEXT])
        return replace(turn, command=neutralize(turn.command, self._control_texts), answer=answer)

    def _inputs(self, command: str, begun: str) -> dict[str, Any]:
        """The processor's output for the newest turns that fit into the context."""
        turns = [self._harmless(turn) for turn in self._turns]

        def prepared(first: int) -> dict[str, Any]:
            convention, image = self._networks.convention, self._image
            chat = messages(convention, command, turns[first:], image.frame, image.size)
            return self._processed(chat, begun)

        def free(first: int) -> int:
            return self._networks.context - int(prepared(first)["input_ids"].shape[1])

        count = len(self._turns)
        first = first_turn_that_fits(count, free, _NEEDED_TOKENS, self._max_history_tokens)
        return prepared(first)

    def _processed(self, chat: list[dict[str, Any]], begun: str) -> dict[str, Any]:
        processor = self._networks.processor
        prompt = self._prompt(chat).removesuffix(_THINK) + begun
        batch = processor(text=[prompt], images=[self._image.pil], return_tensors="pt")
        return dict(batch.to(self._networks.device))

    def _prompt(self, chat: list[dict[str, Any]]) -> str:
        """The chat as text. The template of a model that always thinks (Qwen3-VL-Thinking) ends with `<think>`."""
        template = self._networks.processor.apply_chat_template
        return str(template(chat, tokenize=False, add_generation_prompt=True))

    def _written(
        self, inputs: dict[str, Any], begun: str, max_new_tokens: int, cancelled: Callable[[], bool]
    ) -> Generator[tuple[str, bool, Reason], None, None]:
        """(what the model has written so far, whether it has ended, why) after each token, and once at the end."""
        from lisa_ros.models.pointing.generation import stream

        model, tokenizer = self._networks.language, self._networks.processor.tokenizer
        longest = min(max_new_tokens, self._networks.context - int(inputs["input_ids"].shape[1]))
        stopped = False

        def asked() -> bool:
            nonlocal stopped
            stopped = stopped or cancelled()
            return stopped

        ids: list[int] = []
        written = begun
        for token in stream(model, inputs, longest, asked, self._networks.lock):
            ids.append(token)
            written = begun + tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            # A character of several bytes is U+FFFD until its last byte is generated.
            yield written.rstrip("\ufffd"), False, "length"
        ended = not ids or ids[-1] in _end_ids(model)
        yield written, True, "cancelled" if stopped else "end" if ended else "length"

    def _object(self, pointed: Pointed, begin: int) -> ObjectMask | None:
        """The object with its mask; None where the model points outside the image."""
        inside = on_image(pointed, self._image.frame, self._image.size)
        if inside is None:
            _LOG.warning("the model pointed at nothing in the image: %s", pointed)
            return None
        found = self._networks.mask_decoder.decode(
            self._image.sam2(),
            box=inside.box,
            points=inside.points,
            labels=inside.labels,
            multimask=self._networks.convention.multimask,
        )
        return ObjectMask(
            found.logits > 0,
            (begin, begin + len(SEG_TEXT)),
            score=found.score,
            probability=partial(pixel_probability, found.logits),
            phrase=inside.phrase,
            box=inside.box,
        )


def _end_ids(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [ends])
