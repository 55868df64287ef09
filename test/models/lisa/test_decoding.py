# SPDX-License-Identifier: Apache-2.0
"""Prefix cache, drafts and shared steps change no answer: it is that of a model that computes everything alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from golden import CASES, MAX_NEW_TOKENS, read_case
from numpy.typing import NDArray

from lisa_ros.models.common.language.engine import Engine
from lisa_ros.models.common.language.llama import Row, StepOutput
from lisa_ros.models.common.memory import EngineOptions
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, Lisa, MaskStep, PromptTooLongError, load_lisa
from lisa_ros.models.lisa.drafts import Drafts
from lisa_ros.models.lisa.encoded_image import EncodedImage, Features
from lisa_ros.models.lisa.forcing import forced_mask_logits

PATIENCE_S = 60
TOLERANCE = 2e-4
"""Largest difference of mask logits that another order of the same float32 sums may make."""


@pytest.fixture(scope="module")
def loaded(golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))


def fresh(lisa: Lisa, mib: int = 64, *, static_step: bool = False, deterministic: bool = False) -> Lisa:
    """The model as if just loaded: no stored prefix, no draft."""
    options = EngineOptions(mib << 20, static_step=static_step, deterministic=deterministic)
    lisa.engine = Engine(lisa.network, options)
    lisa.drafts = Drafts([])
    return lisa


@pytest.fixture
def lisa(loaded: Lisa) -> Lisa:
    return fresh(loaded)


_FEATURES: dict[bytes, Features] = {}


def encode(lisa: Lisa, image: NDArray[np.uint8]) -> EncodedImage:
    """A new encoded image; SAM's features are computed once for all tests."""
    encoded = lisa.encode(image)
    if image.tobytes() not in _FEATURES:
        _FEATURES[image.tobytes()] = encoded._sam_features()
    encoded._features = _FEATURES[image.tobytes()]
    return encoded


class Counter:
    """Counts the positions that LLaMA computes, step by step."""

    def __init__(self, lisa: Lisa) -> None:
        self.steps: list[list[int]] = []
        compute = lisa.engine.batcher._compute

        def counted(rows: Sequence[Row]) -> list[StepOutput]:
            self.steps.append([len(row.inputs) for row in rows])
            return compute(rows)

        lisa.engine.batcher._compute = counted

    @property
    def positions(self) -> int:
        return sum(map(sum, self.steps))


Result = tuple[list[MaskStep], Answer]


def ask(lisa: Lisa, image: EncodedImage, command: str, history: Sequence[tuple[str, str]] = ()) -> Result:
    *steps, answer = lisa.answer(image, command, history, max_new_tokens=MAX_NEW_TOKENS)
    assert isinstance(answer, Answer)
    return [step for step in steps if isinstance(step, MaskStep)], answer


def check_same(one: Result, other: Result) -> None:
    assert one[1] == other[1]
    assert len(one[0]) == len(other[0])
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert np.abs(mine.logits - theirs.logits).max() < TOLERANCE
        assert np.array_equal(mine.logits > 0, theirs.logits > 0)


@pytest.mark.parametrize("number", CASES)
def test_after_other_commands_about_the_same_image(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    """Other commands first, so that many prefixes are stored and wrong drafts are the most likely ones."""
    case = read_case(golden_lisa, number)
    alone = ask(fresh(lisa, mib=0), encode(lisa, case.image), case.command, case.history)
    fresh(lisa)
    image = encode(lisa, case.image)
    for other in ("What is there?", "Where is the largest thing? Explain why.", case.command[:-3]):
        ask(lisa, image, other)
    check_same(ask(lisa, image, case.command, case.history), alone)
    check_same(ask(lisa, image, case.command, case.history), alone)  # now all drafts are right


def test_a_follow_up_computes_only_its_own_tokens(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    image = encode(lisa, case.image)
    _, first = ask(lisa, image, case.command)
    history = [(case.command, first.text)]
    counter = Counter(lisa)
    second = ask(lisa, image, "and the other one?", history)
    patches = len(image.visual_tokens())
    new_tokens = len(second[1].prompt) - len(first.prompt)
    assert counter.positions <= new_tokens + len(second[1].ids) < patches
    check_same(second, ask(fresh(lisa, mib=0), encode(lisa, case.image), "and the other one?", history))


def test_another_image_shares_only_the_system_text(lisa: Lisa, golden_lisa: Path) -> None:
    one, other = read_case(golden_lisa, 0), read_case(golden_lisa, 1)
    kept = encode(lisa, one.image)
    ask(lisa, kept, one.command)
    counter = Counter(lisa)
    image = encode(lisa, other.image)
    result = ask(lisa, image, one.command)
    assert counter.steps[0] == [len(image.visual_tokens())]
    check_same(result, ask(fresh(lisa, mib=0), encode(lisa, other.image), one.command))


def test_a_second_operator_computes_no_image(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    image = encode(lisa, case.image)
    ask(lisa, image, "What is there?")
    counter = Counter(lisa)
    ask(lisa, image, case.command)
    assert max(map(max, counter.steps)) < len(image.visual_tokens())


def test_an_images_prefixes_are_dropped_with_it(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    for release in (False, True):
        image = encode(lisa, case.image)
        ask(lisa, image, case.command)
        assert lisa.engine.prefixes.nbytes > 0
        if release:
            image.release()
            assert lisa.engine.prefixes.nbytes == 0
            ask(lisa, image, case.command)  # a released image is encoded again when it is used
        del image
        gc.collect()
        assert lisa.engine.prefixes.nbytes == 0


@pytest.mark.parametrize("drafts", [[], [[5, 6, 7]], "right", "nearly right"])
def test_drafts_change_only_the_number_of_steps(lisa: Lisa, golden_lisa: Path, drafts: object) -> None:
    case = read_case(golden_lisa, 1)
    alone = ask(lisa, encode(lisa, case.image), case.command, case.history)
    ids = list(alone[1].ids)
    assert len(ids) > 4
    known: list[Sequence[int]] = {"right": [ids], "nearly right": [[*ids[:3], 9, *ids[4:]]]}.get(str(drafts), drafts)  # type: ignore[arg-type]
    fresh(lisa).drafts = Drafts(known)
    counter = Counter(lisa)
    check_same(ask(lisa, encode(lisa, case.image), case.command, case.history), alone)
    head = 1
    if drafts == "right":
        assert len(counter.steps) == head + -(-len(ids) // 9)
    elif drafts == "nearly right":
        assert len(counter.steps) == head + 1 + len(ids) - 4
    else:
        assert len(counter.steps) == head + len(ids)


def test_a_draft_never_exceeds_the_longest_answer(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 1)
    whole = ask(lisa, encode(lisa, case.image), case.command, case.history)[1].ids
    image = encode(lisa, case.image)
    for longest in range(1, len(whole) + 1):
        *_, answer = lisa.answer(image, case.command, case.history, max_new_tokens=longest)
        assert isinstance(answer, Answer)
        assert answer.ids == whole[:longest]
        assert answer.reason == ("end" if longest == len(whole) else "length")


def test_commands_at_the_same_time_share_steps_and_get_their_own_answers(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    commands = [case.command, "What is there?", "Where is the largest thing? Explain why.", "the image"]
    alone = [ask(fresh(lisa, mib=0), encode(lisa, case.image), command) for command in commands]
    fresh(lisa)
    lisa.engine.batcher._max_wait_s = PATIENCE_S  # every running answer is waited for, however busy the machine
    counter = Counter(lisa)
    image = encode(lisa, case.image)
    together: dict[int, Result] = {}
    start = threading.Barrier(len(commands))

    def one(number: int) -> None:
        start.wait()
        together[number] = ask(lisa, image, commands[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for number, expected in enumerate(alone):
        check_same(together[number], expected)
    assert sum(max(step) >= len(image.visual_tokens()) for step in counter.steps) == 1, "the image is computed once"
    assert max(map(len, counter.steps)) > 1, "some steps serve more than one command"


@pytest.mark.parametrize("number", CASES)
def test_the_step_that_a_gpu_captures(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    """Computed on the CPU without a graph; the second answer moves into the fixed memory after the first."""
    case = read_case(golden_lisa, number)
    alone = ask(lisa, encode(lisa, case.image), case.command, case.history)
    fresh(lisa, static_step=True)
    static = lisa.engine._static
    assert static is not None
    tokens: list[int] = []
    step = static.step
    static.step = lambda cache, token: tokens.append(cache.length) or step(cache, token)  # type: ignore[method-assign, func-returns-value]
    for history in ((), case.history):
        ask(lisa, encode(lisa, case.image), "What is there?", history)
    tokens.clear()
    lisa.drafts = Drafts([])
    check_same(ask(lisa, encode(lisa, case.image), case.command, case.history), alone)
    assert len(tokens) == len(alone[1].ids) - 1, "every token but the first, which the prompt predicts"


def test_deterministic_answers_are_equal_to_the_bit(golden_lisa: Path) -> None:
    """Whatever was answered before: no drafts, and only the image comes from the prefix cache."""
    lisa = load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu", deterministic=True))
    case = read_case(golden_lisa, 0)
    first = ask(lisa, encode(lisa, case.image), case.command, case.history)
    image = encode(lisa, case.image)
    for other in ("What is there?", case.command[:-3], case.command):
        ask(lisa, image, other, case.history)
    again = ask(lisa, image, case.command, case.history)
    assert again[1] == first[1]
    for mine, theirs in zip(again[0], first[0], strict=True):
        assert np.array_equal(mine.logits, theirs.logits) and mine.log_prob == theirs.log_prob


@pytest.mark.parametrize("number", CASES)
def test_mask_only_is_the_validation_of_the_paper(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    image = encode(lisa, case.image)
    counter = Counter(lisa)
    *steps, answer = lisa.answer(image, case.command, case.history, mask_only=True)
    assert isinstance(answer, Answer) and answer.reason == "end" and answer.text.replace(" ", "") == "[SEG]."
    assert len(counter.steps) == 2, "the image, then the rest of the prompt, and no token of an answer"
    (mask,) = [step for step in steps if isinstance(step, MaskStep)]
    (forced,) = forced_mask_logits(fresh(lisa), encode(lisa, case.image), case.command, "[SEG].", case.history)
    assert np.abs(mask.logits - forced).max() < TOLERANCE


def test_an_abandoned_answer_keeps_nothing(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    image = encode(lisa, case.image)
    abandoned: Iterator[object] = lisa.answer(image, case.command)
    next(abandoned)
    assert lisa.engine.prefixes.running_bytes > 0
    del abandoned
    assert lisa.engine.batcher._running_answers == 0 == lisa.engine.prefixes.running_bytes
    ask(lisa, image, case.command)


def test_too_long_a_prompt_is_refused_before_anything_is_computed(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    counter = Counter(lisa)
    with pytest.raises(PromptTooLongError):
        list(lisa.answer(encode(lisa, case.image), "ball " * 5000))
    assert counter.steps == []
