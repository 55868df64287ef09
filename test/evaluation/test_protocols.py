# SPDX-License-Identifier: Apache-2.0
"""How questions are put and scored by each protocol, from a folder on disk to the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated_models import BLUE, RED, Loader, Model, RefusingModel, TeacherForcedModel, results
from tiny_datasets import image, reference, write_grefer, write_refer

from lisa_ros.datasets.catalogue import Source
from lisa_ros.datasets.samples import Round, Sample
from lisa_ros.evaluation.evaluate import Evaluation, run_evaluation
from lisa_ros.evaluation.items import ItemLog
from lisa_ros.evaluation.protocols import generate, teacher_forced
from lisa_ros.evaluation.runner import evaluate
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.files.output_folders import OutputError


def test_generated_answers_are_judged(wanted: Evaluation, capsys: pytest.CaptureFixture[str]) -> None:
    model = TeacherForcedModel()
    assert run_evaluation(wanted, Loader([model])) == 0
    assert [question for question, _ in model.asked] == [
        "What is red? Please output segmentation mask.",
        "What is two squares in this image? Please output segmentation mask.",
        "Where is the dog? Please output segmentation mask.",
    ]
    found = results(wanted)
    (row,) = found["rows"]
    # The first mask alone is scored: red is right, half of "two" is red, and the dog is not found.
    union = np.count_nonzero(RED | BLUE)
    assert row["giou"] == pytest.approx((1 + RED.sum() / union + 0) / 3, abs=1e-5)
    assert row["ciou"] == pytest.approx(2 * RED.sum() / (RED.sum() + union + RED.sum()), abs=1e-6)
    assert (row["items"], row["failed"], row["present"], row["absent"]) == (3, 0, 3, 0)
    assert row["refused_present"] == pytest.approx(1 / 3)
    assert found["complete"] and found["protocol"] == "generate" and found["checkpoint"] == "checkpoint"
    assert found["computed_in"] == {"none": "float32 on cpu"} and len(found["weights_sha256"]) == 64
    assert [item["masks"] for item in found["items"]] == [1, 2, 0]
    assert found["items"][2]["answer"] == "There is no such object."
    assert f"{row['giou']:.4f}" in capsys.readouterr().out


def test_union_of_masks(wanted: Evaluation) -> None:
    assert run_evaluation(replace(wanted, rule="union"), Loader()) == 0
    assert [round(item["iou"], 4) for item in results(wanted)["items"]] == [1, 1, 0]
    with pytest.raises(OutputError, match="mask was 'union', now 'first'"):
        run_evaluation(wanted, Loader())


def test_all_texts_in_plain_phrasing(wanted: Evaluation) -> None:
    model = TeacherForcedModel()
    run_evaluation(replace(wanted, phrasing="plain", all_texts=True), Loader([model]))
    assert [question for question, _ in model.asked][:2] == ["What is red?", "ask this only with all texts"]
    assert all(turns == () for _, turns in model.asked), "texts of ReasonSeg are no dialogue"
    assert model.encoded == 3, "an image is encoded once"


def test_teacher_forcing_is_the_papers_protocol(wanted: Evaluation) -> None:
    model = TeacherForcedModel()
    assert run_evaluation(replace(wanted, protocol="teacher_forced"), Loader([model])) == 0
    assert model.asked[0][0] == " What is red? Please output segmentation mask."
    found = results(wanted)
    assert found["phrasing"] == "upstream" and found["mask"] is None
    assert found["items"][2]["iou"] == pytest.approx(1, abs=1e-5), "this model marks red, whatever the question is"


@pytest.mark.parametrize("protocol", ["teacher_forced", "referring"])
def test_a_model_without_the_protocol_leaves_the_folder_to_other_runs(wanted: Evaluation, protocol: str) -> None:
    with pytest.raises(ValueError, match=f"{protocol} protocol; use generate"):
        run_evaluation(replace(wanted, protocol=protocol), Loader([Model()]))
    assert not (wanted.output / "run.json").exists()
    assert run_evaluation(wanted, Loader()) == 0


def test_quantized_answers_are_compared_with_those_of_16_bit(wanted: Evaluation) -> None:
    loader = Loader([TeacherForcedModel(), TeacherForcedModel(), RefusingModel()])
    assert run_evaluation(replace(wanted, protocol="quantization"), loader) == 0
    assert loader.loaded == ["none", "8bit", "4bit"]
    found = results(wanted)
    assert [row["row"] for row in found["rows"]] == ["8bit", "4bit"]
    eight, four = found["rows"]
    assert (eight["giou"], eight["equal_answers"]) == (pytest.approx(1, abs=1e-4), 1)
    # The refusing one agrees only where the other finds nothing.
    assert (four["giou"], four["equal_answers"]) == (pytest.approx(1 / 3, abs=1e-4), pytest.approx(1 / 3))
    assert {item["variant"] for item in found["items"]} == {"8bit", "4bit"}
    assert found["items"][0]["expected"] == "The red part is [SEG]."
    run_evaluation(replace(wanted, protocol="quantization"), loader)
    assert len(loader.loaded) == 3


def test_one_quantization_alone(wanted: Evaluation) -> None:
    loader = Loader()
    options = LoadOptions(device="cpu", quantization="4bit")
    run_evaluation(replace(wanted, protocol="quantization", options=options), loader)
    assert loader.loaded == ["none", "4bit"]


def test_all_sentences_about_an_image(tmp_path: Path, checkpoint: Path) -> None:
    folder = write_refer(tmp_path / "data", [reference(1, 11, "the red one", "a dog"), reference(2, 12, "blue thing")])
    wanted = Evaluation("refcoco", Source(folder, "val"), "generate", tmp_path / "out", checkpoint)
    model = TeacherForcedModel()
    run_evaluation(wanted, Loader([model]))
    found = results(wanted)
    assert [round(item["iou"], 3) for item in found["items"]] == [1, 0, 1] and model.encoded == 1
    assert found["partition"] == "unc" and all(turns == () for _, turns in model.asked)
    assert [row["row"] for row in found["rows"]] == ["all"]


def test_absent_objects(tmp_path: Path, checkpoint: Path) -> None:
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


def test_text_is_judged_where_the_model_chose_it(tmp_path: Path) -> None:
    rounds = tuple(Round(text, True, lambda: RED.astype(np.uint8), must_say="Red part") for text in ("red", "blue"))
    model = TeacherForcedModel()
    ways = {
        "full": generate(model, "plain"),
        "mask_only": generate(model, "plain", answer="mask_only"),
        "forced": teacher_forced(model),
    }
    said = {}
    for name, way in ways.items():
        with ItemLog(tmp_path / f"{name}.jsonl") as log:
            evaluate([Sample("1", image, rounds)], model, way, log)
            said[name] = [item.said for item in log.items.values()]
    assert said == {"full": [True, False], "mask_only": [None, None], "forced": [None, None]}


def test_commands_are_put_as_they_stand(tmp_path: Path) -> None:
    rounds = tuple(Round("red", False, lambda: RED.astype(np.uint8), is_command=command) for command in (True, False))
    model = TeacherForcedModel()
    with ItemLog(tmp_path / "items.jsonl") as log:
        evaluate([Sample("1", image, rounds)], model, generate(model, "upstream"), log)
    asked = [question for question, _ in model.asked]
    assert asked == ["red", "What is red in this image? Please output segmentation mask."]
