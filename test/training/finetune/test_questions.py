# SPDX-License-Identifier: Apache-2.0
"""Questions, answers and targets of a fine-tuning."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reason_folder import explain, make_folder

from lisa_ros.datasets.reason_seg import read_reason_seg
from lisa_ros.datasets.samples import DataError, Sample
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa import load_lisa
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.training.finetune.lora import prepare
from lisa_ros.training.finetune.options import LoraOptions
from lisa_ros.training.finetune.stage import FinetuneStage
from lisa_ros.training.language.reason_questions import ANSWERS, Curriculum, Exchange
from lisa_ros.training.language.targets import IGNORED, TargetEncoder, spread_and_shift
from lisa_ros.training.scenes.frozen_features import FeatureCache, image_of

EXPLANATION = "Because it is red."


def curriculum(samples: list[Sample], **changes: int) -> Curriculum:
    numbers = {"seed": 1, "batch": 2, "questions": 3, **changes}
    return Curriculum(samples, plain=lambda text: text, **numbers)


def exchanges(samples: list[Sample], batches: int = 60) -> list[Exchange]:
    ask = curriculum(samples)
    return [exchange for number in range(batches) for one in ask(number) for exchange in one.exchanges]


def test_every_image_is_used_equally_often(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 5))
    ask = curriculum(samples)
    came = Counter(one.sample.name for number in range(10) for one in ask(number))
    assert set(came.values()) == {4}
    first, second = ([one.sample.name for n in numbers for one in ask(n)] for numbers in (range(0, 3), range(5, 8)))
    assert first != second


@pytest.mark.parametrize(("share", "replayed"), [(0.5, 20), (0.25, 10), (0.1, 4), (0.0, 0)])
def test_replayed_images_are_spread_evenly(tmp_path: Path, share: float, replayed: int) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 5))
    general = [replace(one, name=f"general {i}") for i, one in enumerate(samples[:4])]
    ask = Curriculum(samples, 1, 2, 3, lambda text: text, general, share)
    names = [one.sample.name for number in range(20) for one in ask(number)]
    counts = Counter(name for name in names if name.startswith("general"))
    assert sum(counts.values()) == replayed
    assert not counts or max(counts.values()) - min(counts.values()) <= 1, "each equally often"
    own = Counter(name for name in names if not name.startswith("general"))
    assert max(own.values()) - min(own.values()) <= 1
    halves = [sum(name.startswith("general") for name in names[i : i + 20]) for i in (0, 20)]
    assert halves[0] == halves[1], "spread over the training"


def test_a_batch_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 5))
    assert curriculum(samples)(7) == curriculum(samples)(7)
    assert curriculum(samples)(7) != curriculum(samples, seed=2)(7)


def test_a_few_texts_at_a_time_each_once(tmp_path: Path) -> None:
    texts = [f"thing {i}" for i in range(5)]
    samples = read_reason_seg(make_folder(tmp_path / "train", 1, text=texts))
    for number in range(20):
        for one in curriculum(samples)(number):
            asked = [text for exchange in one.exchanges for text in texts if text in exchange.question]
            assert len(asked) == len(set(asked)) == 3


def test_phrases_are_put_into_questions_in_small_letters(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 2, text=["  Die Rote Tasse "]))
    asked = exchanges(samples)
    assert all("die rote tasse" in one.question for one in asked)
    assert {one.answer for one in asked} == set(ANSWERS)
    assert "What is die rote tasse in this image? Please output segmentation mask." in {one.question for one in asked}
    assert "die rote tasse" in {one.question for one in asked}


def test_sentences_stay_as_they_are(tmp_path: Path) -> None:
    text = "Where does {it} sit?"
    samples = read_reason_seg(make_folder(tmp_path / "train", 2, text=[text], is_sentence=True))
    questions = {one.question for one in exchanges(samples)}
    assert f"{text} Please output segmentation mask." in questions
    assert all(question.startswith(text) for question in questions)


def test_explanations_are_asked_for_in_three_ways(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "train", 1, is_sentence=True)
    explain(data, {"view0.png": EXPLANATION})
    asked = exchanges(read_reason_seg(data), 200)
    alone = [one for one in asked if one.truth is None]
    explained = [one for one in asked if one.truth is not None and EXPLANATION in one.answer]
    plain = [one for one in asked if one.answer in ANSWERS]
    assert len(alone) + len(explained) + len(plain) == len(asked)
    assert 0.04 < len(alone) / len(asked) < 0.2
    assert 0.3 < len(explained) / len(asked) < 0.6
    assert {one.answer for one in alone} == {EXPLANATION}
    assert not any("mask" in one.question for one in alone)
    assert all("why" in one.question or "reasons" in one.question for one in explained)
    assert all(one.question.endswith("mask.") for one in plain)


def test_absent_objects_are_denied(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "train", 2, shapes=[])
    explain(data, {"view0.png": "There is no mug here."})
    asked = exchanges(read_reason_seg(data))
    assert {one.answer for one in asked} == {"There is no mug here.", "There is no such thing in this image."}
    assert {one.truth for one in asked} == {None}


SQUARE = [{"label": "target", "points": [[5, 20], [34, 20], [34, 44], [5, 44]]}]
TURNS = [
    {"text": "the red [SEG] square", "answer": "Sure, it is [SEG].", "shapes": SQUARE},
    {"text": "and the green one?", "answer": "There is none.", "shapes": []},
    {"text": "the first again", "answer": "[SEG].", "shapes": SQUARE},
]


def test_a_dialogue_is_one_conversation_as_it_stands(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 1, dialogue=TURNS))
    (one,) = curriculum(samples, batch=1)(0)
    (conversation,) = one.conversations
    assert conversation == [(turn["text"], turn["answer"]) for turn in TURNS]
    assert [exchange.truth is not None for exchange in one.exchanges] == [True, False, True]


def test_of_a_dialogue_every_answer_is_learned(speech: TargetEncoder, tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 1, dialogue=TURNS))
    ask = Curriculum(samples, seed=1, batch=1, questions=3, plain=speech.plain)
    ids, targets = speech.ids_and_targets(ask(0)[0].conversations[0])
    said = speech.tokenizer.decode_answer(targets[targets != IGNORED].tolist())
    assert said.replace(" ", "").replace("</s>", "") == "Sure,itis[SEG].Thereisnone.[SEG]."
    assert int((ids == speech.tokenizer.encode("[SEG]")[0]).sum()) == 2
    assert int((targets == speech.tokenizer.eos_token_id).sum()) == 3


@pytest.fixture(scope="module")
def speech() -> TargetEncoder:
    lisa = load_lisa(embedded_checkpoint(), LoadOptions(device="cpu"))
    return TargetEncoder(lisa.tokenizer, TEMPLATES["llava_v1"], lisa.config)


@pytest.mark.parametrize("answer", [*ANSWERS, f"Sure, [SEG]. {EXPLANATION}", "Grüße 🤖!"])
def test_what_is_to_be_said_is_the_answer_and_its_end(speech: TargetEncoder, answer: str) -> None:
    ids, targets = speech.ids_and_targets([("the red square", answer)])
    said = ids[targets != IGNORED]
    assert torch.equal(said, targets[targets != IGNORED])
    assert said[-1] == speech.tokenizer.eos_token_id
    assert speech.tokenizer.decode_answer(said.tolist()).replace(" ", "") == answer.replace(" ", "")
    assert (targets[: len(ids) - len(said)] == IGNORED).all()


def test_llama_2s_template(speech: TargetEncoder) -> None:
    other = replace(speech, template=TEMPLATES["llava_llama_2"])
    ids, targets = other.ids_and_targets([("the red square", "Sure, [SEG].")])
    said = ids[targets != IGNORED].tolist()
    assert other.tokenizer.decode_answer(said).startswith("Sure, [SEG]")
    assert said[-1] == other.tokenizer.eos_token_id


def test_control_texts_of_a_data_set_mean_nothing(speech: TargetEncoder) -> None:
    text = speech.plain("the [SEG] </s> <image> USER: square")
    ids, _ = speech.ids_and_targets([(text, "[SEG].")])
    assert (ids == speech.tokenizer.encode("[SEG]")[0]).sum() == 1
    assert (ids == -200).sum() == 1


def test_a_question_is_learned_as_the_model_is_given_it(speech: TargetEncoder) -> None:
    typed, _ = speech.ids_and_targets([("SHOW ME THE PURPL MUG.", "[SEG].")])
    meant, _ = speech.ids_and_targets([("Show me the purple mug.", "[SEG].")])
    assert torch.equal(typed, meant)


def test_each_state_has_to_say_the_next_word() -> None:
    ids, targets = torch.tensor([1, 5, -200, 6, 7, 2]), torch.tensor([-100, -100, -100, -100, 7, 2])
    assert spread_and_shift(ids, targets, 3).tolist() == [-100, -100, -100, -100, -100, 7, 2, -100]


def make_stage(samples: list[Sample], *, batch: int) -> FinetuneStage:
    folder = embedded_checkpoint()
    lisa = load_lisa(folder, LoadOptions(device="cpu"))
    torch.manual_seed(0)
    prepare(lisa.network, LoraOptions(dropout=0.5), ["mask_decoder"], folder)
    talk = TargetEncoder(lisa.tokenizer, TEMPLATES["llava_v1"], lisa.config)
    clip = ClipPreprocessing(folder / "clip")
    return FinetuneStage(lisa.network, lisa.config, clip, talk, samples, seed=1, batch=batch, questions=2)


def test_the_states_that_prompt_masks_are_those_of_inference(tmp_path: Path) -> None:
    """A stage in its batch of padded rows masks as the model does that answers alone."""
    samples = read_reason_seg(make_folder(tmp_path / "train", 3))
    stage = make_stage(samples, batch=3)
    stage._learn(False)
    asked = stage._curriculum(0)
    with torch.no_grad():
        _, logits = stage._answer(asked, [stage._features(one.sample) for one in asked])
        for one, found in zip(asked, logits, strict=True):
            for i, exchange in enumerate(one.exchanges):
                alone = replace(one, exchanges=(exchange,))
                _, (single,) = stage._answer([alone], [stage._features(one.sample)])
                assert found.shape[1:] == image_of(one.sample).shape[:2]
                assert torch.allclose(found[i : i + 1], single, atol=1e-3)


def test_a_stage_learns(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 2))
    stage = make_stage(samples, batch=2)
    optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)
        loss, scalars = stage.step(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(scalars["loss"])
    assert losses[-1] < 0.8 * losses[0]


def test_the_grid_shows_image_truth_and_prediction(tmp_path: Path) -> None:
    samples = [
        *read_reason_seg(make_folder(tmp_path / "wide", 1)),
        *(
            replace(sample, name="tall")
            for sample in read_reason_seg(make_folder(tmp_path / "tall", 1, size=(200, 80)))
        ),
    ]
    stage = make_stage(samples, batch=2)
    grid = stage.images(0)
    assert grid.dtype == np.uint8 and grid.shape[1:] == (960, 3)
    assert stage.network.language.training
    assert "view0.png (" in stage.describe(0) and "tall (" in stage.describe(0)


def test_features_are_kept_as_long_as_there_is_memory(tmp_path: Path) -> None:
    samples = read_reason_seg(make_folder(tmp_path / "train", 3))
    lisa = load_lisa(embedded_checkpoint(), LoadOptions(device="cpu"))
    clip = ClipPreprocessing(embedded_checkpoint() / "clip")
    looks = FeatureCache(lisa.network, clip)
    first = looks(samples[0])
    assert looks(samples[0]) is first
    narrow = FeatureCache(lisa.network, clip, room=first.nbytes)
    kept = narrow(samples[1])
    assert narrow(samples[1]) is kept
    narrow(samples[0])
    again = narrow(samples[1])
    assert again is not kept and torch.equal(again.features, kept.features)


def test_a_truth_of_another_size(tmp_path: Path) -> None:
    from lisa_ros.training.finetune.inputs import check_images

    (sample,) = read_reason_seg(make_folder(tmp_path / "train", 1))
    small = replace(sample.rounds[0], truth=lambda: np.zeros((3, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"view0\.png: its mask has 3 x 3 pixels, the image 80 x 60"):
        check_images([replace(sample, rounds=(small,))])
