# SPDX-License-Identifier: Apache-2.0
"""A LLaMA of toy size with random weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import torch
from transformers import LlamaConfig, LlamaModel

from lisa_ros.models.common.image_handle import new_number

HIDDEN, VOCABULARY = 32, 50


def tiny_llama() -> tuple[LlamaModel, torch.nn.Linear]:
    """A LlamaModel and an output layer; the same weights in every call."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaModel(config).eval(), torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)


def tiny_network() -> SimpleNamespace:
    """What an Engine needs of a network."""
    language, head = tiny_llama()
    return SimpleNamespace(language=language, lm_head=head, device=torch.device("cpu"))


class FakeImage:
    """An image in a prompt, without pixels."""

    def __init__(self) -> None:
        self.number = new_number()
        self.prefill_lock = threading.Lock()

    def when_gone(self, callback: Callable[[int], None], number: int) -> None:
        """Never gone."""
