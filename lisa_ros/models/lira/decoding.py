# SPDX-License-Identifier: Apache-2.0
"""LIRA at work: look at a picture once, then answer commands about it, masks and words as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.models.common.answering import PromptTooLongError, kept_read_bytes
from lisa_ros.models.common.loaded import Loaded
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lira.answers.answering import Answering
from lisa_ros.models.lira.answers.attributes import AttributeReader
from lisa_ros.models.lira.answers.steps import Answer, AnswerStep, MaskStep
from lisa_ros.models.lira.configuration import LIRA_TOKENS, LOCAL_TOKEN, SEG_TOKEN, TURN_END_TOKEN, LiraConfig
from lisa_ros.models.lira.encoded_image import EncodedImage
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.prompt import first_turn, later_turn, referring_question
from lisa_ros.models.lira.reading import Part, Reader, key_of
from lisa_ros.models.lira.tokenizer import LiraTokenizer
from lisa_ros.models.lira.vision.preprocessing import ANSWER_TILES, REFERRING_TILES, TileLimits

Marked = tuple[int, NDArray[np.bool_]]
"""Where a `[SEG]` ends in an answer, and the mask (H, W) that was made there."""


@dataclass(frozen=True)
class Exchange:
    """An earlier turn.

    Attributes:
        command: what was asked.
        answer: the raw answer.
        marked: the answer's objects, in its order.
    """

    command: str
    answer: str
    marked: tuple[Marked, ...] = ()

    def looked_at(self) -> list[NDArray[np.bool_]] | None:
        """The masks whose objects the model looked at closely, in order; None: some are not known any more."""
        masks, place = [], self.answer.find(LOCAL_TOKEN)
        while place >= 0:
            before = [mask for end, mask in self.marked if end <= place]
            if not before:
                return None
            masks.append(before[-1])
            place = self.answer.find(LOCAL_TOKEN, place + 1)
        return masks


class Lira(Loaded):
    """A loaded LIRA. `look` is cheap, a picture's first answer is dear, later ones are cheap.

    Attributes:
        network, config, tokenizer, name: as load_lira made them.
        reader: reads prompts and answers, and keeps what was read.
        refine: whether the second mask of an object is decoded, too.
        attributes: reads words off a `[SEG]`; None: nobody asked for it.
    """

    answer_room = 1024
    """Positions that an answer should have at least: three objects' close looks of 258, and words."""

    def __init__(
        self, network: LiraNetwork, config: LiraConfig, tokenizer: LiraTokenizer, name: str, options: LoadOptions
    ) -> None:
        """Made by load_lira."""
        self.network: LiraNetwork = network
        self.config, self.tokenizer, self.name = config, tokenizer, name
        self.reader: Reader = Reader(network, kept_read_bytes(network.device, options.cache_mib))
        self.refine = options.refine
        self.attributes = AttributeReader(tokenizer) if options.attributes else None
        # A model can be talked into spelling these out; the tokens of its answers, `[SEG]` above all, stay tokens.
        self._answer_controls = tuple(text for text in tokenizer.control_texts if text not in LIRA_TOKENS)

    def warm_up(self) -> None:
        """Looks and answers once, so that no operator waits for what a GPU sets up when it first computes something."""
        picture = self.encode(np.full((480, 640, 3), 127, dtype=np.uint8))
        for _ in self.answer(picture, "What is there?", max_new_tokens=4):
            pass
        for _ in self.answer(picture, "What is there?", mask_only=True):
            pass

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """A picture to ask about: RGB uint8 (H, W, 3)."""
        return EncodedImage(image, self.network, self.config)

    def prompt_ids(self, command: str, *, bos: bool = False) -> list[int]:
        """A first command's prompt, IMAGE_TOKEN_INDEX where the picture goes."""
        return self.tokenizer.encode_prompt(first_turn(self._plain(command)), bos=bos)

    def prompt(
        self,
        picture: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        limits: TileLimits = ANSWER_TILES,
        bos: bool = False,
    ) -> list[Part]:
        """The prompt with all that the model has seen in it.

        Args:
            picture: what it is about; the close looks of earlier answers are taken at it, too.
            command: what the operator typed; no control text in it has any effect.
            history: earlier turns, all of whose looks are known, see Exchange.looked_at.
            limits: how the picture is cut.
            bos: begin with `<s>`.
        """
        commands = [*(turn.command for turn in history), command]
        visual = picture.visual(limits)
        parts = [visual if one == IMAGE_TOKEN_INDEX else one for one in self.prompt_ids(commands[0], bos=bos)]
        for turn, asked in zip(history, commands[1:], strict=True):
            parts += self._answered(picture, turn)
            parts += self.tokenizer.encode(TURN_END_TOKEN + later_turn(self._plain(asked)))
        return parts

    def _answered(self, picture: EncodedImage, turn: Exchange) -> list[Part]:
        parts: list[Part] = []
        looks = iter(turn.looked_at() or ())
        for token in self.tokenizer.encode(neutralize(turn.answer, self._answer_controls)):
            parts.append(token)
            if token == self.config.added_tokens[LOCAL_TOKEN]:
                parts.append(picture.local(next(looks)))
        return parts

    def _plain(self, command: str) -> str:
        return neutralize(command, self.tokenizer.control_texts)

    def room(self, picture: EncodedImage, command: str, history: Sequence[Exchange] = ()) -> int:
        """Positions that a prompt leaves for its answer; negative where the prompt itself is too long."""
        return self._room(self.prompt(picture, command, history))

    def _room(self, parts: Sequence[Part]) -> int:
        return int(self.config.language.max_position_embeddings) - len(key_of(parts))

    def answer(
        self,
        picture: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
    ) -> Iterator[AnswerStep]:
        """Answers a command, greedily. Several threads may be answered at the same time.

        Args:
            picture: from `look`.
            command: what the operator typed.
            history: earlier turns about it.
            max_new_tokens: the answer is cut there; what the model is shown between does not count.
            cancelled: asked before the prompt is read and before every token; when true, the answer ends there.
            mask_only: put `[SEG]` into the model's mouth: one mask, always, and no word of the model's own.

        Yields:
            A step for every token, masks as soon as their `[SEG]` is read; the Answer last.

        Raises:
            PromptTooLongError: the prompt does not fit into the context.
        """
        parts = self.prompt(picture, command, history)  # looks at the picture; reading it is as dear
        if cancelled():
            yield Answer("", tuple(parts), (), "cancelled")
            return
        answering = self._begin(picture, parts, max_new_tokens, cancelled)
        with self.reader.batcher.present():
            yield from answering.forced(SEG_TOKEN) if mask_only else answering.steps()

    def refer(self, picture: EncodedImage, expression: str) -> tuple[str, NDArray[np.float32] | None]:
        """The mask of a referring expression, as LIRA's authors measure it: the answer's first, without a close look.

        Args:
            picture: from `look`; it is cut into more tiles than for `answer`.
            expression: for example "the red square".

        Returns:
            the answer so far, and mask logits (H, W), None where the model says no `[SEG]`.
        """
        parts = self.prompt(picture, referring_question(expression), limits=REFERRING_TILES, bos=True)
        answering = self._begin(picture, parts, 512, lambda: False)
        with self.reader.batcher.present():
            for step in answering.steps():
                if isinstance(step, MaskStep):
                    return step.answer, step.logits
                if isinstance(step, Answer):
                    return step.text, None
        raise RuntimeError("an answer ended without an Answer")

    def _begin(
        self, picture: EncodedImage, parts: Sequence[Part], longest: int, cancelled: Callable[[], bool]
    ) -> Answering:
        if (room := self._room(parts)) < 1:
            raise PromptTooLongError(f"the prompt leaves {room} positions for an answer")
        reading = self.reader.begin(picture, parts)
        return Answering(self, picture, reading, parts, longest, cancelled)
