# SPDX-License-Identifier: Apache-2.0
"""Whatever is kept, guessed or read together, the answers are those of a model that reads alone and from scratch."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, read_case
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaModel

from lisa_ros.models.common.language.batching import Batcher
from lisa_ros.models.common.language.llama import Outcome, RaggedLlama, Row
from lisa_ros.models.common.language.prefixes import PrefixStore
from lisa_ros.models.common.language.reading import Reader
from lisa_ros.models.common.language.static_step import StaticStep
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import Answer, Lisa, MaskStep, PromptTooLongError, load_lisa
from lisa_ros.models.lisa.drafts import Drafts
from lisa_ros.models.lisa.encoded_image import EncodedImage, Features
from lisa_ros.models.lisa.forcing import forced_mask_logits

PATIENCE_S = 60
SHARPEST = 2e-4
"""Largest difference of mask logits that another order of the same float32 sums may make."""


@pytest.fixture(scope="module")
def loaded(golden_lisa: Path) -> Lisa:
    return load_lisa(golden_lisa, LoadOptions(precision="fp32", device="cpu"))


def fresh(lisa: Lisa, mib: int = 64, *, fixed_step: bool = False) -> Lisa:
    """The model as if just loaded: nothing read, nothing said."""
    lisa.reader = Reader(lisa.network, mib << 20, fixed_step=fixed_step)
    lisa.drafts = Drafts([])
    return lisa


@pytest.fixture
def lisa(loaded: Lisa) -> Lisa:
    return fresh(loaded)


_FEATURES: dict[bytes, Features] = {}


def encode(lisa: Lisa, image: NDArray[np.uint8]) -> EncodedImage:
    """A new picture, for whose masks SAM need not look again in every test."""
    picture = lisa.encode(image)
    if image.tobytes() not in _FEATURES:
        _FEATURES[image.tobytes()] = picture._seen_for_masks()
    picture._features = _FEATURES[image.tobytes()]
    return picture


class Counter:
    """Counts what LLaMA reads."""

    def __init__(self, lisa: Lisa) -> None:
        self.steps: list[list[int]] = []
        read = lisa.reader.batcher._read

        def counted(rows: Sequence[Row]) -> list[Outcome]:
            self.steps.append([len(row.inputs) for row in rows])
            return read(rows)

        lisa.reader.batcher._read = counted

    @property
    def positions(self) -> int:
        return sum(map(sum, self.steps))


Said = tuple[list[MaskStep], Answer]


def ask(lisa: Lisa, picture: EncodedImage, command: str, history: Sequence[tuple[str, str]] = ()) -> Said:
    *steps, answer = lisa.answer(picture, command, history, max_new_tokens=MAX_NEW_TOKENS)
    assert isinstance(answer, Answer)
    return [step for step in steps if isinstance(step, MaskStep)], answer


def check_same(one: Said, other: Said) -> None:
    assert one[1] == other[1]
    assert len(one[0]) == len(other[0])
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert np.abs(mine.logits - theirs.logits).max() < SHARPEST
        assert np.array_equal(mine.logits > 0, theirs.logits > 0)


def tiny_llama() -> tuple[LlamaModel, torch.nn.Linear]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaModel(config).eval(), torch.nn.Linear(32, 50, bias=False)


def test_rows_are_read_as_transformers_reads_each_alone() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    texts = [torch.randn(n, 32) for n in (9, 1, 14)]
    caches = [llama.empty_cache(2) for _ in texts]
    told: list[list[torch.Tensor]] = [[], [], []]
    with torch.inference_mode():
        for cut in (0, 1, 6, 14):  # in uneven pieces, in which rows come and go
            rows = [(i, text[caches[i].length : cut]) for i, text in enumerate(texts)]
            reading = [(i, piece) for i, piece in rows if len(piece)]
            if reading:
                outcomes = llama.read([Row(caches[i], piece, len(piece)) for i, piece in reading])
                for (i, _), outcome in zip(reading, outcomes, strict=True):
                    told[i].append(outcome.states)
        for text, parts in zip(texts, told, strict=True):
            whole = language(inputs_embeds=text.unsqueeze(0), use_cache=False).last_hidden_state[0]
            assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


def test_only_the_wanted_positions_are_told_and_wrong_guesses_leave_no_trace() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    text, wrong = torch.randn(8, 32), torch.randn(3, 32)
    with torch.inference_mode():
        whole = language(inputs_embeds=text.unsqueeze(0), use_cache=False).last_hidden_state[0]
        cache = llama.empty_cache(4)
        (nothing,) = llama.read([Row(cache, text[:5], 0)])
        assert nothing.states.shape == (0, 32) and nothing.tokens == []
        llama.read([Row(cache, wrong, 1)])
        cache.crop(5)
        (two,) = llama.read([Row(cache, text[5:], 2)])
        assert torch.allclose(two.states, whole[-2:], atol=1e-5)
        assert two.tokens == head(whole[-2:]).argmax(-1).tolist()


@pytest.mark.parametrize("number", CASES)
def test_a_picture_that_was_asked_about_before(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    """Other commands first, so that much is kept, and the wrong answers are the likeliest guesses."""
    case = read_case(golden_lisa, number)
    alone = ask(fresh(lisa, mib=0), encode(lisa, case.image), case.command, case.history)
    fresh(lisa)
    picture = encode(lisa, case.image)
    for other in ("What is there?", "Where is the largest thing? Explain why.", case.command[:-3]):
        ask(lisa, picture, other)
    check_same(ask(lisa, picture, case.command, case.history), alone)
    check_same(ask(lisa, picture, case.command, case.history), alone)  # now every guess is right


def test_a_follow_up_reads_its_own_words_alone(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    picture = encode(lisa, case.image)
    _, first = ask(lisa, picture, case.command)
    history = [(case.command, first.text)]
    counter = Counter(lisa)
    second = ask(lisa, picture, "and the other one?", history)
    patches = len(picture.visual_tokens())
    words = len(second[1].prompt_ids) - len(first.prompt_ids)
    assert counter.positions <= words + len(second[1].ids) < patches
    check_same(second, ask(fresh(lisa, mib=0), encode(lisa, case.image), "and the other one?", history))


def test_another_picture_shares_the_systems_text_alone(lisa: Lisa, golden_lisa: Path) -> None:
    one, other = read_case(golden_lisa, 0), read_case(golden_lisa, 1)
    kept = encode(lisa, one.image)
    ask(lisa, kept, one.command)
    counter = Counter(lisa)
    picture = encode(lisa, other.image)
    said = ask(lisa, picture, one.command)
    assert counter.steps[0] == [len(picture.visual_tokens())]
    check_same(said, ask(fresh(lisa, mib=0), encode(lisa, other.image), one.command))


def test_a_second_operator_reads_no_picture(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    picture = encode(lisa, case.image)
    ask(lisa, picture, "What is there?")
    counter = Counter(lisa)
    ask(lisa, picture, case.command)
    assert max(map(max, counter.steps)) < len(picture.visual_tokens())


def test_what_was_read_of_a_picture_goes_with_it(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    picture = encode(lisa, case.image)
    ask(lisa, picture, case.command)
    assert lisa.reader.prefixes.nbytes > 0
    del picture
    gc.collect()
    assert lisa.reader.prefixes.nbytes == 0


def test_the_store_keeps_to_its_budget_and_the_newest() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    cache = llama.empty_cache(1)
    with torch.inference_mode():
        llama.read([Row(cache, torch.randn(20, 32), 0)])
    size = cache.position_bytes
    store = PrefixStore(30 * size)
    store.keep((1, 2, -5, 3), 7, cache)  # ten positions
    store.keep((1, 9, 9, 9, 9, 9, 9, 9, 9, 9), 7, cache)
    assert store.nbytes == 20 * size
    found = store.begun((1, 2, -5, 4), 7, 100, 100)
    assert found is not None and found.length == 9
    assert store.begun((2, 2), 7, 100, 100) is None
    store.keep((1, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8), 7, cache)  # eleven: the one not used for the longest time goes
    assert store.nbytes == 21 * size
    assert (again := store.begun((1, 9, 9), 7, 100, 100)) is not None and again.length == 1
    store.keep((1, 2, -5, 3, 3), 7, cache)  # makes the one it begins with needless
    assert store.nbytes == 22 * size
    store.forget_picture(-5)
    assert store.nbytes == 11 * size
    tiny = PrefixStore(3 * size)
    tiny.keep((1, 2, 3, 4), 7, cache)
    assert tiny.nbytes == 0


@pytest.mark.parametrize("guesses", [[], [[5, 6, 7]], "right", "nearly"])
def test_guesses_change_nothing_but_the_number_of_steps(lisa: Lisa, golden_lisa: Path, guesses: object) -> None:
    case = read_case(golden_lisa, 1)
    alone = ask(lisa, encode(lisa, case.image), case.command, case.history)
    ids = list(alone[1].ids)
    assert len(ids) > 4
    known: list[Sequence[int]] = {"right": [ids], "nearly": [[*ids[:3], 9, *ids[4:]]]}.get(str(guesses), guesses)  # type: ignore[arg-type]
    fresh(lisa).drafts = Drafts(known)
    counter = Counter(lisa)
    check_same(ask(lisa, encode(lisa, case.image), case.command, case.history), alone)
    head = 1
    if guesses == "right":
        assert len(counter.steps) == head + -(-len(ids) // 9)
    elif guesses == "nearly":
        assert len(counter.steps) == head + 1 + len(ids) - 4
    else:
        assert len(counter.steps) == head + len(ids)


def test_a_guess_never_goes_beyond_the_longest_answer(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 1)
    whole = ask(lisa, encode(lisa, case.image), case.command, case.history)[1].ids
    picture = encode(lisa, case.image)
    for longest in range(1, len(whole) + 1):
        *_, answer = lisa.answer(picture, case.command, case.history, max_new_tokens=longest)
        assert isinstance(answer, Answer)
        assert answer.ids == whole[:longest]
        assert answer.reason == ("end" if longest == len(whole) else "length")


def test_overlapping_commands_are_read_together_and_answered_as_alone(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    commands = [case.command, "What is there?", "Where is the largest thing? Explain why.", "the picture"]
    alone = [ask(fresh(lisa, mib=0), encode(lisa, case.image), command) for command in commands]
    fresh(lisa)
    lisa.reader.batcher._patience_s = PATIENCE_S  # whoever is present is waited for, however busy the machine
    counter = Counter(lisa)
    picture = encode(lisa, case.image)
    together: dict[int, Said] = {}
    start = threading.Barrier(len(commands))

    def one(number: int) -> None:
        start.wait()
        together[number] = ask(lisa, picture, commands[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for number, expected in enumerate(alone):
        check_same(together[number], expected)
    assert sum(max(step) >= len(picture.visual_tokens()) for step in counter.steps) == 1, "one picture is read once"
    assert max(map(len, counter.steps)) > 1, "some steps serve more than one command"


@pytest.mark.parametrize("number", CASES)
def test_the_step_that_a_gpu_replays(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    """Computed here, where there is nothing to replay it on; the second answer moves in after the first."""
    case = read_case(golden_lisa, number)
    alone = ask(lisa, encode(lisa, case.image), case.command, case.history)
    fresh(lisa, fixed_step=True)
    static = lisa.reader._static
    assert static is not None
    words: list[int] = []
    read = static.read
    static.read = lambda cache, word: words.append(cache.length) or read(cache, word)  # type: ignore[method-assign, func-returns-value]
    for history in ((), case.history):
        ask(lisa, encode(lisa, case.image), "What is there?", history)
    words.clear()
    lisa.drafts = Drafts([])
    check_same(ask(lisa, encode(lisa, case.image), case.command, case.history), alone)
    assert len(words) == len(alone[1].ids) - 1, "every word but the first, which comes of the prompt"


def test_a_row_stays_where_it_is_while_another_has_the_fixed_memory() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    memory = llama.empty_cache(6)
    memory._buffer.fill_(torch.nan)  # as memory that was another's may be
    static = StaticStep(language, head, memory)
    text = torch.randn(9, 32)
    with torch.inference_mode():
        whole = language(inputs_embeds=text.unsqueeze(0), use_cache=False).last_hidden_state[0]
        cache, other = llama.empty_cache(4), llama.empty_cache(4)
        llama.read([Row(cache, text[:4], 0)])
        assert static.take_in(cache) and not static.take_in(other)
        for place in (4, 5):
            assert static.take_in(cache)
            assert torch.allclose(
                static.read(cache, text[place : place + 1]).states, whole[place : place + 1], atol=1e-5
            )
        assert not static.take_in(cache), "it is full"
        (rest,) = llama.read([Row(cache, text[6:], 3)])  # outgrows it, and goes on elsewhere
        assert torch.allclose(rest.states, whole[6:], atol=1e-5)
        assert static.take_in(other)


def test_a_step_that_fails_fails_its_rows_and_no_others() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    batcher = Batcher(llama.read)
    with pytest.raises(RuntimeError):
        batcher.read(Row(llama.empty_cache(4), torch.randn(3, 31), 1))
    assert len(batcher.read(Row(llama.empty_cache(4), torch.randn(3, 32), 1)).tokens) == 1


def test_who_works_elsewhere_is_not_waited_for() -> None:
    language, head = tiny_llama()
    llama = RaggedLlama(language, head)
    batcher = Batcher(llama.read, patience_s=10 * PATIENCE_S)
    away, back = threading.Event(), threading.Event()

    def work_elsewhere() -> None:
        with batcher.present(), batcher.away():
            away.set()
            back.wait(PATIENCE_S)

    thread = threading.Thread(target=work_elsewhere)
    thread.start()
    assert away.wait(PATIENCE_S)
    with batcher.present():
        assert len(batcher.read(Row(llama.empty_cache(4), torch.randn(3, 32), 1)).tokens) == 1
    back.set()
    thread.join(PATIENCE_S)


@pytest.mark.parametrize("number", CASES)
def test_mask_only_is_the_papers_own_validation(lisa: Lisa, golden_lisa: Path, number: int) -> None:
    case = read_case(golden_lisa, number)
    picture = encode(lisa, case.image)
    counter = Counter(lisa)
    *steps, answer = lisa.answer(picture, case.command, case.history, mask_only=True)
    assert isinstance(answer, Answer) and answer.reason == "end" and answer.text.replace(" ", "") == "[SEG]."
    assert len(counter.steps) == 2, "the picture, then the rest of the prompt, and no word of an answer"
    (mask,) = [step for step in steps if isinstance(step, MaskStep)]
    (forced,) = forced_mask_logits(fresh(lisa), encode(lisa, case.image), case.command, "[SEG].", case.history)
    assert np.abs(mask.logits - forced).max() < SHARPEST


def test_an_answer_that_is_left_alone_holds_nobody_up(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    picture = encode(lisa, case.image)
    begun: Iterator[object] = lisa.answer(picture, case.command)
    next(begun)
    del begun
    assert lisa.reader.batcher._present == 0
    ask(lisa, picture, case.command)


def test_too_long_a_prompt_is_refused_before_anything_is_read(lisa: Lisa, golden_lisa: Path) -> None:
    case = read_case(golden_lisa, 0)
    counter = Counter(lisa)
    with pytest.raises(PromptTooLongError):
        list(lisa.answer(encode(lisa, case.image), "ball " * 5000))
    assert counter.steps == []
