# SPDX-License-Identifier: Apache-2.0
"""LISA at work: look at a picture once, then answer commands about it word by word, with masks as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.preprocessing import ClipPreprocessing, check_image, sam_pixels
from lisa_ros.models.lisa.prompt import Exchange, Template, build_prompt, neutralize
from lisa_ros.models.lisa.tokenizer import LisaTokenizer

MAX_MASKS = 64
"""Masks decoded for one answer. A model gone astray says `[SEG]` to the end, and each mask takes a picture's memory."""


class PromptTooLongError(ValueError):
    """A prompt does not fit into the model's context; the text says by how much."""


@dataclass(frozen=True)
class MaskStep:
    """The model has said `[SEG]`.

    Attributes:
        logits: (H, W) float32, size of the picture; the mask is logits > 0.
        answer: the answer so far, this `[SEG]` last.
    """

    logits: NDArray[np.float32]
    answer: str


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


class Picture:
    """A picture, and what it costs to look at, paid once and when first needed. Safe to share between threads."""

    def __init__(self, image: NDArray[np.uint8], network: LisaNetwork, clip: ClipPreprocessing) -> None:
        """Takes an RGB uint8 (H, W, 3) image; nothing is computed yet."""
        check_image(image)
        self._image, self._network, self._clip = image, network, clip
        self._lock = threading.Lock()
        self._visual_tokens: torch.Tensor | None = None
        self._sam: tuple[torch.Tensor, tuple[int, int]] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        height, width = self._image.shape[:2]
        return height, width

    def visual_tokens(self) -> torch.Tensor:
        """What LLaMA sees: (patches, hidden)."""
        with self._lock, torch.inference_mode():
            if self._visual_tokens is None:
                self._visual_tokens = self._network.visual_tokens(self._clip(self._image))[0]
            return self._visual_tokens

    def mask_logits(self, state: torch.Tensor) -> NDArray[np.float32]:
        """Mask logits (H, W) for the state (1, hidden) that said `[SEG]`."""
        with self._lock, torch.inference_mode():
            if self._sam is None:
                pixels, resized = sam_pixels(self._image, self._network.image_size)
                self._sam = self._network.sam_features(pixels), resized
            features, resized = self._sam
            logits = self._network.upsample(self._network.mask_logits(state, features), resized, self.size)
            out: NDArray[np.float32] = logits[0].cpu().numpy()
            return out


class Lisa:
    """A loaded LISA. `look` is dear and once per picture, `answer` is cheap and often."""

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
    ) -> None:
        """Made by load_lisa."""
        self.network, self.config, self.tokenizer, self.name = network, config, tokenizer, name
        self._template, self._clip = template, clip
        self._control_texts = (*tokenizer.control_texts, *template.markers)
        # A model can be talked into spelling these out; its own added tokens, `[SEG]` above all, stay tokens.
        self._answer_controls = tuple(text for text in self._control_texts if text not in config.added_tokens)

    def look(self, image: NDArray[np.uint8]) -> Picture:
        """A picture to ask about: RGB uint8 (H, W, 3)."""
        return Picture(image, self.network, self._clip)

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
        prompt = build_prompt(self._template, exchanges, wrap_image=self.config.wrap_image)
        return self.tokenizer.encode_prompt(prompt)

    def answer(
        self,
        picture: Picture,
        command: str,
        history: Sequence[Exchange] = (),
        *,
        max_new_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[MaskStep | TextStep | Answer]:
        """Answers a command, greedily.

        Args:
            picture: from `look`.
            command: what the operator typed.
            history: earlier commands about it and the raw answers.
            max_new_tokens: the answer is cut there.
            cancelled: asked before every token; when true, the answer ends there.

        Yields:
            A step for every token, masks as soon as their `[SEG]` is said (the first MAX_MASKS); the Answer last.

        Raises:
            PromptTooLongError: prompt, picture and answer do not fit into the context.
        """
        prompt_ids = self.prompt_ids(command, history)
        room = self._room(prompt_ids, picture)
        if room < max_new_tokens:
            raise PromptTooLongError(f"the prompt leaves {room} tokens for an answer of up to {max_new_tokens}")
        visual = picture.visual_tokens()
        generated: list[int] = []
        masks = 0
        reason: Literal["end", "length", "cancelled"] = "length"
        for token, state in self._greedy(prompt_ids, visual, max_new_tokens, cancelled):
            generated.append(token)
            masks += token == self.config.seg_token_id
            if token == self.config.seg_token_id and masks <= MAX_MASKS:
                yield MaskStep(picture.mask_logits(state), self.tokenizer.decode_answer(generated))
            elif token == self.tokenizer.eos_token_id:
                reason = "end"
            else:
                yield TextStep(self.tokenizer.decode_answer(generated))
        if reason == "length" and len(generated) < max_new_tokens:
            reason = "cancelled"
        text = self.tokenizer.decode_answer(generated)
        yield Answer(text, tuple(prompt_ids), tuple(generated), reason)

    def room(self, picture: Picture, command: str, history: Sequence[Exchange] = ()) -> int:
        """Tokens of the context that a prompt leaves for its answer; negative where the prompt itself is too long."""
        return self._room(self.prompt_ids(command, history), picture)

    def _room(self, prompt_ids: Sequence[int], picture: Picture) -> int:
        prompt = len(prompt_ids) - 1 + len(picture.visual_tokens())  # the picture's id gives way to its tokens
        return self.config.language.max_position_embeddings - prompt

    def _greedy(
        self,
        prompt_ids: list[int],
        visual: torch.Tensor,
        max_new_tokens: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields (token, the state (1, hidden) that said it) up to and with `</s>`.

        The state that predicts a `[SEG]` is its embedding, so nothing is computed again for a mask.
        """
        network = self.network
        cache = DynamicCache(config=self.config.language)
        ids = torch.tensor(prompt_ids, device=network.device)
        with torch.inference_mode():
            inputs = network.embed(ids, visual)
        for _ in range(max_new_tokens):
            if cancelled():
                return
            with torch.inference_mode():
                out = network.language(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
                state = out.last_hidden_state[:, -1]
                token = int(network.lm_head(state).float().argmax(-1))
            yield token, state
            if token == self.tokenizer.eos_token_id:
                return
            with torch.inference_mode():
                inputs = network.language.embed_tokens(torch.tensor([[token]], device=network.device))
