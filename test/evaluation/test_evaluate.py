# SPDX-License-Identifier: Apache-2.0
"""`lisa evaluate` from a folder on disk to its table and page; the model answers by the words of the question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted_segmenter import ScriptedFrame, ScriptedSegmenter, ScriptedSession, pixels_of
from tiny_datasets import (
    BLUE_BOX,
    RED_BOX,
    box_mask,
    picture,
    reason,
    reference,
    said,
    shape,
    write_grefer,
    write_mr_refcoco,
    write_picture,
    write_reason_seg,
    write_refer,
)

from lisa_ros.datasets.catalogue import Source
from lisa_ros.datasets.samples import DataError, Round, Sample
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import Item, ItemLog, OutputError
from lisa_ros.evaluation.protocols import Reply, generate, teacher_forced
from lisa_ros.evaluation.report import Page, page
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.evaluation.tables import markdown, rows_of
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.answers import CommandError, Finished, ObjectMask
from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.segmentation.turns import Turn

RED, BLUE = box_mask(RED_BOX), box_mask(BLUE_BOX)


@dataclass
class Model(ScriptedSegmenter):
    """Also remembers what it was asked, and can be stopped before a question."""

    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    stop_before: int = -1

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> ScriptedSession:
        remember = self.asked

        class Session(ScriptedSession):
            def segment(inner, command: str, *rest: Any, **more: Any) -> Any:  # noqa: N805
                remember.append((command, tuple(turn.answer for turn in turns)))
                return super().segment(command, *rest, **more)

        if len(self.asked) == self.stop_before:
            raise KeyboardInterrupt
        return Session(encoded, tuple(turns))


@dataclass
class ForcibleModel(Model):
    def force(
        self, encoded: ScriptedFrame, command: str, answer: str, turns: Sequence[Turn] = ()
    ) -> tuple[NDArray[np.bool_], ...]:
        self.asked.append((command, tuple(turn.answer for turn in turns)))
        assert answer == "[SEG]."
        return (pixels_of(encoded.image, "red"),)


@dataclass
class Loader:
    """Stands in for load_segmenter."""

    models: list[Model] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __call__(self, checkpoint: Path, options: LoadOptions) -> Model:
        self.loaded.append(options.quantization)
        return self.models.pop(0) if self.models else ForcibleModel()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def wanted(tmp_path: Path, checkpoint: Path) -> Evaluation:
    """Three ReasonSeg pictures: rightly answered, half right, and refused."""
    write_reason_seg(
        tmp_path / "data" / "val",
        {
            "a": reason("What is red?", "ask this only with all texts"),
            "b": reason("two squares", is_sentence=False, shapes=[shape("target", RED_BOX), shape("target", BLUE_BOX)]),
            "c": reason("Where is the dog?"),
        },
    )
    source = Source(tmp_path / "data", "val")
    return Evaluation("reason_seg", source, "generate", tmp_path / "out", checkpoint, LoadOptions(device="cpu"))


def results(wanted: Evaluation) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((wanted.output / "results.json").read_text())
    return told


def changed(wanted: Evaluation, **changes: Any) -> Evaluation:
    from dataclasses import replace

    return replace(wanted, **changes)


def test_generated_answers_are_judged(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    model = ForcibleModel()
    assert run_evaluation(wanted, Loader([model])) == 0
    assert [question for question, _ in model.asked] == [
        "What is red? Please output segmentation mask.",
        "What is two squares in this image? Please output segmentation mask.",
        "Where is the dog? Please output segmentation mask.",
    ]
    told = results(wanted)
    (row,) = told["rows"]
    # The first mask alone is judged: red is right, half of "two" is red, and the dog is not found.
    union = np.count_nonzero(RED | BLUE)
    assert row["giou"] == pytest.approx((1 + RED.sum() / union + 0) / 3, abs=1e-5)
    assert row["ciou"] == pytest.approx(2 * RED.sum() / (RED.sum() + union + RED.sum()), abs=1e-6)
    assert (row["items"], row["failed"], row["present"], row["absent"]) == (3, 0, 3, 0)
    assert row["refused_present"] == pytest.approx(1 / 3)
    assert told["complete"] and told["protocol"] == "generate" and told["checkpoint"] == "checkpoint"
    assert told["computed_in"] == {"none": "float32 on cpu"} and len(told["weights_sha256"]) == 64
    assert [item["masks"] for item in told["items"]] == [1, 2, 0]
    assert told["items"][2]["answer"] == "There is no such thing."
    assert f"{row['giou']:.4f}" in capsys.readouterr().out


def test_all_masks_together(wanted: Evaluation) -> None:
    assert run_evaluation(changed(wanted, rule="union"), Loader()) == 0
    assert [round(item["iou"], 4) for item in results(wanted)["items"]] == [1, 1, 0]
    with pytest.raises(OutputError, match="mask was 'union', now 'first'"):
        run_evaluation(wanted, Loader())


def test_texts_alone_and_all_of_them(wanted: Evaluation) -> None:
    model = ForcibleModel()
    run_evaluation(changed(wanted, phrasing="plain", all_texts=True), Loader([model]))
    assert [question for question, _ in model.asked][:2] == ["What is red?", "ask this only with all texts"]
    assert all(turns == () for _, turns in model.asked), "texts of ReasonSeg are no dialogue"
    assert model.encoded == 3, "a picture is looked at once"


def test_the_papers_protocol(wanted: Evaluation) -> None:
    model = ForcibleModel()
    assert run_evaluation(changed(wanted, protocol="teacher_forced"), Loader([model])) == 0
    assert model.asked[0][0] == " What is red? Please output segmentation mask."
    told = results(wanted)
    assert told["phrasing"] == "upstream" and told["mask"] is None
    assert told["items"][2]["iou"] == pytest.approx(1, abs=1e-5), "the forced model marks red, whatever it is asked"


def test_a_model_that_cannot_be_forced(wanted: Evaluation) -> None:
    with pytest.raises(ValueError, match="cannot be told its answer"):
        run_evaluation(changed(wanted, protocol="teacher_forced"), Loader([Model()]))


def test_nothing_is_done_twice(wanted: Evaluation) -> None:
    loader = Loader([first := ForcibleModel(), second := ForcibleModel()])
    run_evaluation(changed(wanted, limit=2), loader)
    assert len(first.asked) == 2 and results(wanted)["limit"] == 2
    run_evaluation(wanted, loader)
    assert [question for question, _ in second.asked] == ["Where is the dog? Please output segmentation mask."]
    assert results(wanted)["rows"][0]["items"] == 3
    run_evaluation(wanted, loader)
    assert len(loader.loaded) == 2, "with nothing left to ask no model is loaded"


def test_an_item_that_was_being_written(wanted: Evaluation) -> None:
    run_evaluation(wanted, Loader())
    log = wanted.output / "items.jsonl"
    before, data = results(wanted)["rows"], log.read_bytes()
    for cut in (1, 20, len(data.splitlines(keepends=True)[-1]) - 1):
        log.write_bytes(data[:-cut])
        model = ForcibleModel()
        run_evaluation(wanted, Loader([model]))
        assert len(model.asked) == 1 and results(wanted)["rows"] == before
    log.write_bytes(data + b'{"sample": "c.jpg"\n')
    run_evaluation(wanted, Loader())
    assert log.read_bytes() == data
    log.write_bytes(b"not an item\n" + data)
    with pytest.raises(OutputError, match="line 1 is no item"):
        run_evaluation(wanted, Loader())


def test_a_folder_belongs_to_one_run(wanted: Evaluation, checkpoint: Path) -> None:
    run_evaluation(wanted, Loader())
    for change, what in (
        ({"protocol": "teacher_forced"}, "protocol was 'generate', now 'teacher_forced'"),
        ({"all_texts": True}, "questions was 3, now 4"),
        ({"max_new_tokens": 9}, "max_new_tokens"),
        ({"options": LoadOptions(device="cpu", precision="bf16")}, "bfloat16"),
    ):
        with pytest.raises(OutputError, match=what):
            run_evaluation(changed(wanted, **change), Loader())
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(OutputError, match="weights_sha256"):
        run_evaluation(wanted, Loader())


def test_results_of_nobody_knows_what(wanted: Evaluation) -> None:
    wanted.output.mkdir()
    (wanted.output / "results.json").write_text("{}")
    with pytest.raises(OutputError, match=r"results\.json, but no run\.json"):
        run_evaluation(wanted, Loader())
    (wanted.output / "run.json").write_text("[")
    with pytest.raises(OutputError, match="damaged"):
        run_evaluation(wanted, Loader())


def test_what_is_broken_is_counted_and_shown_and_tried_again(wanted: Evaluation) -> None:
    data = wanted.source.home / "val"
    (data / "a.jpg").write_bytes(b"no picture")
    (data / "c.json").write_text('{"text": ["What?"], "is_sentence": true}')
    write_picture(data / "d.png")
    (data / "d.json").write_text(json.dumps(reason("a forbidden word")))
    assert run_evaluation(wanted, Loader()) == 0
    told = results(wanted)
    assert (told["rows"][0]["items"], told["rows"][0]["failed"]) == (1, 3)
    why = {item["sample"]: item["failed"] for item in told["items"]}
    assert "not an image" in why["a.jpg"] and "'shapes'" in why["c.jpg"] and why["b.jpg"] is None
    assert "does not take this word" in why["d.png"]
    shown = (wanted.output / "report.html").read_text()
    assert "3 failed" in shown and "&#x27;shapes&#x27;" in shown
    write_picture(data / "a.png").rename(data / "a.jpg")
    run_evaluation(wanted, Loader())
    assert results(wanted)["rows"][0]["items"] == 2


def test_if_nothing_can_be_judged_the_reason_is_said(wanted: Evaluation) -> None:
    for file in (wanted.source.home / "val").glob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the questions could be judged.*a\.jpg"):
        run_evaluation(wanted, Loader())
    assert results(wanted)["rows"][0]["giou"] is None


def test_a_failure_of_the_model_stops_the_run_and_loses_nothing(wanted: Evaluation) -> None:
    write_reason_seg(wanted.source.home / "val", {"bb": reason("crash")})
    with pytest.raises(RuntimeError, match="the model broke"):
        run_evaluation(wanted, Loader())
    assert len((wanted.output / "items.jsonl").read_text().splitlines()) == 2


def test_control_c_ends_with_a_partial_table(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_evaluation(wanted, Loader([ForcibleModel(stop_before=2)])) == 130
    told = results(wanted)
    assert not told["complete"] and told["rows"][0]["items"] == 2
    assert "| all" in capsys.readouterr().out
    assert "stopped before its end" in (wanted.output / "report.html").read_text()
    assert run_evaluation(wanted, Loader()) == 0
    assert results(wanted)["complete"] and results(wanted)["rows"][0]["items"] == 3


def test_nothing_to_read_or_to_load(wanted: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        run_evaluation(changed(wanted, source=Source(None, "val")), Loader())
    with pytest.raises(DataError, match="there is no folder"):
        run_evaluation(changed(wanted, source=Source(tmp_path / "nowhere", "val")), Loader())
    with pytest.raises(DataError, match="folder of split 'tset'"):
        run_evaluation(changed(wanted, source=Source(tmp_path / "data", "tset")), Loader())
    with pytest.raises(ValueError, match="no weights"):
        run_evaluation(changed(wanted, checkpoint=tmp_path / "data"), Loader())
    with pytest.raises(ValueError, match="no checkpoint folder"):
        run_evaluation(changed(wanted, checkpoint=tmp_path / "nowhere"), Loader())
    assert not wanted.output.exists()


def test_quantized_answers_are_judged_by_those_of_16_bit(wanted: Evaluation) -> None:
    loader = Loader([ForcibleModel(), ForcibleModel(), Blind()])
    assert run_evaluation(changed(wanted, protocol="quantization"), loader) == 0
    assert loader.loaded == ["none", "8bit", "4bit"]
    told = results(wanted)
    assert [row["row"] for row in told["rows"]] == ["8bit", "4bit"]
    eight, four = told["rows"]
    assert (eight["giou"], eight["equal_answers"]) == (pytest.approx(1, abs=1e-4), 1)
    # The blind one agrees only where the other finds nothing.
    assert (four["giou"], four["equal_answers"]) == (pytest.approx(1 / 3, abs=1e-4), pytest.approx(1 / 3))
    assert {item["variant"] for item in told["items"]} == {"8bit", "4bit"}
    assert told["items"][0]["expected"] == "The red part is [SEG]."
    run_evaluation(changed(wanted, protocol="quantization"), loader)
    assert len(loader.loaded) == 3


class Blind(ForcibleModel):
    def encode(self, image: NDArray[np.uint8]) -> ScriptedFrame:
        return super().encode(np.zeros_like(image))

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> ScriptedSession:
        class Session(ScriptedSession):
            def segment(inner, command: str, *rest: Any, **more: Any) -> Any:  # noqa: N805
                return super().segment("nothing", *rest, **more)

        return Session(encoded, tuple(turns))


def test_one_quantization_alone(wanted: Evaluation) -> None:
    loader = Loader()
    options = LoadOptions(device="cpu", quantization="4bit")
    run_evaluation(changed(wanted, protocol="quantization", options=options), loader)
    assert loader.loaded == ["none", "4bit"]


def test_all_sentences_about_a_picture(tmp_path: Path, checkpoint: Path) -> None:
    folder = write_refer(tmp_path / "data", [reference(1, 11, "the red one", "a dog"), reference(2, 12, "blue thing")])
    wanted = Evaluation("refcoco", Source(folder, "val"), "generate", tmp_path / "out", checkpoint)
    model = ForcibleModel()
    run_evaluation(wanted, Loader([model]))
    told = results(wanted)
    assert [round(item["iou"], 3) for item in told["items"]] == [1, 0, 1] and model.encoded == 1
    assert told["partition"] == "unc" and all(turns == () for _, turns in model.asked)
    assert [row["row"] for row in told["rows"]] == ["all"]


def test_things_that_are_not_there(tmp_path: Path, checkpoint: Path) -> None:
    references = [
        reference(1, [11], "red"),
        reference(2, [-1], "the dog") | {"no_target": True},
        reference(3, [-1], "the blue cat") | {"no_target": True},
        reference(4, [12], "the other"),
    ]
    folder = write_grefer(tmp_path / "data", references)
    wanted = Evaluation("grefcoco", Source(folder, "val"), "generate", tmp_path / "out", checkpoint)
    run_evaluation(wanted, Loader())
    (row,) = results(wanted)["rows"]
    assert (row["present"], row["absent"]) == (2, 2)
    # The dog is refused, the blue cat is not; red is found, the other is refused.
    assert (row["n_acc"], row["t_acc"]) == (0.5, 0.5)
    assert (row["refused_absent"], row["refused_present"]) == (0.5, 0.5)
    assert row["giou"] == pytest.approx((1 + 1 + 0 + 0) / 4, abs=1e-4)


@pytest.fixture
def dialogues(tmp_path: Path, checkpoint: Path) -> Evaluation:
    image, red, blue = "[IMAGE256:coco/train2014/COCO_train2014_000000000001.png]", "x|refcoco|11", "x|refcoco|12"
    first = said(
        f"{image} Segment the red one.",
        f"[MASK-DECODE:{red}]",
        f"[MASK-ENCODE:{red}] Segment the blue one right of it.",
        f"[MASK-DECODE:{blue}]",
        "What of the history?",
        f"[MASK-DECODE:{red}]",
    )
    second = said(f"{image} Segment the dog.", f"[MASK-DECODE:{red}]")
    folder = write_mr_refcoco(tmp_path / "data", [first, second])
    return Evaluation("mr_refcoco", Source(folder, "val"), "generate", tmp_path / "out", checkpoint)


def test_dialogues_have_the_models_own_answers_as_history(dialogues: Evaluation) -> None:
    model = ForcibleModel()
    run_evaluation(dialogues, Loader([model]))
    assert model.asked[0] == ("Segment the red one.", ())
    assert model.asked[2][1] == ("The red part is [SEG].", "The blue part is [SEG].")
    assert model.asked[3] == ("Segment the dog.", ())
    every, one, two, three = results(dialogues)["rows"]
    assert [row["row"] for row in (every, one, two, three)] == ["all", "turn 1", "turn 2", "turn 3"]
    assert (every["items"], one["items"], two["items"], three["items"]) == (4, 2, 1, 1)
    assert one["mean_iou"] == pytest.approx(0.5, abs=1e-3) and one["overall_iou"] == pytest.approx(0.5, abs=1e-3)
    assert (one["box_precision"], two["box_precision"]) == (pytest.approx(0.5), pytest.approx(1))


@dataclass
class ReferringModel(Model):
    """Says a box of its own, and remembers what it was shown."""

    shown: list[tuple[tuple[int, ...], list[NDArray[np.bool_]]]] = field(default_factory=list)

    def session(self, encoded: ScriptedFrame, turns: Sequence[Turn] = ()) -> Any:
        shown = self.shown

        class Session:
            def segment(self, command: str, references: Sequence[int] = (), **more: Any) -> Any:
                if "history" in command:
                    raise CommandError("The command cannot be asked.")
                shown.append((tuple(references), [found.mask for turn in turns for found in turn.objects]))
                everything = np.ones(encoded.image.shape[:2], dtype=np.bool_)
                left, top, width, height = bounding_box(RED)
                box = (left, top, left + width, top + height)
                found = ObjectMask(everything, (0, 5), box=tuple(map(float, box)))
                yield Finished("[SEG]", (found,), "end", tuple(references))

        return Session()


@pytest.mark.parametrize("references", ["own", "true", "none"])
def test_what_a_model_is_shown_of_earlier_rounds(dialogues: Evaluation, references: str) -> None:
    model = ReferringModel()
    run_evaluation(changed(dialogues, references=references), Loader([model]))
    (first, none), (second, masks), (third, _) = model.shown
    assert (first, third, none) == ((), (), [])
    assert second == (() if references == "none" else (1,))
    assert np.array_equal(masks[0], RED) == (references == "true")
    _, one, two, three = results(dialogues)["rows"]
    assert (one["box_precision"], two["box_precision"]) == (pytest.approx(1), pytest.approx(0)), "the model's own box"
    assert three["failed"] == 1


def test_references_of_other_kinds_are_another_run(dialogues: Evaluation) -> None:
    run_evaluation(dialogues, Loader([ReferringModel()]))
    with pytest.raises(OutputError, match="references was 'own', now 'true'"):
        run_evaluation(changed(dialogues, references="true"), Loader([ReferringModel()]))


def test_references_skip_a_round_that_could_not_be_asked(tmp_path: Path) -> None:
    """What failed is no turn of the dialogue; the others keep the numbers of their rounds."""
    asked: list[tuple[int, ...]] = []

    def ask(frame: Any, asked_round: Round, turns: Sequence[Turn]) -> Reply:
        asked.append(asked_round.references)
        if asked_round.text == "fails":
            raise CommandError("It cannot be asked.")
        return Reply(Turn(asked_round.text, ""), (), False, 0.0)

    rounds = tuple(
        Round(text, True, lambda: RED.astype(np.uint8), references=meant)
        for text, meant in (("one", ()), ("fails", (1,)), ("three", (1, 2)), ("four", (3,)))
    )
    sample = Sample("0", lambda: np.zeros((*RED.shape, 3), np.uint8), rounds, dialogue=True)
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([sample], ScriptedSegmenter(), ask, log)
    assert asked == [(), (1,), (1,), (3,)]


def test_a_dialogue_that_was_cut_off_begins_anew(dialogues: Evaluation) -> None:
    assert run_evaluation(dialogues, Loader([ForcibleModel(stop_before=2)])) == 130
    model = ForcibleModel()
    assert run_evaluation(dialogues, Loader([model])) == 0
    assert len(model.asked) == 4 and len(model.asked[2][1]) == 2
    assert results(dialogues)["rows"][0]["items"] == 4


def test_forced_dialogues_have_the_forced_answers_as_history(dialogues: Evaluation) -> None:
    model = ForcibleModel()
    run_evaluation(changed(dialogues, protocol="teacher_forced"), Loader([model]))
    assert model.asked[2][1] == ("[SEG].", "[SEG].")


def test_families_of_questions_and_pictures_from_memory(tmp_path: Path) -> None:
    def truth(mask: NDArray[np.bool_]) -> Any:
        return lambda: mask.astype(np.uint8)

    nothing = np.zeros_like(RED)
    table = Sample(
        "7",
        picture,
        (
            Round("the red one", True, truth(RED), group="direct"),
            Round("no, the blue one", True, truth(BLUE), group="follow-up"),
            Round("the dog", True, truth(nothing), group="absent"),
        ),
        dialogue=True,
    )
    model = Model()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([table], model, generate(model, "plain"), log)
        items = list(log.items.values())
    rows = {row["row"]: row for row in rows_of(items)}
    assert list(rows) == ["all", "direct", "follow-up", "absent", "turn 1", "turn 2", "turn 3"]
    assert rows["absent"]["refused_absent"] == 1 and rows["all"]["refused_present"] == 0
    assert "refused though present" in markdown(rows_of(items)) and "100.0%" in markdown(rows_of(items))
    with ItemLog(tmp_path / "items.jsonl") as again:
        assert list(again.items.values()) == items
    shown = page(Page("t", {}, rows_of(items), items, {("", "7"): table}), 2)
    assert shown.count("<img") == 6 and "2 of 3 questions" in shown


def test_the_page_shows_the_worst_first_and_runs_nothing(wanted: Evaluation) -> None:
    evil = "<script>alert('red')</script> & \udce9"
    write_reason_seg(wanted.source.home / "val", {"<img src=x>": reason(evil)})
    run_evaluation(changed(wanted, pictures=3), Loader())
    shown = (wanted.output / "report.html").read_text()
    assert "<script" not in shown and "<img src=x" not in shown and "&lt;script&gt;" in shown
    assert shown.count("<article>") == 3 and shown.count("data:image/jpeg;base64,") == 9
    assert shown.index("Where is the dog?") < shown.index("What is two squares")
    assert "http" not in shown, "the page needs no other file"
    run_evaluation(changed(wanted, pictures=0), Loader())
    assert "<article>" not in (wanted.output / "report.html").read_text()


def test_pictures_that_are_gone_when_the_page_is_made(wanted: Evaluation) -> None:
    run_evaluation(wanted, Loader())
    (wanted.source.home / "val" / "c.jpg").write_bytes(b"")
    run_evaluation(wanted, Loader())
    assert "No pictures" in (wanted.output / "report.html").read_text()


def test_a_truth_of_another_size_fails(tmp_path: Path) -> None:
    sample = Sample("1", picture, (Round("red", False, lambda: np.zeros((3, 4), np.uint8)),))
    model = Model()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([sample, Sample("2", picture)], model, generate(model, "plain"), log)
    (first, second) = log.items.values()
    assert "(3, 4)" in (first.failed or "") and second.failed == "nothing is asked about it"
    assert isinstance(first, Item) and rows_of([first, second])[0]["failed"] == 2


def test_words_are_judged_where_the_model_chose_them(tmp_path: Path) -> None:
    rounds = tuple(Round(text, True, lambda: RED.astype(np.uint8), must_say="Red part") for text in ("red", "blue"))
    model = ForcibleModel()
    ways = {
        "full": generate(model, "plain"),
        "mask_only": generate(model, "plain", answer="mask_only"),
        "forced": teacher_forced(model),
    }
    told = {}
    for name, way in ways.items():
        with ItemLog(tmp_path / f"{name}.jsonl") as log:
            evaluate([Sample("1", picture, rounds)], model, way, log)
            told[name] = [item.said for item in log.items.values()]
    assert told == {"full": [True, False], "mask_only": [None, None], "forced": [None, None]}


def test_rows_of_several_models_do_not_mix() -> None:
    items = [
        Item("1", 1, variant=variant, group="direct", dialogue=True, intersection=both, union=4, true_pixels=4)
        for variant, both in (("8bit", 4), ("4bit", 2))
    ]
    rows = {row["row"]: row["giou"] for row in rows_of(items)}
    assert list(rows) == ["8bit", "8bit, direct", "8bit, turn 1", "4bit", "4bit, direct", "4bit, turn 1"]
    assert rows["8bit, direct"] == pytest.approx(1, abs=1e-4) and rows["4bit, turn 1"] == pytest.approx(0.5, abs=1e-4)
    assert rows_of([]) == [] and "gIoU" in markdown([])
