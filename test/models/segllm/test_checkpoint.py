# SPDX-License-Identifier: Apache-2.0
"""Loading SegLLM folders: required, optional and unknown tensors, and converting folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_segllm import read_golden_case
from safetensors.torch import load_file, save_file

from lisa_ros.cli.main import main
from lisa_ros.models.checking import check_checkpoint
from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.converting import convert
from lisa_ros.models.lisa import CheckpointError
from lisa_ros.models.loading import model_of
from lisa_ros.models.segllm import Segllm, load_segllm
from lisa_ros.models.segllm.keys import BOX, CLASSIFIER, DETR, FUSION, HIPIE, TRANSFORMER

FP32 = LoadOptions(precision="fp32", device="cpu")
GAMMA = f"{FUSION}gamma_v"
INDEX = "model.safetensors.index.json"

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors], object]


def tensors_of(folder: Path) -> Tensors:
    return {
        key: tensor for file in sorted(folder.glob("model-*.safetensors")) for key, tensor in load_file(file).items()
    }


def remade(source: Path, folder: Path, change: Change, *, pickled: bool = False) -> Path:
    """A copy whose tensors were changed, in one file or, pickled, in two with an index."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model*", "golden", "README.md"))
    tensors = tensors_of(source)
    change(tensors)
    shutil.copytree(source / "clip-vit-tiny-patch14", folder / "clip-vit-tiny-patch14", dirs_exist_ok=True)
    if not pickled:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = sorted(tensors)
    shards = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, keys in shards.items():
        torch.save({key: tensors[key] for key in keys}, folder / file)
    placed = {key: file for file, keys in shards.items() for key in keys}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def without(*prefixes: str) -> Change:
    def change(tensors: Tensors) -> None:
        for key in [key for key in tensors if key.startswith(prefixes)]:
            del tensors[key]

    return change


def assert_same_weights(one: Segllm, other: Segllm) -> None:
    first, second = one.network.state_dict(), other.network.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def whole(golden_segllm: Path) -> Segllm:
    return load_segllm(golden_segllm, FP32)


def prompt_of(segllm: Segllm, golden: Path) -> torch.Tensor:
    case = read_golden_case(golden, 0)
    encoded = segllm.encode(case.image)
    return segllm.hipie_prompt(encoded, case.rounds_for(segllm, encoded, 2))


def test_the_folder_is_recognized(golden_segllm: Path, golden_lisa: Path) -> None:
    assert model_of(golden_segllm) == "segllm"
    assert model_of(golden_lisa) == "lisa"


@pytest.mark.parametrize(
    "gone",
    [(f"{TRANSFORMER}decoder.class_embed.", f"{TRANSFORMER}decoder.bbox_embed."), (CLASSIFIER, BOX)],
    ids=["first names", "second names"],
)
def test_either_name_of_a_shared_tensor_will_do(
    whole: Segllm, golden_segllm: Path, tmp_path: Path, gone: tuple[str, ...]
) -> None:
    assert_same_weights(load_segllm(remade(golden_segllm, tmp_path / "f", without(*gone)), FP32), whole)


def test_pickled_shards(whole: Segllm, golden_segllm: Path, tmp_path: Path) -> None:
    folder = remade(golden_segllm, tmp_path / "f", lambda tensors: None, pickled=True)
    assert_same_weights(load_segllm(folder, FP32), whole)


def test_what_is_skipped_need_not_be_there(whole: Segllm, golden_segllm: Path, tmp_path: Path) -> None:
    gone = without("lm_head", "model.segmentator.hipie.text_encoder", "model.segmentator.hipie.criterion")
    assert_same_weights(load_segllm(remade(golden_segllm, tmp_path / "f", gone), FP32), whole)


def test_missing_and_misshapen_tensors_are_named(golden_segllm: Path, tmp_path: Path) -> None:
    def spoil(tensors: Tensors) -> None:
        del tensors["model.segmentator.hipie.detr.detr.iou_head.2.bias"]
        tensors["model.mask_enc_head.bias"] = torch.zeros(3)

    with pytest.raises(CheckpointError) as raised:
        load_segllm(remade(golden_segllm, tmp_path / "f", spoil), FP32)
    assert "1 missing: model.segmentator.hipie.detr.detr.iou_head.2.bias" in str(raised.value)
    assert "1 misshapen: model.mask_enc_head.bias (3,) instead of (64,)" in str(raised.value)


def test_a_size_that_no_tensor_tells(golden_segllm: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gamma_l"):
        load_segllm(remade(golden_segllm, tmp_path / "f", without(f"{FUSION}gamma_l")), FP32)


def test_unknown_tensors_are_reported(golden_segllm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = remade(
        golden_segllm, tmp_path / "f", lambda tensors: tensors.update({"model.novel.weight": torch.ones(1)})
    )
    load_segllm(folder, FP32)
    assert "1 unknown tensors: model.novel.weight" in caplog.text


@pytest.mark.parametrize(
    ("field", "value"), [("segmentator", "sam"), ("mm_projector_type", "linear"), ("mm_vision_select_layer", -9)]
)
def test_another_segllm_is_refused(golden_segllm: Path, tmp_path: Path, field: str, value: object) -> None:
    folder = Path(shutil.copytree(golden_segllm, tmp_path / "f", ignore=shutil.ignore_patterns("golden")))
    config = json.loads((folder / "config.json").read_text()) | {field: value}
    (folder / "config.json").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"{field} is {value!r}"):
        load_segllm(folder, FP32)


def test_layers_of_clip_behind_the_one_that_is_read_are_not_computed(whole: Segllm) -> None:
    network, computed = whole.network, list[int]()
    layers = network.vision_tower.encoder.layers
    hooks = [
        layer.register_forward_hook(lambda *_, number=number: computed.append(number))
        for number, layer in enumerate(layers, start=1)
    ]
    pixels = torch.randn(1, 3, *(network.vision_tower.config.image_size,) * 2)
    with torch.inference_mode():
        found = network._clip(pixels)
        wanted, *_ = network.vision_tower(pixels, output_hidden_states=True).hidden_states[-2:]
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(found, wanted, atol=0, rtol=0)
    assert computed == [*range(1, len(layers)), *range(1, len(layers) + 1)]


def test_fusion_scales(whole: Segllm, golden_segllm: Path, tmp_path: Path) -> None:
    """The checkpoint's own are loaded, though the public loader ignores them; another file's when that is said."""
    stored = tensors_of(golden_segllm)[GAMMA].float()
    assert torch.equal(whole.network.hipie.encoder.fusion.gamma_v, stored)
    others = {
        f"detr.transformer.encoder.vl_layers.0.b_attn.{name}": torch.full((size,), 0.25)
        for name, size in (("gamma_v", 256), ("gamma_l", 768))
    }
    file = tmp_path / "r50_parts.pth"
    torch.save({"model": others}, file)
    options = LoadOptions(precision="fp32", device="cpu", fusion_scales=str(file))
    fusion = load_segllm(golden_segllm, options).network.hipie.encoder.fusion
    assert (fusion.gamma_v == 0.25).all() and (fusion.gamma_l == 0.25).all()
    torch.save({"model": {}}, file)
    with pytest.raises(CheckpointError, match="gamma_v of shape"):
        load_segllm(golden_segllm, options)


def only_index(golden: Path, folder: Path, change: Callable[[dict[str, str]], object], name: str = INDEX) -> Path:
    folder.mkdir()
    placed = json.loads((golden / INDEX).read_text())["weight_map"]
    change(placed)
    (folder / name).write_text(json.dumps({"weight_map": placed}))
    return folder


@pytest.mark.parametrize("name", [INDEX, "pytorch_model.bin.index.json"])
def test_the_index_alone_tells(golden_segllm: Path, tmp_path: Path, name: str) -> None:
    lines: list[str] = []
    assert check_checkpoint(only_index(golden_segllm, tmp_path / "f", lambda names: None, name), report=lines.append)
    assert "655 tensors" in lines[0] and "HIPIE's encoder 2" in lines[0]
    assert "all needed names are there, if each part has as many layers as its names show" in lines


def test_missing_last_layers_are_reported(golden_segllm: Path, tmp_path: Path) -> None:
    """By config.json's count; names alone tell nothing of them."""

    def change(names: dict[str, str]) -> None:
        for name in [name for name in names if name.startswith("model.layers.2.")]:
            del names[name]

    folder, lines = only_index(golden_segllm, tmp_path / "f", change), list[str]()
    assert check_checkpoint(folder, report=lines.append)
    shutil.copyfile(golden_segllm / "config.json", folder / "config.json")
    assert not check_checkpoint(folder, report=lines.append)
    assert any("missing: model.layers.2.input_layernorm.weight" in line for line in lines)


EXTRA = (
    "model.layers.0.self_attn.q_proj.bias",
    f"{HIPIE}detr.mask_head.dcn.weight",
    f"{DETR}backbone.0.backbone.stem.fc.weight",
)


@pytest.mark.parametrize("name", EXTRA)
def test_more_than_is_known_of_a_known_part(
    whole: Segllm, golden_segllm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """They are loaded all the same, and reported."""
    folder = remade(golden_segllm, tmp_path / "f", lambda tensors: tensors.update({name: torch.ones(1)}))
    assert_same_weights(load_segllm(folder, FP32), whole)
    assert f"1 unknown tensors: {name}" in caplog.text


def test_more_than_is_known_in_an_index(golden_segllm: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    plain, more = (
        only_index(golden_segllm, tmp_path / folder, lambda names, extra=extra: names.update(dict.fromkeys(extra, "x")))
        for folder, extra in (("plain", ()), ("more", EXTRA))
    )
    assert check_checkpoint(plain, report=lines.append) and check_checkpoint(more, report=lines.append)
    loaded = [line.partition(", ")[2].partition(" tensors: ") for line in lines if " tensors: " in line]
    assert [int(count) for count, _, _ in loaded] == [655, 658]
    assert loaded[0][2] == loaded[1][2], "neither loaded nor skipped on purpose"
    assert f"3 unknown, left out: {', '.join(sorted(EXTRA))}" in lines


@pytest.mark.parametrize("quantization", ["none", "8bit", "4bit"])
def test_converted_folders_are_checked(golden_segllm: Path, tmp_path: Path, quantization: str) -> None:
    lines: list[str] = []
    convert(Conversion(golden_segllm, tmp_path / "out", quantization, device="cpu"), lambda line: None)
    assert check_checkpoint(tmp_path / "out", report=lines.append)
    assert " 0 skipped" in lines[0] and "missing" not in "".join(lines) and "not known" not in "".join(lines)


def test_the_tokenizer_is_checked(golden_segllm: Path, tmp_path: Path) -> None:
    folder = remade(golden_segllm, tmp_path / "f", lambda tensors: None)
    (folder / "tokenizer.model").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        check_checkpoint(folder, report=lambda line: None)


def test_an_index_that_lacks_a_name(golden_segllm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(names: dict[str, str]) -> None:
        del names[f"{TRANSFORMER}enc_output.weight"]
        names["model.segmentator.hipie.novel"] = "model-00001-of-00003.safetensors"

    assert main(["check", "--checkpoint", str(only_index(golden_segllm, tmp_path / "f", change))]) == 1
    lines = capsys.readouterr().out
    assert f"1 missing: {TRANSFORMER}enc_output.weight" in lines
    assert "1 unknown, left out: model.segmentator.hipie.novel" in lines


def test_whole_folders_are_checked(golden_segllm: Path, golden_lisa: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--checkpoint", str(golden_segllm)]) == 0
    assert main(["check", "--checkpoint", str(golden_lisa)]) == 0
    assert capsys.readouterr().out.count("names and shapes fit; it would load") == 2
    assert main(["check", "--checkpoint", str(golden_segllm / "nowhere")]) == 2


@pytest.mark.parametrize("quantization", ["none", "8bit"])
def test_converted_is_the_same(golden_segllm: Path, tmp_path: Path, quantization: str) -> None:
    """To the bit what is loaded quantized, in one folder; what no answer depends on is left out."""
    lines: list[str] = []
    convert(Conversion(golden_segllm, tmp_path / "out", quantization, device="cpu"), lines.append)
    assert any("licence" in line for line in lines)
    names = json.loads((tmp_path / "out" / INDEX).read_text())["weight_map"]
    assert not any(name.startswith(("lm_head", "model.segmentator.hipie.text_encoder")) for name in names)
    assert (tmp_path / "out" / "clip" / "preprocessor_config.json").is_file()
    assert "states no licence" in (tmp_path / "out" / "LICENCES.md").read_text()
    plain = load_segllm(golden_segllm, LoadOptions(precision="fp32", device="cpu", quantization=quantization))
    again = load_segllm(tmp_path / "out", FP32)
    assert torch.equal(prompt_of(again, golden_segllm), prompt_of(plain, golden_segllm))
    for key, tensor in plain.network.hipie.state_dict().items():
        assert torch.equal(tensor, again.network.hipie.state_dict()[key]), key


def test_what_is_converted_is_not_converted_again(golden_segllm: Path, tmp_path: Path) -> None:
    convert(Conversion(golden_segllm, tmp_path / "out", "8bit", device="cpu"), lambda line: None)
    with pytest.raises(ValueError, match="converted to 8bit already"):
        convert(Conversion(tmp_path / "out", tmp_path / "twice", "4bit", device="cpu"), lambda line: None)


def test_a_quantized_models_prompt_is_close(whole: Segllm, golden_segllm: Path) -> None:
    eight = load_segllm(golden_segllm, LoadOptions(precision="fp32", device="cpu", quantization="8bit"))
    one, other = (prompt_of(segllm, golden_segllm).flatten() for segllm in (whole, eight))
    assert not torch.equal(one, other)
    assert np.isclose(torch.nn.functional.cosine_similarity(one, other, dim=0).item(), 1, atol=0.02)
