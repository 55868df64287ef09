# SPDX-License-Identifier: Apache-2.0
"""The decoding step for one token in fixed memory, so that a GPU can replay it as one CUDA graph.

Decoding one token of one answer is bound by reading the weights, unless launching hundreds of kernels takes longer. A
CUDA graph launches all of them at once, but everything in it must stay at its address: the KV cache, the token's
embedding, its position. One answer at a time moves its cache into that memory; other answers, and steps of
several tokens, go through RaggedLlama.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from lisa_ros.models.common.language.llama import KVCache, StepOutput, most_likely

CAPACITY = 768
"""Positions of the fixed cache: a first prompt takes 300 to 350. An answer that outgrows it moves out."""

_WARM_UPS = 3
"""Steps before a capture, for what kernels initialize on their first run (torch's notes on CUDA graphs)."""


class StaticStep:
    """LLaMA's step for one token of one row, captured as a graph where the device has graphs.

    Attributes:
        nbytes: memory of the fixed cache and of the captured graph, bytes.
    """

    def __init__(self, language: Any, lm_head: Any, cache: KVCache) -> None:
        """Takes a LlamaModel, its output layer, and an empty cache of CAPACITY positions, which stays where it is."""
        self._language, self._lm_head = language, lm_head
        self._cache = cache
        cache.reset()
        weight = language.norm.weight
        self._embedding = torch.zeros(1, 1, weight.shape[0], dtype=weight.dtype, device=weight.device)
        self._position = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self._positions = torch.arange(cache.capacity, device=weight.device)
        self._occupant: weakref.ref[KVCache] | None = None
        self._graph: Any = None
        self._state = self._token = self._log_prob = self._position
        self.nbytes = cache.nbytes
        if weight.is_cuda:
            before = torch.cuda.memory_reserved(weight.device)
            self._capture()
            self.nbytes += max(0, torch.cuda.memory_reserved(weight.device) - before)

    def adopt(self, cache: KVCache) -> bool:
        """Moves a row's cache into the fixed memory, if it fits and no other row is there.

        Returns:
            whether the cache is there, from now on or already.
        """
        occupant = self._occupant() if self._occupant else None
        if occupant is cache:
            return cache.shares_memory_with(self._cache) and cache.length < self._cache.capacity
        occupied = occupant is not None and occupant.shares_memory_with(self._cache)
        if occupied or cache.length >= self._cache.capacity:
            return False
        cache.move_into(self._cache)
        self._occupant = weakref.ref(cache)
        return True

    def step(self, cache: KVCache, embedding: torch.Tensor) -> StepOutput:
        """Runs the row whose cache was adopted over one token's embedding (1, hidden)."""
        self._embedding.copy_(embedding.unsqueeze(0))
        self._position.fill_(cache.length)
        if self._graph is not None:
            self._graph.replay()
        else:
            self._compute()
        output = StepOutput(self._state.clone(), self._token.tolist(), self._log_prob.clone())
        cache.length += 1
        return output

    def _capture(self) -> None:
        stream = torch.cuda.Stream(self._embedding.device)
        stream.wait_stream(torch.cuda.current_stream(self._embedding.device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self._compute()
        torch.cuda.current_stream(self._embedding.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # thread_local: CUDA calls of other threads (a tracker, another model's encoder) do not break the capture.
        with torch.inference_mode(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._compute()
        self._graph = graph

    def _compute(self) -> None:
        hidden = self._embedding
        rotary = self._language.rotary_emb(hidden, self._position.unsqueeze(0))
        mask = (self._positions <= self._position).view(1, 1, 1, -1)
        for index, layer in enumerate(self._language.layers):
            hidden = hidden + self._attend(index, layer.self_attn, layer.input_layernorm(hidden), rotary, mask)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        self._state = self._language.norm(hidden)[0]
        self._token, self._log_prob = most_likely(self._lm_head(self._state))

    def _attend(
        self,
        index: int,
        attention: Any,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        mask: torch.Tensor,
    ) -> torch.Tensor:
        shape = (1, 1, -1, attention.head_dim)
        queries, keys = (part(hidden).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj))
        values = attention.v_proj(hidden).view(shape).transpose(1, 2)
        queries, keys = apply_rotary_pos_emb(queries, keys, *rotary)
        all_keys, all_values = self._cache.write_at(index, self._position, keys[0], values[0])
        out = F.scaled_dot_product_attention(
            queries,
            all_keys.unsqueeze(0),
            all_values.unsqueeze(0),
            attn_mask=mask,
            scale=attention.scaling,
            enable_gqa=keys.shape[1] != queries.shape[1],
        )
        return attention.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def static_step(language: Any, lm_head: Any, cache: KVCache) -> StaticStep | None:
    """The step, or None where the device cannot capture it: decoding is slower then, and the log says why."""
    try:
        return StaticStep(language, lm_head, cache)
    except RuntimeError:
        logging.getLogger(__name__).warning("The decoding step could not be captured as a CUDA graph.", exc_info=True)
        return None
