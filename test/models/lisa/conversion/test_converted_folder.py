# SPDX-License-Identifier: Apache-2.0
"""Loading and using a converted folder, and what is refused about a damaged one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conversion import EMBEDDED, assert_same_network, contents, converted, load
from reason_folder import make_folder
from safetensors.torch import load_file, save_file
from tiny_datasets import reason, write_reason_seg

from lisa_ros.cli.main import main
from lisa_ros.models.common.checkpoints.configuration import CONVERSION
from lisa_ros.models.common.weights.files import ALIGNMENT
from lisa_ros.models.lisa import CheckpointError


@pytest.mark.parametrize("asked", ["none", "4bit"])
def test_another_quantization_is_refused(eight_bit: Path, asked: str) -> None:
    with pytest.raises(CheckpointError, match=f"has its weights in 8bit, but {asked} was requested"):
        load(eight_bit, asked)


def test_the_stored_quantization_can_be_requested(eight_bit: Path, tmp_path: Path) -> None:
    assert "8bit" in load(eight_bit, "8bit").name
    plain = converted(EMBEDDED, tmp_path / "plain", "none")
    assert_same_network(load(plain, "8bit"), load(eight_bit))


def edit(folder: Path, part: str, change: Any) -> None:
    """Changes one tensor of a quantized layer, or takes it away where `change` makes None of it."""
    key = f"model.layers.0.self_attn.q_proj.{part}"
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    file = folder / index[key]
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    changed = change(tensors.pop(key))
    save_file(tensors if changed is None else {**tensors, key: changed}, file)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("SCB", lambda _: None, r"1 missing: model\.layers\.0\.self_attn\.q_proj\.SCB"),
        ("weight", lambda weight: weight[:10].clone(), r"q_proj\.weight \(10, 192\) instead of \(192, 192\)"),
        ("weight", lambda weight: weight.to(torch.uint8), r"q_proj\.weight holds torch\.uint8; torch\.int8 is exp"),
    ],
)
def test_a_damaged_folder(writable: Path, part: str, change: Any, message: str) -> None:
    edit(writable, part, change)
    with pytest.raises(CheckpointError, match=message):
        load(writable)


def test_a_cut_file_and_an_unknown_format(writable: Path) -> None:
    config = json.loads((writable / "config.json").read_text())
    for record in ({"format": 2, "quantization": "8bit"}, {"format": 1, "quantization": "auto"}, [1]):
        (writable / "config.json").write_text(json.dumps({**config, CONVERSION: record}))
        with pytest.raises(CheckpointError, match="this version reads format 1"):
            load(writable)
    (writable / "config.json").write_text(json.dumps(config))
    file = min(writable.glob("model-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match=r"model-00001-of-00009\.safetensors is a damaged or incomplete safetensors file"
    ):
        load(writable)


def test_lisa_segment(eight_bit: Path, tmp_path: Path) -> None:
    image = str(make_folder(tmp_path / "data", 1) / "view0.png")
    asked = ["--image", image, "--text", "the red square", "--device", "cpu", "--max-new-tokens", "24"]
    for name, more in (("theirs", ["--quantization", "8bit"]), ("ours", ["--checkpoint", str(eight_bit)])):
        assert main(["segment", *asked, "--output", str(tmp_path / name), *more]) == 0
    masks = {name: sorted((tmp_path / name).glob("*.png")) for name in ("theirs", "ours")}
    assert [file.name for file in masks["ours"]] == [file.name for file in masks["theirs"]]
    assert [file.read_bytes() for file in masks["ours"]] == [file.read_bytes() for file in masks["theirs"]]


def test_lisa_evaluate(eight_bit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reason_seg(tmp_path / "data" / "val", {"0": reason("the red cube", is_sentence=False)})
    basis = ["evaluate", "--dataset", "reason_seg", "--data", str(tmp_path / "data"), "--max-new-tokens", "24"]
    asked = [*basis, "--device", "cpu", "--checkpoint", str(eight_bit), "--output", str(tmp_path / "out")]
    assert main([*asked, "--protocol", "quantization"]) == 2
    assert "has its weights in 8bit, but none was requested" in capsys.readouterr().err
    assert main([*asked, "--protocol", "generate"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["quantization"] == "8bit"


def test_lisa_finetune_refuses_it(eight_bit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(make_folder(tmp_path / "data"))
    asked = ["finetune", "--checkpoint", str(eight_bit), "--data", data, "--output", str(tmp_path / "out")]
    assert main([*asked, "--steps", "1", "--device", "cpu"]) == 2
    assert "fine-tune the checkpoint that it was converted from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tensors_can_be_used_where_they_are_mapped(eight_bit: Path) -> None:
    lisa = load(eight_bit)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(eight_bit) in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    weights_of = {name: p for name, p in lisa.network.named_parameters() if p.dtype == torch.int8}
    assert len(weights_of) == 7 * 6
    for weight in weights_of.values():
        assert weight.data_ptr() % ALIGNMENT == 0
        assert any(begin <= weight.data_ptr() < end for begin, end in ranges)


def test_changes_to_a_network_do_not_reach_the_files(writable: Path) -> None:
    before = contents(writable)
    lisa = load(writable, precision="fp16")  # as it is stored, so that everything is mapped
    for weight in lisa.network.parameters():
        weight.data.zero_()
    assert contents(writable) == before


def test_a_tensor_that_is_not_aligned_is_copied(eight_bit: Path, writable: Path) -> None:
    for file in writable.rglob("*.safetensors"):
        save_file({key: tensor.clone() for key, tensor in load_file(file).items()}, file)
    lisa = load(writable)
    assert all(p.data_ptr() % ALIGNMENT == 0 for p in lisa.network.parameters())
    assert_same_network(lisa, load(eight_bit))
