# SPDX-License-Identifier: Apache-2.0
"""A word's step on fixed memory, so that a GPU can replay it as one graph instead of being told hundreds of kernels.

Decoding one word of one answer is bound by the reading of the weights, if only the launches do not take longer than
that. A CUDA graph launches all of them at once, but everything in it must stay where it is: the cache, the word, its
position. One answer at a time moves into that memory; others, and steps of several words, go RaggedLlama's way.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from lisa_ros.models.common.language.llama import Outcome, RowCache, likeliest

ROOM = 768
"""Positions of the fixed cache: a first prompt takes 300 to 350. An answer that outgrows it moves out."""

_WARM_UPS = 3
"""Steps before a capture, for what kernels set up when they first run (torch's CUDA graph notes)."""


class StaticStep:
    """LLaMA's step for one word of one row, captured as a graph where the device has graphs."""

    def __init__(self, language: Any, lm_head: Any, cache: RowCache) -> None:
        """Takes a LlamaModel, its output layer, and an empty cache of ROOM positions, which stays where it is."""
        self._language, self._lm_head = language, lm_head
        self._cache = cache
        cache.blank()
        weight = language.norm.weight
        self._word = torch.zeros(1, 1, weight.shape[0], dtype=weight.dtype, device=weight.device)
        self._position = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self._places = torch.arange(cache.room, device=weight.device)
        self._guest: weakref.ref[RowCache] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._state = self._likeliest = self._log_prob = self._position
        if weight.is_cuda:
            self._capture()

    def take_in(self, cache: RowCache) -> bool:
        """Moves a row's cache here, if there is room and no other row is here.

        Returns:
            whether it is here, from now on or already.
        """
        guest = self._guest() if self._guest else None
        if guest is cache:
            return cache.lies_in(self._cache) and cache.length < self._cache.room
        if (guest is not None and guest.lies_in(self._cache)) or cache.length >= self._cache.room:
            return False
        cache.move_to(self._cache)
        self._guest = weakref.ref(cache)
        return True

    def read(self, cache: RowCache, word: torch.Tensor) -> Outcome:
        """Reads one word's embedding (1, hidden) in the row that was taken in."""
        self._word.copy_(word.unsqueeze(0))
        self._position.fill_(cache.length)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._compute()
        cache.length += 1
        return Outcome(self._state.clone(), self._likeliest.tolist(), self._log_prob.clone())

    def _capture(self) -> None:
        stream = torch.cuda.Stream(self._word.device)
        stream.wait_stream(torch.cuda.current_stream(self._word.device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._compute()
        torch.cuda.current_stream(self._word.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            self._compute()
        self._graph = graph

    def _compute(self) -> None:
        hidden = self._word
        turns = self._language.rotary_emb(hidden, self._position.unsqueeze(0))
        seen = (self._places <= self._position).view(1, 1, 1, -1)
        for index, layer in enumerate(self._language.layers):
            hidden = hidden + self._attend(index, layer.self_attn, layer.input_layernorm(hidden), turns, seen)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        self._state = self._language.norm(hidden)[0]
        self._likeliest, self._log_prob = likeliest(self._lm_head(self._state))

    def _attend(
        self,
        index: int,
        attention: Any,
        hidden: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        seen: torch.Tensor,
    ) -> torch.Tensor:
        shape = (1, 1, -1, attention.head_dim)
        queries, keys = (part(hidden).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj))
        values = attention.v_proj(hidden).view(shape).transpose(1, 2)
        queries, keys = apply_rotary_pos_emb(queries, keys, *turns)
        known_keys, known_values = self._cache.put_at(index, self._position, keys[0], values[0])
        out = F.scaled_dot_product_attention(
            queries,
            known_keys.unsqueeze(0),
            known_values.unsqueeze(0),
            attn_mask=seen,
            scale=attention.scaling,
            enable_gqa=keys.shape[1] != queries.shape[1],
        )
        return attention.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def static_step(language: Any, lm_head: Any, cache: RowCache) -> StaticStep | None:
    """The step, or None where the device cannot capture it, which costs time, and is logged."""
    try:
        return StaticStep(language, lm_head, cache)
    except RuntimeError:
        logging.getLogger(__name__).warning("The decoding step could not be captured as a CUDA graph.", exc_info=True)
        return None
