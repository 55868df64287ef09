# SPDX-License-Identifier: Apache-2.0
"""LISA at work: look at a picture once, then answer commands about it word by word, with masks as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.common.answering import MAX_MASKS, PromptTooLongError, kept_read_bytes
from lisa_ros.models.common.language.reading import Reader, Reading
from lisa_ros.models.common.loaded import Loaded
from lisa_ros.models.common.options import DEFAULT_CACHE
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.drafts import OPENINGS, Drafts
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.prompt import Exchange, Template, build_prompt
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing

MASK_ONLY_ANSWER = "[SEG]."
"""What the model is made to say for a mask without words, as LISA's authors do when they validate (train_ds.py)."""

Step = tuple[int, torch.Tensor, torch.Tensor]
"""A token, the state (1, hidden) that said it, and the logarithm of the probability that it gave it, ()."""


@dataclass(frozen=True)
class MaskStep:
    """The model has said `[SEG]`.

    Attributes:
        logits: (H, W) float32, size of the picture; the mask is logits > 0.
        coarse: (h, w) float32, the same before upsampling, see MaskLogits.
        answer: the answer so far, this `[SEG]` last.
        log_prob: the logarithm of the probability that the model gives the least likely word of that answer. Words that
            were put into its mouth count as any.
    """

    logits: NDArray[np.float32]
    coarse: NDArray[np.float32]
    answer: str
    log_prob: float


@dataclass(frozen=True)
class TextStep:
    """The model has said another word.

    Attributes:
        answer: the answer so far.
    """

    answer: str


@dataclass(frozen=True)
class Answer:
    """The model has ended.

    Attributes:
        text: the raw answer, `[SEG]` in place, to the white space as upstream decodes it.
        prompt_ids: the prompt's ids, IMAGE_TOKEN_INDEX where the picture stands.
        ids: the generated ids, `</s>` included.
        reason: "end" (the model said `</s>`), "length" (max_new_tokens) or "cancelled".
    """

    text: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    reason: Literal["end", "length", "cancelled"]


def new_reader(network: LisaNetwork, cache_mib: int) -> Reader:
    """A Reader as suits the device: on a GPU it replays graphs.

    Args:
        network: the model.
        cache_mib: memory for what was read, MiB; DEFAULT_CACHE: as kept_read_bytes has it.
    """
    budget = kept_read_bytes(network.device, cache_mib)
    return Reader(network, budget, fixed_step=network.device.type == "cuda")


class Lisa(Loaded):
    """A loaded LISA. `look` is dear and once per picture, `answer` is cheap and often.

    Attributes:
        network, config, tokenizer, template, clip, name: as load_lisa made them.
        reader: reads prompts and answers, and keeps what was read.
        drafts: what answers are guessed from.
    """

    answer_room = 64
    """Tokens that an answer should have at least; upstream's longest explanations take about 60."""

    def __init__(
        self,
        network: LisaNetwork,
        config: LisaConfig,
        tokenizer: LisaTokenizer,
        template: Template,
        clip: ClipPreprocessing,
        name: str,
        *,
        cache_mib: int = DEFAULT_CACHE,
    ) -> None:
        """Made by load_lisa."""
        self.network: LisaNetwork = network
        self.config, self.tokenizer, self.name = config, tokenizer, name
        self.template, self.clip = template, clip
        self.reader: Reader = new_reader(network, cache_mib)
        self.drafts = Drafts([[*tokenizer.encode(text), tokenizer.eos_token_id] for text in OPENINGS])
        self._control_texts = (*tokenizer.control_texts, *template.markers)
        # A model can be talked into spelling these out; its own added tokens, `[SEG]` above all, stay tokens.
        self._answer_controls = tuple(text for text in self._control_texts if text not in config.added_tokens)

    def warm_up(self) -> None:
        """Looks and answers once, so that no operator waits for what a GPU sets up when it first computes something."""
        picture = self.encode(np.full((480, 640, 3), 127, dtype=np.uint8))
        for _ in self.answer(picture, "What is there?", max_new_tokens=4):
            pass
        for _ in self.answer(picture, "What is there?", mask_only=True):
            pass

    def encode(self, image: NDArray[np.uint8]) -> EncodedImage:
        """A picture to ask about: RGB uint8 (H, W, 3)."""
        return EncodedImage(image, self.network, self.clip, ahead=self.network.device.type == "cuda")

    def prompt_ids(self, command: str, history: Sequence[Exchange] = ()) -> list[int]:
        """The prompt's ids, IMAGE_TOKEN_INDEX where the picture goes.

        Args:
            command: what the operator typed; no control text in it has any effect.
            history: earlier commands and the model's raw answers to them.
        """
        said = [
            (neutralize(asked, self._control_texts), neutralize(told, self._answer_controls)) for asked, told in history
        ]
        exchanges = [*said, (neutralize(command, self._control_texts), "")]
        prompt = build_prompt(self.template, exchanges, wrap_image=self.config.wrap_image)
        return self.tokenizer.encode_prompt(prompt)

    def answer(
        self,
        picture: EncodedImage,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
    ) -> Iterator[MaskStep | TextStep | Answer]:
        """Answers a command after the history of its dialogue, see answer_prompt and prompt_ids."""
        prompt_ids = self.prompt_ids(command, history)
        return self.answer_prompt(
            picture, prompt_ids, max_new_tokens=max_new_tokens, cancelled=cancelled, mask_only=mask_only
        )

    def answer_prompt(
        self,
        picture: EncodedImage,
        prompt_ids: Sequence[int],
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
        mask_only: bool = False,
        pointing: Pointing = NO_POINTING,
    ) -> Iterator[MaskStep | TextStep | Answer]:
        """Answers a prompt, greedily. Several threads may be answered at the same time.

        Args:
            picture: from `look`.
            prompt_ids: from `prompt_ids`.
            max_new_tokens: the answer is cut there.
            cancelled: asked before every token; when true, the answer ends there.
            mask_only: put MASK_ONLY_ANSWER into the model's mouth: one mask, always, and no word of the model's own.
            pointing: points and boxes that shape every mask beside its `[SEG]`.

        Yields:
            A step for every token, masks as soon as their `[SEG]` is said (the first MAX_MASKS); the Answer last.

        Raises:
            PromptTooLongError: prompt, picture and answer do not fit into the context.
        """
        forced = self._forced(MASK_ONLY_ANSWER) if mask_only else None
        wanted = len(forced) if forced else max_new_tokens
        if (room := self.room(prompt_ids, picture)) < wanted:
            raise PromptTooLongError(f"the prompt leaves {room} tokens for an answer of up to {wanted}")
        with picture.expecting_masks():
            reading = self.reader.begin(picture, prompt_ids)
            said = self._force(reading, forced) if forced else self._greedy(reading, wanted)
            with self.reader.batcher.present():
                yield from self._tell(picture, prompt_ids, said, wanted, cancelled, pointing)

    def _tell(
        self,
        picture: EncodedImage,
        prompt_ids: Sequence[int],
        said: Iterator[Step],
        longest: int,
        cancelled: Callable[[], bool],
        pointing: Pointing,
    ) -> Iterator[MaskStep | TextStep | Answer]:
        """What was said, as `answer` yields it."""
        ids: list[int] = []
        log_probs: list[torch.Tensor] = []
        masks = 0
        reason: Literal["end", "length", "cancelled"] = "cancelled"
        while not cancelled() and (step := next(said, None)) is not None:
            token, state, log_prob = step
            ids.append(token)
            log_probs.append(log_prob)
            masks += token == self.config.seg_token_id
            if token == self.config.seg_token_id and masks <= MAX_MASKS:
                with self.reader.batcher.away():
                    logits = picture.mask_logits(state, pointing)
                least = float(torch.stack(log_probs).min())
                yield MaskStep(logits.full, logits.coarse, self.tokenizer.decode_answer(ids), least)
            elif token != self.tokenizer.eos_token_id:
                yield TextStep(self.tokenizer.decode_answer(ids))
            if token == self.tokenizer.eos_token_id or len(ids) == longest:
                reason = "end" if token == self.tokenizer.eos_token_id else "length"
                break
        yield Answer(self.tokenizer.decode_answer(ids), tuple(prompt_ids), tuple(ids), reason)

    def room(self, prompt_ids: Sequence[int], picture: EncodedImage) -> int:
        """Tokens of the context that a prompt leaves for its answer; negative where the prompt itself is too long."""
        prompt = len(prompt_ids) - 1 + len(picture.visual_tokens())  # the picture's id gives way to its tokens
        return self.config.language.max_position_embeddings - prompt

    def heed(self, likeliest: list[int], said: Sequence[int]) -> list[int]:
        """What is said of what is likeliest; a measurement with random weights has an answer of its own here.

        Args:
            likeliest: the ids after what was said, and after each id that was guessed to follow.
            said: the answer so far.
        """
        return likeliest

    def _greedy(self, reading: Reading, longest: int) -> Iterator[Step]:
        """The likeliest answer, up to and with `</s>`, guesses verified in one step.

        The state that predicts a `[SEG]` is its embedding, so nothing is computed again for a mask.
        """
        said: list[int] = []
        while True:
            draft = self.drafts.guess(said, longest - len(said) - 1)
            outcome = reading.read([*said[-1:], *draft])
            tokens = self.heed(outcome.tokens, said)
            right = next((i for i, guess in enumerate(draft) if guess != tokens[i]), len(draft))
            reading.unread(len(draft) - right)
            for i in range(right + 1):
                said.append(tokens[i])
                ended = tokens[i] == self.tokenizer.eos_token_id or len(said) == longest
                if ended:
                    self.drafts.remember(said)
                    reading.keep(said)
                yield tokens[i], outcome.states[i : i + 1], outcome.log_probs[i]
                if ended:
                    return

    def _forced(self, answer: str) -> list[int]:
        return [*self.tokenizer.encode(answer), self.tokenizer.eos_token_id]

    def _force(self, reading: Reading, ids: Sequence[int]) -> Iterator[Step]:
        """An answer put into the model's mouth, read no further than its last `[SEG]` needs."""
        last = max(i for i, token in enumerate(ids) if token == self.config.seg_token_id)
        states = reading.read(ids[:last]).states
        reading.keep(ids[:last])
        with torch.inference_mode():
            log_probs = self.network.lm_head(states).float().log_softmax(-1)
        for i, token in enumerate(ids):
            place = min(i, last)
            yield token, states[place : place + 1], log_probs[place, token]
