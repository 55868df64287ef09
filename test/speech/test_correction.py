# SPDX-License-Identifier: Apache-2.0
"""Heard texts are brought to a vocabulary only where that is sure."""

import os
from pathlib import Path

import pytest

from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.vocabulary import Vocabulary, VocabularyError, model_vocabulary, read_vocabulary
from lisa_ros.tabletop.questions.corpus import every_request


@pytest.fixture(scope="module")
def embedded() -> Corrector:
    return Corrector(model_vocabulary(embedded_checkpoint()))


@pytest.mark.parametrize(
    ("heard", "used"),
    [
        ("Give me the battle behind the ring.", "Give me the bottle behind the ring."),
        ("Please give me the mud.", "Please give me the mug."),
        ("Where are the dumb menows?", "Where are the dominoes?"),
        ("Can you find the right most can?", "Can you find the rightmost can?"),
        ("Can you submit the red cone in this image?", "Can you segment the red cone in this image?"),
        ("Sag meant the black can.", "Segment the black can."),
    ],
)
def test_mishearings_of_the_table_are_corrected(embedded: Corrector, heard: str, used: str) -> None:
    correction = embedded.correct(heard)
    assert correction.text == used
    assert correction.heard == heard
    assert 0.7 < correction.confidence < 1.0


def test_what_the_model_knows_stays_as_it_was_heard(embedded: Corrector) -> None:
    for text in (
        "Where is the blue bottle?",
        "Give me something to drink from.",
        "and the red one?",
        "Bring me the red mug, please.",
        "Grab the ball.",
        "Would you pick up the duck?",
        "Hey, take the yellow cube.",
        "Hello robot, how many cans are there?",
        "Is there a green book?",
    ):
        correction = embedded.correct(text)
        assert (correction.text, correction.replaced) == (text, ()) and correction.confidence > 0.95


def test_what_sounds_like_nothing_stays_and_is_not_believed(embedded: Corrector) -> None:
    correction = embedded.correct("The quarterly revenue exceeded expectations.")
    assert "quarterly revenue exceeded" in correction.text
    assert correction.confidence < 0.6


def test_an_open_vocabulary_replaces_only_what_sounds_nearly_the_same() -> None:
    corrector = Corrector(Vocabulary.of_phrases(["torque wrench", "Philips screwdriver", "Zyxel router"]))
    assert corrector.correct("Hand me the talk wrench.").text == "Hand me the talk wrench."
    assert corrector.correct("Where is the zixel router?").text == "Where is the zyxel router?"
    assert corrector.correct("Where is the phillips screw driver?").text == "Where is the philips screwdriver?"
    assert corrector.correct("Give me the walnut next to the laptop.").text == "Give me the walnut next to the laptop."


@pytest.mark.parametrize(
    "text",
    [
        "Which object is closest to the robot?",
        "The two balls on the right",
        "Find something soft",
        "Which cup is a game piece on the left?",
    ],
)
def test_words_that_a_closed_vocabulary_has_are_never_replaced(embedded: Corrector, text: str) -> None:
    """Their neighbours were new to it: "on" became "in", "soft" became "soft toy"."""
    vocabulary = model_vocabulary(embedded_checkpoint()).words
    assert not [piece for piece, _ in embedded.correct(text).replaced if set(piece.split()) <= vocabulary]


def test_an_open_vocabulary_leaves_other_words_that_sound_alike() -> None:
    words = Vocabulary.of_phrases(
        ["It is on the table.", "the pepper next to it", "a cat to the left of the pot", "what is in the white bird"]
    )
    corrector = Corrector(words)
    for text in (
        "Not that one.",
        "Show me the toy.",
        "What can I use?",
        "Find the paper.",
        "Which knife can cut it?",
        "Where did I put it?",
    ):
        assert corrector.correct(text).text == text


def test_two_equally_good_readings_leave_the_heard_word() -> None:
    corrector = Corrector(Vocabulary.of_phrases(["the bat", "the pat"], closed=True))
    correction = corrector.correct("the vat")
    assert correction.text == "the vat"
    assert correction.replaced == ()


def test_nothing_is_corrected_without_a_vocabulary() -> None:
    assert Corrector(Vocabulary()).correct("Whatever it is.").text == "Whatever it is."
    assert Corrector(Vocabulary.of_phrases(["a"])).correct("").text == ""


def test_the_embedded_vocabulary_has_all_requests_that_the_model_knows(embedded: Corrector) -> None:
    requests = list(every_request())
    vocabulary = model_vocabulary(embedded_checkpoint())
    assert vocabulary.closed
    assert Vocabulary.of_phrases(requests).words == vocabulary.words
    assert Vocabulary.of_phrases(requests).pairs == vocabulary.pairs


def test_vocabulary_files(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# tools\n\ntorque wrench\nSet-up\n", encoding="utf-8")
    assert read_vocabulary(file).words == {"torque", "wrench", "set", "up"}
    assert not read_vocabulary(file).closed
    file.write_text("# closed: no other words\nmug\n", encoding="utf-8-sig")  # as editors on Windows save it
    assert read_vocabulary(file) == Vocabulary.of_phrases(["mug"], closed=True)
    file.write_text("# nothing\n")
    with pytest.raises(VocabularyError, match="has no word"):
        read_vocabulary(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VocabularyError, match="not UTF-8"):
        read_vocabulary(file)
    with pytest.raises(VocabularyError, match=r"missing\.txt cannot be read: No such file"):
        read_vocabulary(tmp_path / "missing.txt")
    assert model_vocabulary(tmp_path) == Vocabulary()


def test_vocabulary_files_of_any_content_work_or_get_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    for content, words in (
        (b"bottle\r\nmug\r\n", {"bottle", "mug"}),
        ("\ufeffbottle\n".encode(), {"bottle"}),
        (b"bottle\n" * 100_000, {"bottle"}),
        ("瓶子\n병\nbouteille\n🍾\n".encode(), {"瓶子", "병", "bouteille"}),
        (b"a" * 1_000_000, {"a" * 1_000_000}),
    ):
        file.write_bytes(content)
        assert read_vocabulary(file).words == words
        assert Corrector(read_vocabulary(file)).correct("the mug").text == "the mug"
    many = "\n".join(f"word{number}" for number in range(100_000)).encode()
    for content, sentence in (
        (b"", "has no word"),
        ("🍾\n".encode(), "has no word"),
        (bytes(1000), "has no word"),
        (bytes(range(256)), "not UTF-8 text"),
        ("bottle\n".encode("utf-16"), "not UTF-8 text"),
        (b"\xed\xa0\x80\n", "not UTF-8 text"),
        (many, "has 300000 different words and pairs of neighbouring words; it may have 20000"),
    ):
        file.write_bytes(content)
        with pytest.raises(VocabularyError, match=sentence):
            read_vocabulary(file)
    with pytest.raises(VocabularyError, match="Is a directory"):
        read_vocabulary(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VocabularyError, match="pipe is no file"):
        read_vocabulary(tmp_path / "pipe")
