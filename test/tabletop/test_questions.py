# SPDX-License-Identifier: Apache-2.0
"""Questions about a view: the truth they carry, their words, and the shards that views are kept in."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.simulation.scene import COLOURS, KINDS, Camera, SceneObject, View
from lisa_ros.tabletop import views as scenes
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.asking import Teasing
from lisa_ros.tabletop.questions.questions import (
    FAMILIES,
    Question,
    conversation,
    questions,
    tokenizer_corpus,
    true_mask,
)
from lisa_ros.tabletop.views import ViewCache, render_views
from lisa_ros.training.language.contrast import draw_contrast, with_a_twin

PIXELS_EACH = 100


def hand_made_view(*things: tuple[str, str], hidden: tuple[int, ...] = ()) -> View:
    """(kind, colour) pairs, each a 10x10 square in a row; a hidden one shows 2x10 pixels."""
    instances = np.zeros((20, 20 * max(len(things), 1)), dtype=np.uint8)
    objects = []
    for number, (kind, colour) in enumerate(things, start=1):
        instances[5 : 7 if number in hidden else 15, 20 * number - 15 : 20 * number - 5] = number
        objects.append(SceneObject(number, kind, colour, (0.1, 0.1, 0.1), (0.1 * number, 0.0, 0.05)))
    height, width = instances.shape
    depth = np.ones((height, width), dtype=np.float32)
    camera = Camera(width, height, np.eye(3), np.eye(4))
    return View(np.zeros((height, width, 3), np.uint8), depth, instances, tuple(objects), camera)


CROWDED = hand_made_view(
    ("mug", "red"), ("mug", "green"), ("cube", "red"), ("cube", "blue"), ("cube", "blue"), ("duck", "yellow"),
    ("book", "white"),
)  # fmt: skip
SPARSE = hand_made_view(("mug", "red"), ("teddy bear", "blue"))
EMPTY = hand_made_view()
VIEWS = (CROWDED, SPARSE, EMPTY)


def ask(view: View, family: str, count: int = 300, held_out: bool = False) -> list[Question]:
    return questions(view, np.random.default_rng(0), count, held_out, min_pixels=50, weights={family: 1.0})


def talk(view: View, turns: int = 4, count: int = 150, held_out: bool = False) -> list[list[Question]]:
    rng = np.random.default_rng(1)
    return [conversation(view, rng, turns, held_out, min_pixels=50) for _ in range(count)]


def named(text: str, words: tuple[str, ...]) -> str | None:
    """The kind or colour in a text, one of its words; None when there is none."""
    nouns = text.lower().replace("can you", "")  # a verb there, a thing elsewhere
    found = [word for word in words if re.search(rf"\b({word}|{say.PLURALS.get(word, word + 's')})\b", nouns)]
    return found[0] if found else None


def described(view: View, text: str) -> tuple[int, ...]:
    """The objects that the kind and the colour in a text fit, found without the code under test."""
    kind, colour = named(text, KINDS), named(text, tuple(COLOURS))
    assert kind or colour, text
    return tuple(o.instance for o in view.objects if kind in (None, o.kind) and colour in (None, o.colour))


def test_a_direct_question_means_the_only_object_that_its_words_fit() -> None:
    asked = ask(CROWDED, "direct")
    for question in asked:
        assert len(question.instances) == 1
        assert described(CROWDED, question.text) == question.instances, question
    assert {q.instances[0] for q in asked} == {1, 2, 3, 6, 7}, "the blue cubes cannot be told apart"


def test_several_means_all_of_them_and_counts_right() -> None:
    for question in ask(CROWDED, "several"):
        if "on the table" in question.text:
            assert question.instances == (1, 2, 3, 4, 5, 6, 7)
            continue
        assert described(CROWDED, question.text) == question.instances
        assert len(question.instances) > 1
        numbers = [size for size, word in say.NUMBERS.items() if re.search(rf"\b{word}\b", question.text)]
        assert numbers in ([], [len(question.instances)])
        assert "both" not in question.text or len(question.instances) == 2


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_called_absent_is_not_there(view: View) -> None:
    asked = ask(view, "absent")
    assert len(asked) == 300
    for question in asked:
        assert question.instances == ()
        if question.answer != say.NOTHING_LIKE_THAT:
            assert described(view, question.text) == (), question
            assert named(question.text, KINDS) == named(question.answer, KINDS)
            assert named(question.text, tuple(COLOURS)) == named(question.answer, tuple(COLOURS))


def test_absent_asks_for_near_misses_often() -> None:
    asked = [q for q in ask(CROWDED, "absent") if named(q.text, KINDS) and named(q.text, tuple(COLOURS))]
    same_kind = [q for q in asked if named(q.text, KINDS) in {"mug", "cube", "duck", "book"}]
    assert len(same_kind) > 75


def test_a_use_means_the_one_object_that_serves_it() -> None:
    kinds = {phrase: use.kinds for use in say.USES for phrase in use.seen}
    asked = ask(SPARSE, "use")
    assert asked
    for question in asked:
        phrase = max((p for p in kinds if p in question.text), key=len)
        (instance,) = question.instances
        assert SPARSE.objects[instance - 1].kind in kinds[phrase]


def test_nobody_asks_for_a_use_when_two_things_serve_it() -> None:
    assert not [q for q in ask(CROWDED, "use") if "drink" in q.text], "there are two mugs"
    near = hand_made_view(("mug", "red"), ("bottle", "green"))
    assert not [q for q in ask(near, "use") if "drink" in q.text], "one may drink from the bottle too"
    assert not [q for q in ask(near, "absent") if "something to drink" in q.text]


def test_every_kind_has_a_use() -> None:
    assert {kind for use in say.USES for kind in use.kinds} == set(KINDS)
    assert {kind for use in say.USES for kind in use.near} <= set(KINDS)


def test_an_explanation_names_kind_and_colour_of_the_object() -> None:
    both = [(view, question) for view in (CROWDED, SPARSE) for question in ask(view, "explain")]
    assert both
    for view, question in both:
        thing = view.objects[question.instances[0] - 1]
        assert f"The {thing.colour} {thing.kind} is " in question.answer


def test_a_hardly_visible_object_is_neither_asked_for_nor_called_absent() -> None:
    view = hand_made_view(("mug", "red"), ("cube", "blue"), ("cube", "red"), hidden=(3,))
    for one in talk(view, count=300):
        for question in one:
            assert 3 not in question.instances
            if question.family == "direct":
                assert described(view, question.text) == question.instances
            if question.family == "absent" and question.answer != say.NOTHING_LIKE_THAT:
                assert described(view, question.text) == ()


@pytest.mark.parametrize("view", VIEWS)
def test_a_follow_up_means_what_the_turn_before_makes_of_it(view: View) -> None:
    checked = 0
    for one in talk(view, turns=4, count=300):
        kind: str | None = None
        for before, question in zip([None, *one], one, strict=False):
            if not question.follows:
                spoken = question.text.lower()
                until = spoken.rfind(question.related_to) if question.related_to else len(spoken)
                kind = named(question.text[:until], KINDS)
                continue
            assert before is not None
            assert question.family == "follow"
            if _only_says_where(question):  # test_relations.py
                kind = None
                continue
            checked += _check_follow_up(view, before, question, kind)
            kind = named(question.text, KINDS) or kind
    assert checked > 50 or view is EMPTY


def _only_says_where(question: Question) -> bool:
    return any(f"{words} it" in question.text for ways in say.PLACES.values() for words in ways)


def _check_follow_up(view: View, before: Question, question: Question, kind: str | None) -> int:
    colour = named(question.text, tuple(COLOURS))
    kind = named(question.text, KINDS) or kind
    if colour:
        fitting = [o for o in view.objects if o.colour == colour and kind in (None, o.kind)]
    elif "other" in question.text:
        fitting = [o for o in view.objects if o.kind == kind and o.instance not in before.instances]
    else:
        said: set[str | None] = {o.colour for o in view.objects if o.instance in before.instances}
        said = said or {named(before.answer, tuple(COLOURS))}
        fitting = [o for o in view.objects if o.kind == kind and {o.colour} == said]
    assert question.instances == tuple(o.instance for o in fitting), (before, question)
    assert len(fitting) < 2
    return 1


def test_teasing_follow_ups_ask_for_what_is_nearly_there() -> None:
    view = hand_made_view(("mug", "red"), ("cube", "blue"), ("duck", "yellow"))
    kinds, colours = ({getattr(thing, part) for thing in view.objects} for part in ("kind", "colour"))

    def absent(teasing: Teasing) -> tuple[float, float]:
        """Share of follow-ups that mean nothing, and of these the near misses."""
        rng = np.random.default_rng(1)
        told = [conversation(view, rng, 2, min_pixels=50, teasing=teasing) for _ in range(300)]
        follow_ups = [question for one in told for question in one if question.follows]
        denied = [question.answer for question in follow_ups if not question.instances]
        near = [answer for answer in denied if "other" in answer or _is_near(answer, kinds, colours)]
        return len(denied) / len(follow_ups), len(near) / len(denied)

    often, near = absent(Teasing(0.6, 1.0))
    assert 0.5 < often < 0.7 and near == 1.0
    often, near = absent(Teasing())
    assert 0.15 < often < 0.35 and near < 0.8


def test_an_answer_that_marks_one_thing_names_it() -> None:
    told: dict[bool, set[bool]] = {True: set(), False: set()}
    for view in (CROWDED, SPARSE):
        names = {thing.instance: f"The {thing.colour} {thing.kind}" for thing in view.objects}
        for question in (question for one in talk(view) for question in one):
            single = len(question.instances) == 1
            told[single].add(single and f"[SEG]. {names[question.instances[0]]}" in question.answer)
            told[single].add(not single and ". The " in question.answer)
    assert told == {True: {True, False}, False: {False}}


def test_teasing_asks_for_the_other_one_where_it_may() -> None:
    view = hand_made_view(("mug", "red"), ("mug", "blue"), ("duck", "yellow"), ("book", "white"))

    def share(other: float) -> float:
        rng = np.random.default_rng(1)
        told = [conversation(view, rng, 2, min_pixels=50, teasing=Teasing(other=other)) for _ in range(300)]
        follow_ups = [question.text for one in told for question in one if question.follows]
        return sum("other" in text for text in follow_ups) / len(follow_ups)

    assert share(1.0) > 2 * share(0.0)


def test_contrasts_ask_for_the_other_one_as_often_where_there_is_none() -> None:
    views = [hand_made_view(("mug", "red"), ("mug", "blue"), ("duck", "yellow"), ("book", "white")), SPARSE]
    rng = np.random.default_rng(2)

    def draw() -> tuple[int, View]:
        number = int(rng.integers(len(views)))
        return number, views[number]

    present = absent = 0
    for _ in range(200):
        (number, view), asked = draw_contrast(draw, rng)
        assert view is views[number]
        before, last = asked[0], asked[-1]
        if not (last.follows and "other" in last.text):
            continue
        present, absent = present + bool(last.instances), absent + (not last.instances)
        if last.instances:
            (one,), (other,) = before.instances, last.instances
            kinds = {thing.instance: thing.kind for thing in view.objects}
            assert one != other and kinds[one] == kinds[other]
    assert present > 40 and absent > 40


def test_a_contrast_about_what_cannot_be_asked_for_is_an_ordinary_dialogue() -> None:
    """None of these views has two of a kind, so there is never another one."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        (number, view), asked = draw_contrast(lambda: (7, SPARSE), rng)
        assert (number, view) == (7, SPARSE)
        assert 1 <= len(asked) <= 2


def test_a_twin_is_of_another_colour() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        twins = with_a_twin(SPARSE, rng).objects
        assert twins[0].kind == twins[1].kind in {"mug", "teddy bear"}
        assert [thing.colour for thing in twins] == ["red", "blue"]
    same = hand_made_view(("mug", "red"), ("cube", "red"))
    assert with_a_twin(same, rng) is same


def _is_near(answer: str, kinds: set[str], colours: set[str]) -> bool:
    kind, colour = named(answer, KINDS), named(answer, COLOURS)
    return (kind is None or kind in kinds) and (colour is None or colour in colours)


def test_follow_ups_ask_for_present_and_absent_things() -> None:
    follow_ups = [q for one in talk(CROWDED, count=300) for q in one if q.follows]
    absent = sum(not q.instances for q in follow_ups) / len(follow_ups)
    assert 0.1 < absent < 0.5
    assert not [one[0] for one in talk(CROWDED) if one[0].follows]


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_one_seg_when_something_is_there_and_none_else(view: View, held_out: bool) -> None:
    for one in talk(view, held_out=held_out):
        assert len(one) == 4
        for question in one:
            assert question.family in FAMILIES
            assert question.answer.count("[SEG]") == (1 if question.instances else 0)
            assert (question.text + question.answer).isascii()
            assert "{" not in question.text + question.answer
            assert "  " not in question.text + question.answer


def test_every_family_comes_up_in_a_dialogue() -> None:
    assert {q.family for one in talk(CROWDED) for q in one} == set(FAMILIES)


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[Question]:
        return conversation(CROWDED, np.random.default_rng(seed), 6, min_pixels=50)

    assert asked(3) == asked(3)
    assert asked(3) != asked(4)


def test_true_mask_is_the_union_of_the_objects() -> None:
    question = Question("several", "both mugs", "[SEG].", (1, 2))
    mask = true_mask(CROWDED, question)
    assert mask.dtype == np.bool_
    assert mask.shape == CROWDED.instances.shape
    assert int(mask.sum()) == 2 * PIXELS_EACH
    assert not true_mask(CROWDED, Question("absent", "the can", "There is no can here.", ())).any()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="1 turn or more"):
        conversation(CROWDED, np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match="riddle"):
        conversation(CROWDED, np.random.default_rng(0), 1, weights={"riddle": 1.0})


def _pattern(request: str) -> re.Pattern[str]:
    """A typed form of a request, its slot filled with one word."""
    plain = re.escape(request.lower().rstrip(".?"))
    return re.compile(re.sub(r"\\\{\w+\\\}", r"(\\w+)", plain) + r"[.?]?")


def _tables() -> list[say.Phrasings]:
    return [table for table in vars(say).values() if isinstance(table, say.Phrasings)]


def test_held_out_phrasings_are_never_spoken_in_training() -> None:
    corpus = {text.lower() for text in tokenizer_corpus()}
    for view in VIEWS:
        trained = {q.text.lower().rstrip(".?") for one in talk(view) for q in one}
        tested = {q.text.lower().rstrip(".?") for one in talk(view, held_out=True) for q in one}
        assert not trained & tested
        assert not tested & {text.rstrip(".?") for text in corpus}


@pytest.mark.parametrize("table", _tables())
def test_no_request_is_both_seen_and_held_out(table: say.Phrasings) -> None:
    seen = [_pattern(p.request) for p in table.seen if p.request != "{x}"]
    for phrasing in table.held_out:
        filled = re.sub(r"\{\w+\}", "it", phrasing.request).lower()
        assert not [pattern for pattern in seen if pattern.fullmatch(filled)], filled


def test_held_out_phrasings_use_known_words_only() -> None:
    known = {word for text in tokenizer_corpus() for word in re.findall(r"[a-z]+", text.lower())}
    held_out = [p.request for table in _tables() for p in table.held_out] + [p for u in say.USES for p in u.held_out]
    for text in held_out:
        plain = re.sub(r"\{\w+\}", "", text).lower()
        assert set(re.findall(r"[a-z]+", plain)) <= known, text
    assert not {p for u in say.USES for p in u.held_out} & {p for u in say.USES for p in u.seen}


def test_the_tokenizer_corpus_covers_whatever_is_said_in_training() -> None:
    corpus = tokenizer_corpus()
    known = {word for text in corpus for word in re.findall(r"[a-zA-Z]+|\S", text)}
    assert len(set(corpus)) == len(corpus)
    for question in (q for view in VIEWS for one in talk(view) for q in one):
        assert set(re.findall(r"[a-zA-Z]+|\S", f"{question.text} {question.answer}")) <= known


render_tiny = partial(render_views, width=64, height=48, shard_views=4)


def test_shards_resume_and_do_not_depend_on_workers(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    render_tiny(7, 5, cache=first, workers=2)
    kept = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert sorted(kept) == ["shard_00000007.npz", "shard_00000008.npz"]
    (first / "shard_00000008.npz").unlink()
    render_tiny(7, 8, cache=first)
    assert (first / "shard_00000007.npz").stat().st_mtime_ns == kept["shard_00000007.npz"]
    render_tiny(8, 1, cache=second)
    again, alone = ViewCache(first), ViewCache(second)
    assert len(again) == 8
    assert len(alone) == 4
    for i in range(4):
        assert np.array_equal(again[4 + i].rgb, alone[i].rgb)
        assert np.array_equal(again[4 + i].instances, alone[i].instances)
        assert again[4 + i].objects == alone[i].objects
    with pytest.raises(ValueError, match="64x48"):
        render_views(7, 1, width=32, height=24, cache=first, shard_views=4)


def test_the_cache_gives_back_what_was_rendered(tmp_path: Path) -> None:
    from lisa_ros.simulation.tabletop import Tabletop

    render_tiny(11, 1, cache=tmp_path)
    kept = ViewCache(tmp_path, limit=2)
    with Tabletop(11, width=64, height=48) as table:
        table.rearrange()
        table.move_camera()
        fresh = table.render()
    assert len(kept) == 2
    assert np.array_equal(kept[0].rgb, fresh.rgb)
    assert np.array_equal(kept[0].instances, fresh.instances)
    assert kept[0].objects == fresh.objects
    assert np.array_equal(kept[0].camera.k, fresh.camera.k)
    assert np.array_equal(kept[0].camera.pose, fresh.camera.pose)
    assert np.isinf(kept[0].depth_m).all()
    assert kept[0].depth_m.shape == (48, 64)


def test_an_empty_cache_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render_views"):
        ViewCache(tmp_path)


def test_splits_never_meet() -> None:
    seeds = sorted(scenes.SPLITS.values())
    assert min(b - a for a, b in pairwise(seeds)) * scenes.SHARD_VIEWS > 10_000_000
