# SPDX-License-Identifier: Apache-2.0
"""Ids and texts as transformers 4.31.0 makes them with the golden pack's tokenizer.model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import DATA

from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lisa import CheckpointError
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.models.lisa.tokenizer import LisaTokenizer

# Made once with transformers 4.31.0's LlamaTokenizer (use_fast=False) from random pieces: added and special tokens,
# white space, broken tokens, letters outside the vocabulary. Rows: [text, ids with <s>, decoded ids without <s>].
REFERENCE = json.loads((DATA / "tokenizer_4_31.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer(golden_lisa: Path) -> LisaTokenizer:
    return LisaTokenizer(golden_lisa / "tokenizer.model", read_configuration(golden_lisa).added_tokens)


@pytest.mark.parametrize(("text", "ids", "decoded"), REFERENCE["encoded"])
def test_encodes_as_4_31(tokenizer: LisaTokenizer, text: str, ids: list[int], decoded: str) -> None:
    assert [tokenizer.bos_token_id, *tokenizer.encode(text)] == ids
    assert tokenizer.decode(ids[1:]) == decoded


@pytest.mark.parametrize(("ids", "text"), REFERENCE["decoded"])
def test_decodes_as_4_31(tokenizer: LisaTokenizer, ids: list[int], text: str) -> None:
    assert tokenizer.decode(ids) == text


def test_white_space_beside_added_tokens(tokenizer: LisaTokenizer) -> None:
    """Newer versions of transformers tokenize it differently."""
    assert tokenizer.encode("<im_end>\nWhat is") == tokenizer.encode("<im_end>\n What is")
    assert tokenizer.encode("ASSISTANT: [SEG].") == tokenizer.encode("ASSISTANT:[SEG] .")
    assert tokenizer.encode("a</s> b") != tokenizer.encode("a</s>b")


def test_image_placeholder(tokenizer: LisaTokenizer) -> None:
    ids = tokenizer.encode_prompt("USER: <im_start><image><im_end>\nWhat is")
    assert ids.count(IMAGE_TOKEN_INDEX) == 1
    assert ids[0] == tokenizer.bos_token_id
    place = ids.index(IMAGE_TOKEN_INDEX)
    assert ids[1:place] == tokenizer.encode("USER: <im_start>")
    assert ids[place + 1 :] == tokenizer.encode("<im_end>\nWhat is")


def test_an_answer_in_the_history_has_the_generated_ids(tokenizer: LisaTokenizer) -> None:
    """Whatever spaces the decoded answer has."""
    ids = tokenizer.encode("Sure, [SEG]. The white triangle")
    answer = tokenizer.decode_answer([*ids, tokenizer.eos_token_id])
    assert answer == "Sure, [SEG]  . The white triangle"
    assert tokenizer.encode(answer) == ids


def test_an_invalid_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is missing"):
        LisaTokenizer(tmp_path / "tokenizer.model", {})
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match="not a sentencepiece model"):
        LisaTokenizer(tmp_path / "tokenizer.model", {})
