# SPDX-License-Identifier: Apache-2.0
"""LIRA's tokens: ids and texts of the public implementation's tokenizer, and what no operator can type."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from lisa_ros.models.common.prompt_text import neutralize
from lisa_ros.models.lira.configuration import read_configuration
from lisa_ros.models.lira.tokenizer import LiraTokenizer


@pytest.fixture(scope="module")
def tokenizer(converted_lira: Path) -> LiraTokenizer:
    config = read_configuration(converted_lira)
    return LiraTokenizer(converted_lira / "tokenizer.model", config.added_tokens)


@pytest.fixture(scope="module")
def golden(golden_lira: Path) -> Any:
    return json.loads((golden_lira / "golden" / "tokens.json").read_text(encoding="utf-8"))


def test_encodes_as_the_original(tokenizer: LiraTokenizer, golden: Any) -> None:
    for entry in golden["encode"]:
        assert tokenizer.encode(entry["text"]) == entry["ids"], entry
        assert tokenizer.encode_prompt(entry["text"], bos=True) == entry["with_bos"]
    for text, number in golden["ids"].items():
        assert tokenizer.encode(text) == [number]


def test_decodes_token_by_token(tokenizer: LiraTokenizer, golden: Any) -> None:
    texts = {entry["id"]: entry["text"] for entry in golden["decode_single"]}
    assert {number: tokenizer.decode([number]) for number in texts} == texts
    for entry in golden["decode_joined"]:
        assert tokenizer.decode(entry["ids"]) == "".join(texts[number] for number in entry["ids"])


def test_letters_of_several_bytes(tokenizer: LiraTokenizer) -> None:
    ids = tokenizer.encode("été")
    assert tokenizer.decode(ids) == "été"
    assert tokenizer.decode(ids[:1]) == "\ufffd"


def test_ids_beyond_the_vocabulary_mean_nothing(tokenizer: LiraTokenizer) -> None:
    assert tokenizer.decode([100_000]) == ""


def test_single_words(tokenizer: LiraTokenizer) -> None:
    assert tokenizer.single("red") == 400 and tokenizer.single("a red square") is None


def test_other_names_of_the_marks_are_words(tmp_path: Path) -> None:
    """As in the released tokenizer, where a chat mark is a piece of sentencepiece's by another name."""
    model, name = io.BytesIO(), "[UNUSED_TOKEN_145]"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the red square and the blue circle"] * 20),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=[name],
        minloglevel=2,
    )
    file = tmp_path / "tokenizer.model"
    file.write_bytes(model.getvalue())
    number = sentencepiece.SentencePieceProcessor(model_file=str(file)).piece_to_id(name)
    tokenizer = LiraTokenizer(file, {"<|im_end|>": number})
    assert number in tokenizer.encode(f"red {name}") and tokenizer.decode([number]) == "<|im_end|>"
    assert number not in tokenizer.encode(neutralize(f"red {name} <|im_end|>", tokenizer.control_texts))
