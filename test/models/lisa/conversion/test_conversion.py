# SPDX-License-Identifier: Apache-2.0
"""A converted checkpoint equals its original to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conversion import EMBEDDED, SHARD_BYTES, assert_same_network, converted, load
from golden import CASES, MAX_NEW_TOKENS, Case, read_case
from safetensors.torch import load_file, save_file

from lisa_ros.cli.main import main
from lisa_ros.models.common.checkpoints.configuration import CONVERSION, UNFINISHED
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa import Answer, CheckpointError, Lisa, MaskStep


def ask(lisa: Lisa, case: Case) -> tuple[list[np.ndarray[Any, Any]], tuple[int, ...]]:
    steps = list(lisa.answer(lisa.encode(case.image), case.command, case.history, max_new_tokens=MAX_NEW_TOKENS))
    answer = steps.pop()
    assert isinstance(answer, Answer)
    return [step.logits for step in steps if isinstance(step, MaskStep)], tuple(answer.ids)


@pytest.fixture(scope="module")
def golden_converted(golden_lisa: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("golden")
    return {kind: converted(golden_lisa, folder / kind, kind) for kind in ("none", "8bit", "4bit")}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["none", "8bit", "4bit"])
def test_every_number_equals_the_originals(
    golden_lisa: Path, golden_converted: dict[str, Path], kind: str, precision: str
) -> None:
    assert_same_network(load(golden_lisa, kind, precision), load(golden_converted[kind], precision=precision))


def assert_same_answers(original: Lisa, ours: Lisa, cases: list[Case]) -> None:
    masked = 0
    for case in cases:
        (masks, ids), (our_masks, our_ids) = ask(original, case), ask(ours, case)
        assert our_ids == ids
        assert len(our_masks) == len(masks)
        assert all(np.array_equal(one, other) for one, other in zip(our_masks, masks, strict=True))
        masked += len(masks)
    assert masked


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_masks_and_text_equal_the_originals(golden_lisa: Path, golden_converted: dict[str, Path], kind: str) -> None:
    cases = [read_case(golden_lisa, number) for number in CASES]
    assert_same_answers(load(golden_lisa, kind), load(golden_converted[kind]), cases)


def test_masks_in_half_precision(golden_lisa: Path, golden_converted: dict[str, Path]) -> None:
    original = load(golden_lisa, "4bit", "bf16")
    assert_same_answers(original, load(golden_converted["4bit"], precision="bf16"), [read_case(golden_lisa, 0)])


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_the_embedded_checkpoint_too(tmp_path: Path, kind: str) -> None:
    lisa = load(converted(EMBEDDED, tmp_path / "out", kind))
    assert kind in lisa.name
    assert_same_network(load(EMBEDDED, kind), lisa)


def test_what_is_not_quantized_is_stored_unchanged(eight_bit: Path) -> None:
    before, after = (dict(WeightFiles(folder).tensors()) for folder in (EMBEDDED, eight_bit))
    quantized = {key for key in before if "model.layers." in key and key.endswith("_proj.weight")}
    assert len(quantized) == 7 * 6
    assert after.keys() == before.keys() | {key.removesuffix("weight") + "SCB" for key in quantized}
    for key in before.keys() - quantized:
        assert after[key].dtype == before[key].dtype and torch.equal(after[key], before[key])
    clips = [dict(WeightFiles(folder / "clip").tensors()) for folder in (EMBEDDED, eight_bit)]
    assert clips[0].keys() == clips[1].keys()
    assert all(torch.equal(clips[0][key], clips[1][key]) for key in clips[0])


def test_the_files_have_a_bounded_size(eight_bit: Path) -> None:
    index = json.loads((eight_bit / "model.safetensors.index.json").read_text())["weight_map"]
    files = sorted(eight_bit.glob("model-*.safetensors"))
    assert len(files) > 3 and {file.name for file in files} == set(index.values())
    assert all({key for key, name in index.items() if name == file.name} == set(load_file(file)) for file in files)
    assert all(file.stat().st_size < 1.2 * SHARD_BYTES for file in files)
    assert not list(eight_bit.rglob("*.part")) and not (eight_bit / UNFINISHED).exists()
    config = json.loads((eight_bit / "config.json").read_text())
    assert config["vision_tower"] == "clip"
    assert {name: config[CONVERSION][name] for name in ("format", "quantization")} == {
        "format": 1,
        "quantization": "8bit",
    }


def test_unneeded_files_and_tensors_are_left_out(source: Path, tmp_path: Path) -> None:
    for folder, key in ((source, "model.layers.0.self_attn.rotary_emb.inv_freq"), (source / "clip", "text_model.x")):
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, key: torch.ones(3)}, folder / "model.safetensors")
    (source / "trainer.bin").write_bytes(b"something else")
    output = converted(source, tmp_path / "out")
    keys = [*WeightFiles(output).shapes(), *WeightFiles(output / "clip").shapes()]
    assert not [key for key in keys if "inv_freq" in key or "text_model" in key]
    assert not (output / "trainer.bin").exists() and (output / "added_tokens.json").is_file()
    assert_same_network(load(source, "8bit"), load(output))


def test_clip_in_another_folder_is_included(source: Path, tmp_path: Path) -> None:
    shutil.move(source / "clip", tmp_path / "elsewhere")
    assert main(["convert", str(source), str(tmp_path / "out"), "--device", "cpu"]) == 2
    arguments = ["--vision-tower", str(tmp_path / "elsewhere"), "--quantization", "8bit", "--device", "cpu"]
    assert main(["convert", str(source), str(tmp_path / "out"), *arguments]) == 0
    shutil.rmtree(tmp_path / "elsewhere")
    assert_same_network(load(tmp_path / "out"), load(EMBEDDED, "8bit"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "nowhere is not a folder"),
        ([str(EMBEDDED / "clip"), "out"], "has no field"),
        ([str(EMBEDDED), "out", "--vision-tower", str(EMBEDDED)], "preprocessor_config.json"),
    ],
)
def test_an_invalid_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_not_converted(source: Path, tmp_path: Path) -> None:
    tensors = load_file(source / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.layers\.0\.mlp\.up_proj\.weight has numbers that are NaN"):
        converted(source, tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_converted_source_is_refused(eight_bit: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="converted to 8bit already"):
        converted(eight_bit, tmp_path / "out", "4bit")
    plain = converted(EMBEDDED, tmp_path / "plain", "none")
    assert_same_network(load(converted(plain, tmp_path / "again")), load(eight_bit))


def test_tensors_that_cannot_be_copied(source: Path, tmp_path: Path) -> None:
    file = source / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "model.norm.weight": tensors["model.norm.weight"].int()}, file)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight holds torch\.int32"):
        converted(source, tmp_path / "out")
    file.rename(source / "a.safetensors")
    save_file({"model.norm.weight": tensors["model.norm.weight"]}, source / "b.safetensors")
    names = {"1": "a.safetensors", "2": "b.safetensors"}
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(CheckpointError, match=r"in more than one of its files: model\.norm\.weight"):
        converted(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
