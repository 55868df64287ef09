# SPDX-License-Identifier: Apache-2.0
"""LLaMA's forward pass over rows of different lengths, each with a key-value cache of its own.

The words of all rows go through the linear layers as one flat sequence, so that the weights are read once for all of
them; attention goes row by row, so that there is no padding. The layers are transformers' own, quantized or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

GROWTH = 1.5
"""A cache that is full gets this many times its room."""


class RowCache:
    """Keys and values of one row: LLaMA's memory of the `length` positions that it has read.

    Attributes:
        length: positions read.
    """

    def __init__(self, buffer: torch.Tensor, length: int = 0) -> None:
        """Takes (layers, 2, key-value heads, room, head width), filled up to `length`."""
        self._buffer, self.length = buffer, length

    @property
    def room(self) -> int:
        """Positions that there is memory for."""
        return self._buffer.shape[3]

    @property
    def nbytes(self) -> int:
        """Memory taken, bytes."""
        return self._buffer.numel() * self._buffer.element_size()

    @property
    def position_bytes(self) -> int:
        """Memory that one position takes, bytes."""
        return self.nbytes // self.room

    def reserve(self, count: int) -> None:
        """Makes room for `count` more positions."""
        wanted = self.length + count
        if wanted > self.room:
            self._buffer = self._roomier(self.length, max(wanted, int(GROWTH * self.room)))

    def copy(self, length: int, room: int) -> RowCache:
        """The first `length` positions in a cache of their own, with room for `room`."""
        return RowCache(self._roomier(length, room), length)

    def blank(self) -> None:
        """Zeros in all of the memory: what no memory may hold is NaN, which a mask does not hide."""
        self._buffer.zero_()
        self.length = 0

    def crop(self, length: int) -> None:
        """Forgets what stands at `length` and after."""
        self.length = min(self.length, length)

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a layer's new keys and values, (heads, new, width) each, behind the `length` known ones.

        Returns:
            the layer's keys and values with the new ones, (heads, length + new, width), views of the cache.
        """
        end = self.length + keys.shape[1]
        self._buffer[layer, 0, :, self.length : end] = keys
        self._buffer[layer, 1, :, self.length : end] = values
        return self._buffer[layer, 0, :, :end], self._buffer[layer, 1, :, :end]

    def put_at(
        self, layer: int, position: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As put, for one position (1,) that only the device knows; returns all the room, known or not."""
        self._buffer[layer, 0].index_copy_(1, position, keys)
        self._buffer[layer, 1].index_copy_(1, position, values)
        return self._buffer[layer, 0], self._buffer[layer, 1]

    def move_to(self, other: RowCache) -> None:
        """Goes on in the memory of another cache, whose own content is lost."""
        other._buffer[:, :, :, : self.length] = self._buffer[:, :, :, : self.length]
        self._buffer = other._buffer

    def lies_in(self, other: RowCache) -> bool:
        """Whether it is in the memory of another cache, see move_to."""
        return self._buffer is other._buffer

    def _roomier(self, length: int, room: int) -> torch.Tensor:
        layers, two, heads, _, width = self._buffer.shape
        larger = self._buffer.new_empty((layers, two, heads, room, width))
        larger[:, :, :, :length] = self._buffer[:, :, :, :length]
        return larger


@dataclass(frozen=True)
class Row:
    """What one row is to read in a step.

    Attributes:
        cache: what it has read; grows by what is read.
        inputs: (new, hidden) embeddings that follow on it, one or more.
        wanted: for how many of the new positions, the last ones, the outcome is wanted.
    """

    cache: RowCache
    inputs: torch.Tensor
    wanted: int


@dataclass(frozen=True)
class Outcome:
    """What came of the wanted positions of a row.

    Attributes:
        states: (wanted, hidden), after LLaMA's last norm.
        tokens: the likeliest id after each; nothing where LLaMA has no output layer.
        log_probs: (wanted,) float32, the logarithms of those ids' probabilities; still on the device, since a mask
            asks for them, and not every word.
    """

    states: torch.Tensor
    tokens: list[int]
    log_probs: torch.Tensor


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest ids (n,) by (n, vocabulary) logits, and the logarithms of their probabilities, (n,) float32."""
    logits = logits.float()
    ids = logits.argmax(-1)  # not max: of equally likely ids it may take another
    return ids, logits.gather(-1, ids.unsqueeze(-1))[:, 0] - logits.logsumexp(-1)


class RaggedLlama:
    """transformers' LlamaModel and its output layer, read in rows."""

    def __init__(self, language: Any, lm_head: Any) -> None:
        """Takes a LlamaModel and its output layer, None where no word is asked for; they are used where they are."""
        self._language, self._lm_head = language, lm_head
        self._config = language.config

    def empty_cache(self, room: int) -> RowCache:
        """A cache of nothing, with room for `room` positions."""
        config, weight = self._config, self._language.norm.weight
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, 2, config.num_key_value_heads, room, width)
        return RowCache(torch.empty(shape, dtype=weight.dtype, device=weight.device))

    def read(self, rows: Sequence[Row]) -> list[Outcome]:
        """Reads on in every row."""
        counts = [len(row.inputs) for row in rows]
        hidden = self._states(rows, counts)
        wanted = [row.wanted for row in rows]
        tails = [states[len(states) - row.wanted :] for states, row in zip(hidden.split(counts), rows, strict=True)]
        states = self._language.norm(torch.cat(tails))
        if self._lm_head is None or not len(states):
            return [Outcome(mine, [], mine.new_empty(0, dtype=torch.float32)) for mine in states.split(wanted)]
        ids, log_probs = likeliest(self._lm_head(states))
        tokens = ids.tolist()
        ends = [sum(wanted[: i + 1]) for i in range(len(rows))]
        parts = zip(states.split(wanted), log_probs.split(wanted), ends, strict=True)
        return [Outcome(mine, tokens[end - len(mine) : end], own) for mine, own, end in parts]

    def _states(self, rows: Sequence[Row], counts: Sequence[int]) -> torch.Tensor:
        """What comes out of the last layer, (all new, hidden)."""
        caches = [row.cache for row in rows]
        for cache, count in zip(caches, counts, strict=True):
            cache.reserve(count)
        hidden = torch.cat([row.inputs for row in rows]).unsqueeze(0)
        spans = [torch.arange(cache.length, cache.length + n) for cache, n in zip(caches, counts, strict=True)]
        turns = self._language.rotary_emb(hidden, torch.cat(spans).unsqueeze(0).to(hidden.device))
        masks = [_causal(cache.length, count, hidden.device) for cache, count in zip(caches, counts, strict=True)]
        for index, layer in enumerate(self._language.layers):
            hidden = hidden + self._attend(index, layer, layer.input_layernorm(hidden), turns, caches, counts, masks)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        for cache, count in zip(caches, counts, strict=True):
            cache.length += count
        return hidden[0]

    def _attend(
        self,
        index: int,
        layer: Any,
        hidden: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        caches: Sequence[RowCache],
        counts: Sequence[int],
        masks: Sequence[torch.Tensor | None],
    ) -> torch.Tensor:
        """One layer's attention over all rows: (1, all new, hidden) -> the same shape."""
        attention = layer.self_attn
        shape = (1, hidden.shape[1], -1, attention.head_dim)
        queries, keys = (part(hidden).view(shape).transpose(1, 2) for part in (attention.q_proj, attention.k_proj))
        values = attention.v_proj(hidden).view(shape).transpose(1, 2)[0]
        queries, keys = (turned[0] for turned in apply_rotary_pos_emb(queries, keys, *turns))
        seen, start = [], 0
        for cache, count, mask in zip(caches, counts, masks, strict=True):
            new = slice(start, start + count)
            known = cache.put(index, keys[:, new], values[:, new])
            seen.append(_look_back(queries[:, new], *known, mask, attention.scaling))
            start += count
        return attention.o_proj(torch.cat(seen).unsqueeze(0))  # type: ignore[no-any-return]


def _causal(known: int, new: int, device: torch.device) -> torch.Tensor | None:
    """Which of all positions each new one may see, (new, known + new); None where a rule says it without a mask."""
    if new == 1 or known == 0:
        return None
    return torch.ones(new, known + new, dtype=torch.bool, device=device).tril(known)


def _look_back(
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
