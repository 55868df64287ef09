# SPDX-License-Identifier: Apache-2.0
"""No text of an operator becomes another turn, another role, an image or a mask: the tokens of each model show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hostile_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.tokenizer import IMAGE_TOKEN_INDEX
from lisa_ros.models.lira import Lira, load_lira
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.segllm import Segllm, load_segllm
from lisa_ros.models.segllm.encoded_image import EncodedImage
from lisa_ros.segmentation.text import without_surrogates

pytestmark = pytest.mark.model

MARKS = (
    *("USER:", "ASSISTANT:", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<unk>", "<0x0A>", "<pad>"),
    *("[SEG]", "<seg>", "<image>", "<im_start>", "<im_end>", "<video>", "<|im_start|>", "<|im_end|>"),
    *("<|im_start|>system\n", "<|im_start|>assistant\n", "<image_id>", "<local>", "[MASK-ENCODE:a|b|1]", "[REF:1]"),
    *("<p>", "</p>", "<img>", "</img>", "<IMG_CONTEXT>", "[UNUSED_TOKEN_145]", "[BOX]", "\u2581", "\u2028", "\x00"),
    *("\u202e", "\u200b", "\ufeff", "\ufffd", "\U000e0041", "\r\n", " ", "\n"),
)  # fmt: skip
OPTIONS = LoadOptions(precision="fp32", device="cpu", threads=1)


def cut(mark: str) -> st.SearchStrategy[str]:
    """A mark, or a part of one, so that parts may join to a mark."""
    places = st.integers(0, len(mark))
    return st.one_of(st.just(mark), places.map(lambda place: mark[:place]), places.map(lambda place: mark[place:]))


FRAGMENTS = st.one_of(st.sampled_from(MARKS).flatmap(cut), st.text(max_size=6))
TEXTS = st.lists(FRAGMENTS, min_size=1, max_size=8).map("".join)
OVERLAPPING = st.tuples(st.sampled_from(MARKS), st.sampled_from(MARKS), st.integers(0, 8)).map(
    lambda one: one[0][: one[2]] + one[1] + one[0][one[2] :]
)
HOSTILE = st.one_of(TEXTS, OVERLAPPING)


@pytest.fixture(scope="module", params=["llava_v1", "llava_llama_2"])
def lisa(request: pytest.FixtureRequest, golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu", template=request.param))


@pytest.fixture(scope="module")
def segllm(golden_segllm: Path) -> Segllm:
    return load_segllm(golden_segllm, OPTIONS)


@pytest.fixture(scope="module")
def grey(segllm: Segllm) -> EncodedImage:
    return segllm.encode(np.full((60, 80, 3), 127, dtype=np.uint8))


@pytest.fixture(scope="module")
def lira(converted_lira: Path) -> Lira:
    return load_lira(converted_lira, OPTIONS)


def counts(ids: Sequence[int], special: Sequence[int]) -> list[int]:
    return [ids.count(number) for number in special]


def with_marks(ids: list[int], marks: dict[str, list[int]]) -> dict[str, int]:
    """How often the tokens of each mark stand in a prompt."""
    found = {}
    for mark, tokens in marks.items():
        found[mark] = sum(ids[place : place + len(tokens)] == tokens for place in range(len(ids)))
    return found


def check(prompt: Callable[[str], list[int]], special: tuple[int, ...], marks: dict[str, list[int]], text: str) -> None:
    """The prompt has exactly the structure of the one for a plain text."""
    plain, ids = prompt("plain"), prompt(text)
    assert counts(ids, special) == counts(plain, special), text
    assert with_marks(ids, marks) == with_marks(plain, marks), text


@cases(500)
@given(text=HOSTILE)
def test_a_command_to_lisa(lisa: Lisa, text: str) -> None:
    tokenizer = lisa.tokenizer
    special = (IMAGE_TOKEN_INDEX, 0, 1, 2, *lisa.config.added_tokens.values())
    marks = {one: tokenizer.encode(one) for one in lisa.template.markers}
    check(lisa.prompt_ids, special, marks, text)


@cases(200)
@given(text=HOSTILE, answer=HOSTILE)
def test_a_turn_of_a_dialogue_with_lisa(lisa: Lisa, text: str, answer: str) -> None:
    """The model's own answer may have `[SEG]`, which stays what it is, and nothing else."""
    seg = lisa.config.seg_token_id
    special = (IMAGE_TOKEN_INDEX, 1, 2, *(one for one in lisa.config.added_tokens.values() if one != seg))
    allowed = tuple(one for one in special if one not in lisa.config.added_tokens.values())
    plain, ids = (lisa.prompt_ids("and now", [pair]) for pair in (("a", "b"), (text, f"b{answer}")))
    assert counts(ids, allowed) == counts(plain, allowed), (text, answer)
    assert ids.count(seg) - plain.count(seg) <= answer.count("[SEG]")


@cases(500)
@given(text=HOSTILE)
def test_a_command_to_segllm(segllm: Segllm, grey: EncodedImage, text: str) -> None:
    special = (0, 1, 2, *segllm.config.added_tokens.values())
    marks = {one: segllm.tokenizer.encode_prompt(one)[1:] for one in ("USER:", "ASSISTANT:")}
    check(lambda one: segllm.prompt_ids(grey, [segllm.round_of(one)]), special, marks, text)


@cases(500)
@given(text=HOSTILE)
def test_a_command_to_lira(lira: Lira, text: str) -> None:
    special = (IMAGE_TOKEN_INDEX, 0, 1, 2, *lira.config.added_tokens.values())
    check(lira.prompt_ids, special, {}, text)


@cases(400)
@given(text=st.text(st.characters(), max_size=40))
def test_any_text_can_be_published(text: str) -> None:
    """Lone surrogates, which no message can hold, become question marks or are kept out."""
    assert len(without_surrogates(text).encode()) >= len(text)
