# SPDX-License-Identifier: Apache-2.0
"""LLaMA's forward pass over rows of different lengths, each with a key-value cache of its own.

The tokens of all rows go through the linear layers as one flat sequence, so the weights are read once for all rows.
Attention is computed row by row, so there is no padding. The layers are transformers' own, quantized or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

GROWTH = 1.5
"""A full cache is replaced by one with this many times its capacity."""


class KVCache:
    """Keys and values of one row.

    Attributes:
        length: positions that are filled.
    """

    def __init__(self, buffer: torch.Tensor, length: int = 0) -> None:
        """Takes a buffer of shape (layers, 2, key-value heads, capacity, head width), filled up to `length`."""
        self._buffer, self.length = buffer, length

    @property
    def capacity(self) -> int:
        """Positions that there is memory for."""
        return self._buffer.shape[3]

    @property
    def nbytes(self) -> int:
        """Memory of the whole buffer, bytes."""
        return self._buffer.numel() * self._buffer.element_size()

    @property
    def position_bytes(self) -> int:
        """Memory of one position, bytes."""
        return self.nbytes // self.capacity

    def capacity_for(self, count: int) -> int:
        """The capacity, positions, that the cache has after `reserve(count)`."""
        needed = self.length + count
        return self.capacity if needed <= self.capacity else max(needed, int(GROWTH * self.capacity))

    def reserve(self, count: int) -> None:
        """Allocates memory for `count` more positions where it is missing."""
        capacity = self.capacity_for(count)
        if capacity > self.capacity:
            self._buffer = self._copied(self.length, capacity)

    def copy(self, length: int, capacity: int) -> KVCache:
        """The first `length` positions in a cache of their own, with memory for `capacity` positions."""
        return KVCache(self._copied(length, capacity), length)

    def reset(self) -> None:
        """Empties the cache and fills its memory with zeros: a NaN in unused memory would pass an attention mask."""
        self._buffer.zero_()
        self.length = 0

    def crop(self, length: int) -> None:
        """Drops the positions from `length` on."""
        self.length = min(self.length, length)

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a layer's new keys and values, (heads, new, width) each, behind the first `length` positions.

        `length` stays as it is: it grows once all layers are written.

        Returns:
            the layer's keys and values with the new ones, (heads, length + new, width), views of the cache.
        """
        end = self.length + keys.shape[1]
        self._buffer[layer, 0, :, self.length : end] = keys
        self._buffer[layer, 1, :, self.length : end] = values
        return self._buffer[layer, 0, :, :end], self._buffer[layer, 1, :, :end]

    def write_at(
        self, layer: int, position: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As append, for one position (1,) whose value only the device knows; returns the whole buffer of the layer."""
        self._buffer[layer, 0].index_copy_(1, position, keys)
        self._buffer[layer, 1].index_copy_(1, position, values)
        return self._buffer[layer, 0], self._buffer[layer, 1]

    def move_into(self, other: KVCache) -> None:
        """Copies the positions into another cache's buffer, whose content is lost, and uses that buffer from now on."""
        other._buffer[:, :, :, : self.length] = self._buffer[:, :, :, : self.length]
        self._buffer = other._buffer

    def shares_memory_with(self, other: KVCache) -> bool:
        """Whether both use one buffer, see move_into."""
        return self._buffer is other._buffer

    def _copied(self, length: int, capacity: int) -> torch.Tensor:
        layers, two, heads, _, width = self._buffer.shape
        larger = self._buffer.new_empty((layers, two, heads, capacity, width))
        larger[:, :, :, :length] = self._buffer[:, :, :, :length]
        return larger


@dataclass(frozen=True, eq=False)
class Row:
    """The input of one row in a step.

    Attributes:
        cache: of the positions before; grows by the new ones.
        inputs: (new, hidden) embeddings of the new positions, one or more.
        outputs: the number of positions, counted from the end, whose output is needed.
    """

    cache: KVCache
    inputs: torch.Tensor
    outputs: int


@dataclass(frozen=True, eq=False)
class StepOutput:
    """The output of one row in a step.

    Attributes:
        states: (outputs, hidden), after LLaMA's last norm.
        tokens: the most likely next id at each position; empty where LLaMA has no output layer.
        log_probs: (outputs,) float32, log-probabilities of those ids. They stay on the device: only masks need them.
    """

    states: torch.Tensor
    tokens: list[int]
    log_probs: torch.Tensor


def most_likely(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The most likely ids (n,) for (n, vocabulary) logits, and their log-probabilities, (n,) float32."""
    logits = logits.float()
    ids = logits.argmax(-1)  # not max: among equally likely ids it may return another one
    return ids, logits.gather(-1, ids.unsqueeze(-1))[:, 0] - logits.logsumexp(-1)


class RaggedLlama:
    """transformers' LlamaModel and its output layer, run over rows of different lengths."""

    def __init__(self, language: Any, lm_head: Any) -> None:
        """Takes a LlamaModel and its output layer (None where no token is generated); both stay where they are."""
        self._language, self._lm_head = language, lm_head
        self._config = language.config

    def cache_bytes(self, capacity: int) -> int:
        """Memory of a cache with that capacity, bytes."""
        return torch.Size(self._cache_shape(capacity)).numel() * int(self._language.norm.weight.element_size())

    def empty_cache(self, capacity: int) -> KVCache:
        """An empty cache with memory for `capacity` positions."""
        weight = self._language.norm.weight
        return KVCache(torch.empty(self._cache_shape(capacity), dtype=weight.dtype, device=weight.device))

    def _cache_shape(self, capacity: int) -> tuple[int, ...]:
        config = self._config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return (config.num_hidden_layers, 2, config.num_key_value_heads, capacity, width)

    def step(self, rows: Sequence[Row]) -> list[StepOutput]:
        """Runs every row over its new positions.

        The caches grow only when everything is computed, so a step that failed can be computed again.
        """
        counts = [len(row.inputs) for row in rows]
        outputs = self._outputs(rows, self._hidden(rows, counts).split(counts))
        for row, count in zip(rows, counts, strict=True):
            row.cache.length += count
        return outputs

    def _outputs(self, rows: Sequence[Row], hidden: Sequence[torch.Tensor]) -> list[StepOutput]:
        outputs = [row.outputs for row in rows]
        tails = [states[len(states) - row.outputs :] for states, row in zip(hidden, rows, strict=True)]
        states = self._language.norm(torch.cat(tails))
        if self._lm_head is None or not len(states):
            return [StepOutput(own, [], own.new_empty(0, dtype=torch.float32)) for own in states.split(outputs)]
        ids, log_probs = most_likely(self._lm_head(states))
        tokens = ids.tolist()
        ends = [sum(outputs[: i + 1]) for i in range(len(rows))]
        parts = zip(states.split(outputs), log_probs.split(outputs), ends, strict=True)
        return [StepOutput(own, tokens[end - len(own) : end], likely) for own, likely, end in parts]

    def _hidden(self, rows: Sequence[Row], counts: Sequence[int]) -> torch.Tensor:
        """The output of the last layer, (all new positions, hidden)."""
        caches = [row.cache for row in rows]
        for cache, count in zip(caches, counts, strict=True):
            cache.reserve(count)
        hidden = torch.cat([row.inputs for row in rows]).unsqueeze(0)
        spans = [torch.arange(cache.length, cache.length + n) for cache, n in zip(caches, counts, strict=True)]
        rotary = self._language.rotary_emb(hidden, torch.cat(spans).unsqueeze(0).to(hidden.device))
        masks = [_causal(cache.length, count, hidden.device) for cache, count in zip(caches, counts, strict=True)]
        for index, layer in enumerate(self._language.layers):
            hidden = hidden + self._attend(index, layer, layer.input_layernorm(hidden), rotary, caches, counts, masks)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return hidden[0]

    def _attend(
        self,
        index: int,
        layer: Any,
        hidden: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        caches: Sequence[KVCache],
        counts: Sequence[int],
        masks: Sequence[torch.Tensor | None],
    ) -> torch.Tensor:
        """One layer's attention over all rows: (1, all new positions, hidden) -> the same shape."""
        attention = layer.self_attn
        shape = (1, hidden.shape[1], -1, attention.head_dim)
        queries, keys = (part(hidden).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj))
        values = attention.v_proj(hidden).view(shape).transpose(1, 2)[0]
        queries, keys = (rotated[0] for rotated in apply_rotary_pos_emb(queries, keys, *rotary))
        attended, start = [], 0
        for cache, count, mask in zip(caches, counts, masks, strict=True):
            new = slice(start, start + count)
            all_keys, all_values = cache.append(index, keys[:, new], values[:, new])
            attended.append(_row_attention(queries[:, new], all_keys, all_values, mask, attention.scaling))
            start += count
        return attention.o_proj(torch.cat(attended).unsqueeze(0))  # type: ignore[no-any-return]


def _causal(known: int, new: int, device: torch.device) -> torch.Tensor | None:
    """Which of all positions each new one attends to, (new, known + new) bool; None where no mask is needed for it."""
    if new == 1 or known == 0:
        return None
    return torch.ones(new, known + new, dtype=torch.bool, device=device).tril(known)


def _row_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """One row's attention: (heads, new, width) queries on (key-value heads, all, width) -> (new, heads * width)."""
    from_start = mask is None and queries.shape[1] > 1
    out = F.scaled_dot_product_attention(
        queries.unsqueeze(0),
        keys.unsqueeze(0),
        values.unsqueeze(0),
        attn_mask=mask,
        is_causal=from_start,
        scale=scale,
        enable_gqa=len(keys) != len(queries),
    )
    return out[0].transpose(0, 1).flatten(1)
