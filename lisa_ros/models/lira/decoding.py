# SPDX-License-Identifier: Apache-2.0
"""Inference with LIRA: encode an image once, then answer commands about it, masks and text as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answers.steps import Answer, MaskStep
from lisa_ros.models.common.errors import PromptTooLongError
from lisa_ros.models.common.loaded import TextModel
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lira.answers.answering import Answering
from lisa_ros.models.lira.answers.attributes import AttributeReader
from lisa_ros.models.lira.answers.steps import AnswerStep
from lisa_ros.models.lira.configuration import LIRA_TOKENS, LOCAL_TOKEN, SEG_TOKEN, TURN_END_TOKEN, LiraConfig
from lisa_ros.models.lira.encoded_image import EncodedImage
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.prompt import first_turn, later_turn, referring_question
from lisa_ros.models.lira.reading import LiraEngine, Part, key_of
from lisa_ros.models.lira.tokenizer import LiraTokenizer
from lisa_ros.models.lira.vision.preprocessing import ANSWER_TILES, REFERRING_TILES, TileLimits

Marked = tuple[int, NDArray[np.bool_]]
"""The end of a `[SEG]` in an answer, in characters, and its mask (H, W)."""


@dataclass(frozen=True)
class Exchange:
    """An earlier turn.

    Attributes:
        command: the operator's text.
        answer: the raw answer.
        marked: the answer's objects, in its order.
    """

    command: str
    answer: str
    marked: tuple[Marked, ...] = ()

    def local_masks(self) -> list[NDArray[np.bool_]] | None:
        """The masks of the answer's close-up views, in order; None where one of them is not known any more."""
        masks, position = [], self.answer.find(LOCAL_TOKEN)
        while position >= 0:
            before = [mask for end, mask in self.marked if end <= position]
            if not before:
                return None
            masks.append(before[-1])
            position = self.answer.find(LOCAL_TOKEN, position + 1)
        return masks


class Lira(TextModel):
    """A loaded LIRA. An image's first answer is expensive, later ones are cheap.

    Attributes:
        network, config, tokenizer, name, engine: as load_lira made them.
        refine: whether the second mask of an object is decoded, too.
        attributes: reports words at a `[SEG]`; None: they were not asked for.
    """

    min_answer_positions = 1024
    """Positions that an answer should have at least: close-up views of three objects, 258 each, and text."""

    def __init__(
        self,
        network: LiraNetwork,
        config: LiraConfig,
        tokenizer: LiraTokenizer,
        name: str,
        engine: LiraEngine,
        options: LoadOptions,
    ) -> None:
        """Made by load_lira."""
        self.network: LiraNetwork = network
        self.config, self.tokenizer, self.name = config, tokenizer, name
        self.engine: LiraEngine = engine
        self.refine = options.refine
        self.attributes = AttributeReader(tokenizer) if options.attributes else None
        # An operator can make a model spell these out. The tokens of its answers, `[SEG]` above all, stay tokens.
        self._answer_controls = tuple(text for text in tokenizer.control_texts if text not in LIRA_TOKENS)

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """Prepares an image, RGB uint8 (H, W, 3), for commands about it."""
        return EncodedImage(image, self.network, self.config)

    def prompt_ids(self, command: str, *, bos: bool = False) -> list[int]:
        """A first command's prompt, IMAGE_TOKEN_INDEX where the image goes."""
        return self.tokenizer.encode_prompt(first_turn(self._plain(command)), bos=bos)

    def prompt(
        self,
        image: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        limits: TileLimits = ANSWER_TILES,
        bos: bool = False,
    ) -> list[Part]:
        """The prompt with all images in it.

        Args:
            image: of the command; the close-up views of earlier answers are made from it, too.
            command: what the operator typed; no control text in it has any effect.
            history: earlier turns, all of whose masks are known, see Exchange.local_masks.
            limits: how the image is cut into tiles.
            bos: begin with `<s>`.
        """
        commands = [*(turn.command for turn in history), command]
        visual = self.engine.compute(lambda: image.visual(limits))
        parts = [visual if one == IMAGE_TOKEN_INDEX else one for one in self.prompt_ids(commands[0], bos=bos)]
        for turn, next_command in zip(history, commands[1:], strict=True):
            parts += self._answered(image, turn)
            parts += self.tokenizer.encode(TURN_END_TOKEN + later_turn(self._plain(next_command)))
        return parts

    def _answered(self, image: EncodedImage, turn: Exchange) -> list[Part]:
        parts: list[Part] = []
        masks = iter(turn.local_masks() or ())
        for token in self.tokenizer.encode(neutralize(turn.answer, self._answer_controls)):
            parts.append(token)
            if token == self.config.added_tokens[LOCAL_TOKEN]:
                mask = next(masks)
                parts.append(self.engine.compute(lambda mask=mask: image.local(mask)))  # type: ignore[misc]
        return parts

    def _plain(self, command: str) -> str:
        return neutralize(command, self.tokenizer.control_texts)

    def free_positions(self, image: EncodedImage, command: str, history: Sequence[Exchange] = ()) -> int:
        """Positions that a prompt leaves for its answer; negative where the prompt itself is too long."""
        return self._free_positions(self.prompt(image, command, history))

    def _free_positions(self, parts: Sequence[Part]) -> int:
        return int(self.config.language.max_position_embeddings) - len(key_of(parts))

    def answer(
        self,
        image: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
    ) -> Iterator[AnswerStep]:
        """Answers a command by greedy decoding. Several threads may answer at the same time.

        Args:
            image: from `encode`.
            command: what the operator typed.
            history: earlier turns about it.
            max_new_tokens: the answer is cut there; close-up views inside it do not count.
            cancelled: called before the prefill and before every token; when it returns True, the answer ends there.
            mask_only: force `[SEG]`: always one mask, and no text of the model's own.

        Yields:
            A step for every token, masks as soon as their `[SEG]` is computed; the Answer last.

        Raises:
            PromptTooLongError: the prompt does not fit into the context.
            NotFiniteError: the network computed NaN or infinity.
        """
        parts = self.prompt(image, command, history)
        if cancelled():  # before the prefill, which is as expensive as encoding the image
            yield Answer("", tuple(parts), (), "cancelled")
            return
        with self._answering(image, parts, max_new_tokens, cancelled) as answering, self.engine.batcher.active():
            yield from answering.forced(SEG_TOKEN) if mask_only else answering.steps()

    def refer(self, image: EncodedImage, expression: str) -> tuple[str, NDArray[np.float32] | None]:
        """The mask of a referring expression as LIRA's authors measure it: the answer's first, without close-up view.

        Args:
            image: from `encode`; it is cut into more tiles than for `answer`.
            expression: for example "the red square".

        Returns:
            the answer so far, and mask logits (H, W), None where the model generates no `[SEG]`.
        """
        parts = self.prompt(image, referring_question(expression), limits=REFERRING_TILES, bos=True)
        with self._answering(image, parts, 512, lambda: False) as answering, self.engine.batcher.active():
            for step in answering.steps():
                if isinstance(step, MaskStep):
                    return step.text, step.logits
                if isinstance(step, Answer):
                    return step.text, None
        raise RuntimeError("an answer ended without an Answer")

    @contextmanager
    def _answering(
        self, image: EncodedImage, parts: Sequence[Part], longest: int, cancelled: Callable[[], bool]
    ) -> Iterator[Answering]:
        if (free := self._free_positions(parts)) < 1:
            raise PromptTooLongError(f"the prompt leaves {free} positions for an answer")
        with self.engine.begin(image, parts) as generation:
            yield Answering(self, image, generation, parts, longest, cancelled)
