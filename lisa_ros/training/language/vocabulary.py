# SPDX-License-Identifier: Apache-2.0
"""A small tokenizer.model of LLaMA's kind, trained on the language of the table."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

from lisa_ros.models.lisa.configuration import IMAGE_END_TOKEN, IMAGE_START_TOKEN, SEG_TOKEN
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.tabletop.questions.corpus import tokenizer_corpus

PIECES = 765
"""With the three added tokens: 768, a multiple of 64."""


def added_tokens() -> dict[str, int]:
    """The 13B checkpoints' layout: `[SEG]` first."""
    return {token: PIECES + i for i, token in enumerate((SEG_TOKEN, IMAGE_START_TOKEN, IMAGE_END_TOKEN))}


def train_tokenizer(model_file: Path) -> LisaTokenizer:
    """Trains and writes a sentencepiece model with LLaMA's settings (BPE, byte fallback, nothing normalized).

    The words of the corpus are there, and of the templates; any other text is spelled in letters or bytes.
    """
    system = [template.render([("", "")]) for template in TEMPLATES.values()]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*tokenizer_corpus(), *system * 200]),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        split_digits=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    model_file.parent.mkdir(parents=True, exist_ok=True)
    model_file.write_bytes(model.getvalue())
    return LisaTokenizer(model_file, added_tokens())
