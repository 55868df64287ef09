# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` of LIRA's released pieces: every tensor accounted for, LoRA merged, and what it refuses."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_lira import read_case
from safetensors.torch import load_file, save_file
from tiny_datasets import reference, write_refer

from lisa_ros.cli.main import main
from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.converting import convert
from lisa_ros.models.lira import MaskStep, load_lira
from lisa_ros.models.lira.configuration import configuration_of
from lisa_ros.models.lira.keys import merged, recipe_of
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.released.assembling import ReleasedLira
from lisa_ros.models.lira.released.pieces import find_pieces, holds_lira
from lisa_ros.models.lisa import CheckpointError
from lisa_ros.models.loading import model_of

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def pieces(golden_lira: Path, tmp_path: Path) -> Path:
    """The pieces, to be spoilt."""
    folder = tmp_path / "pieces"
    shutil.copytree(golden_lira, folder, ignore=shutil.ignore_patterns("golden"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def change(file: Path, edit: Callable[[Tensors], object]) -> None:
    tensors: Any = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    edit(tensors.get("state_dict", tensors))
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)


LIRA_FILE, OMG_FILE = "model_weight/LIRA-toy.pth", "omg_llava/omg_seg_convl.pth"
INTERNVL_FILE = "InternVL2-toy/model.safetensors"


@pytest.mark.parametrize(
    ("file", "key", "piece"),
    [
        (LIRA_FILE, "llm.base_model.model.model.layers.1.attention.wqkv.lora_B.default.weight", "lira"),
        (LIRA_FILE, "projector.model.seperate_embed_internvl.weight", "lira"),
        (OMG_FILE, "panoptic_head.transformer_decoder.layers.8.norms.2.bias", "omg"),
        (OMG_FILE, "backbone.layer3.blocks.1.gamma", "omg"),
        (INTERNVL_FILE, "language_model.model.layers.0.ffn_norm.weight", "internvl"),
    ],
)
def test_what_is_missing_is_named(pieces: Path, file: str, key: str, piece: str) -> None:
    change(pieces / file, lambda tensors: tensors.pop(key))
    with pytest.raises(CheckpointError, match=f"1 missing: {piece}:{key}"):
        ReleasedLira(pieces)


def test_what_is_unexpected_or_misshapen_is_named(pieces: Path) -> None:
    def edit(tensors: Tensors) -> None:
        tensors["projector.model.extra.weight"] = torch.zeros(2)
        tensors["projector_text2vision.model.2.bias"] = torch.zeros(3)

    change(pieces / LIRA_FILE, edit)
    with pytest.raises(CheckpointError) as error:
        ReleasedLira(pieces)
    assert "1 unexpected: lira:projector.model.extra.weight" in str(error.value)
    assert "1 misshapen: lira:projector_text2vision.model.2.bias (3,) for text2vision.2.bias (128,)" in str(error.value)


def test_every_released_tensor_is_used_or_known_not_to_be(golden_lira: Path) -> None:
    released = ReleasedLira(golden_lira)
    counts = {name: len(keys) for name, keys in json.loads((golden_lira / "keys.json").read_text()).items()}
    assert counts["model_weight/LIRA-toy.pth"] == 48
    assert "48 of lira, 53 of internvl, 361 of omg, 1 of classes" in released.report()
    assert f"{48 + 53 + 361 + 1} released ones" in released.report() and "17 are unused" in released.report()
    everything = counts["model_weight/LIRA-toy.pth"] + counts[INTERNVL_FILE] + counts[OMG_FILE] + 1
    assert everything == 48 + 53 + 361 + 1 + 17


@pytest.mark.parametrize(("width", "layers", "count"), [(2048, 24, 268), (4096, 32, 348)])
def test_trained_tensors_of_the_released_sizes(converted_lira: Path, width: int, layers: int, count: int) -> None:
    """As many as the public code writes for LIRA-2B and LIRA-8B."""
    raw = json.loads((converted_lira / "config.json").read_text())
    raw["language"] |= {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 16}
    config = configuration_of(raw, converted_lira, "none")
    with torch.device("meta"):
        network = LiraNetwork(config)
    sources = {one for key in network.state_dict() for one in recipe_of(key, config).sources}
    assert sum(piece == "lira" for piece, _ in sources) == count


def test_fused_layer_is_split_as_internlm2_reads_it(golden_lira: Path, converted_lira: Path) -> None:
    """Against x (W + 2 B A)' with queries, key and value of each key-value head side by side."""
    lira = torch.load(golden_lira / LIRA_FILE, weights_only=True)
    base = load_file(golden_lira / INTERNVL_FILE)
    prefix = "llm.base_model.model.model.layers.1.attention.wqkv"
    a, b = (lira[f"{prefix}.lora_{one}.default.weight"] for one in "AB")
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    fused = x @ base["language_model.model.layers.1.attention.wqkv.weight"].T + 2.0 * (x @ a.T) @ b.T
    heads = fused.view(5, 2, 4, 16)  # key-value heads; two queries, a key, a value; width
    ours = load_lira(converted_lira, LoadOptions(precision="fp32", device="cpu")).network.language.layers[1].self_attn
    for linear, golden in (
        (ours.q_proj, heads[:, :, :2].flatten(1)),
        (ours.k_proj, heads[:, :, 2].flatten(1)),
        (ours.v_proj, heads[:, :, 3].flatten(1)),
    ):
        assert torch.allclose(linear(x), golden, atol=1e-5)


def test_lora_is_added_in_float32_and_rounded_once() -> None:
    base, a, b = torch.tensor([[256.0]]).bfloat16(), torch.tensor([[1.0]]), torch.tensor([[0.49]])
    assert merged(base, a, b).item() == 256.0 and merged(base, a, b).dtype == torch.bfloat16
    assert merged(base, a, b * 2).item() == 258.0  # 257.96; 2 B A rounded first would be lost in steps of 2


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantized_once_is_quantized_at_loading(
    golden_lira: Path, converted_lira: Path, tmp_path: Path, quantization: str
) -> None:
    convert(Conversion(golden_lira, tmp_path / "q", quantization, device="cpu", shard_bytes=1_000_000), lambda _: None)
    ours = load_lira(tmp_path / "q", LoadOptions(device="cpu"))
    assert quantization in ours.name and len(list((tmp_path / "q").glob("*.safetensors"))) > 1
    theirs = load_lira(converted_lira, LoadOptions(device="cpu", quantization=quantization))
    case = read_case(golden_lira, 2)
    masks = []
    for lira in (ours, theirs):
        (step, _) = lira.answer(lira.encode(case.image), case.question, mask_only=True)
        assert isinstance(step, MaskStep)
        masks.append(step.logits)
    assert np.array_equal(*masks)


def test_licences_are_reported(golden_lira: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    convert(Conversion(golden_lira, tmp_path / "out", "none", device="cpu"), lines.append)
    assert any("non-commercial" in line for line in lines)
    assert "non-commercial" in (tmp_path / "out" / "LICENCES.md").read_text()
    assert model_of(tmp_path / "out") == "lira"
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".md", ".json", ".model", ".safetensors"}


def test_a_converted_folder_is_not_converted(converted_lira: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="converted already"):
        convert(Conversion(converted_lira, tmp_path / "again", "none", device="cpu"))


def contents(released: ReleasedLira) -> Tensors:
    return dict(released.tensors())


def assert_same(one: ReleasedLira, other: ReleasedLira) -> None:
    ours, theirs = contents(one), contents(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_backbone_from_openclip(pieces: Path, golden_lira: Path) -> None:
    """Where OMG-Seg's file has none: it was never trained, so that OpenCLIP's is the same."""
    trunk: Tensors = {}

    def edit(tensors: Tensors) -> None:
        for key in [key for key in tensors if key.startswith("backbone.")]:
            name = key.removeprefix("backbone.")
            for i in range(1, 5):
                name = name.replace(f"layer{i}.", f"stages.{i - 1}.")
            trunk[f"visual.trunk.{name}"] = tensors.pop(key)

    change(pieces / OMG_FILE, edit)
    with pytest.raises(CheckpointError, match=r"no backbone\.layer1"):
        ReleasedLira(pieces)
    save_file(trunk | {"text.token": torch.zeros(1)}, pieces / "omg_llava" / "open_clip_model.safetensors")
    assert_same(ReleasedLira(pieces), ReleasedLira(golden_lira))


def test_layout_of_the_repository(pieces: Path, golden_lira: Path) -> None:
    (pieces / "pretrained").mkdir()
    for name in ("InternVL2-toy", "omg_llava"):
        (pieces / name).rename(pieces / "pretrained" / name)
    tensors = torch.load(pieces / LIRA_FILE, weights_only=True)
    torch.save({"state_dict": tensors}, pieces / LIRA_FILE)
    assert_same(ReleasedLira(pieces), ReleasedLira(golden_lira))


def test_one_of_two_sizes_is_named(pieces: Path) -> None:
    shutil.copy(pieces / LIRA_FILE, pieces / "model_weight" / "LIRA-8B.pth")
    shutil.copytree(pieces / "InternVL2-toy", pieces / "InternVL2-8B")
    with pytest.raises(CheckpointError, match=r"several of model_weight/LIRA-\*\.pth"):
        ReleasedLira(pieces)
    assert ReleasedLira(pieces / LIRA_FILE).pieces.internvl.name == "InternVL2-toy"
    assert ReleasedLira(pieces / "model_weight" / "LIRA-8B.pth").pieces.internvl.name == "InternVL2-8B"


@pytest.mark.parametrize(
    "name", ["InternVL2-toy", OMG_FILE, "omg_llava/convnext_large_d_320_CocoPanopticOVDataset.pth"]
)
def test_a_missing_piece_is_named(pieces: Path, name: str) -> None:
    path = pieces / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CheckpointError, match=f"lacks {path.name}"):
        ReleasedLira(pieces)


@pytest.mark.parametrize("home", ["", "pretrained"])
def test_pieces_without_the_trained_part(pieces: Path, tmp_path: Path, home: str) -> None:
    """They are LIRA's all the same, not a damaged LISA."""
    (pieces / home).mkdir(exist_ok=True)
    shutil.rmtree(pieces / "model_weight")
    if home:
        (pieces / "omg_llava").rename(pieces / home / "omg_llava")
    with pytest.raises(CheckpointError, match=r"lacks model_weight/LIRA-\*\.pth"):
        convert(Conversion(pieces, tmp_path / "out", "none", device="cpu"))


def test_a_file_named_from_its_own_folder(pieces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pieces / "model_weight")
    assert holds_lira(Path("LIRA-toy.pth")) and find_pieces(Path("LIRA-toy.pth")).internvl.name == "InternVL2-toy"


def test_a_file_that_is_a_link_into_a_cache(pieces: Path, tmp_path: Path) -> None:
    (pieces / LIRA_FILE).rename(tmp_path / "blob")
    (pieces / LIRA_FILE).symlink_to(tmp_path / "blob")
    assert find_pieces(pieces / LIRA_FILE).internvl == pieces / "InternVL2-toy"


def test_a_file_of_internvl_that_is_missing(pieces: Path) -> None:
    (pieces / "InternVL2-toy" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"InternVL2-toy/config\.json is missing; a checkpoint folder has it"):
        ReleasedLira(pieces)


def set_json(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_a_tokenizer_without_added_tokens(pieces: Path) -> None:
    set_json(pieces / "InternVL2-toy" / "tokenizer_config.json", added_tokens_decoder={})
    (pieces / "InternVL2-toy" / "added_tokens.json").unlink()
    with pytest.raises(CheckpointError, match="vocabulary has 661 rows"):
        ReleasedLira(pieces)


@pytest.mark.parametrize("entry", ["llm_config", "vision_config"])
def test_a_damaged_description_of_internvl(pieces: Path, entry: str) -> None:
    set_json(pieces / "InternVL2-toy" / "config.json", **{entry: None})
    with pytest.raises(CheckpointError, match=r"InternVL2-toy/config\.json or .* has a value that no LIRA has"):
        ReleasedLira(pieces)


def test_a_lora_scale_beside_the_pieces_is_used(pieces: Path, golden_lira: Path) -> None:
    key = "language.layers.0.self_attn.o_proj.weight"
    base, twice = (dict(ReleasedLira(folder).tensors())[key].float() for folder in (without_lora(pieces), golden_lira))
    shutil.copyfile(golden_lira / LIRA_FILE, pieces / LIRA_FILE)
    set_json(pieces / "config.json", llm={"lora_scale": 4})
    four_times = dict(ReleasedLira(pieces).tensors())[key].float()
    assert (twice - base).abs().max() > 1e-3
    assert torch.allclose(four_times - base, 2 * (twice - base), atol=1e-5)
    query = "language.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(contents(ReleasedLira(pieces))[query], contents(ReleasedLira(golden_lira))[query])
    set_json(pieces / "config.json", llm={"lora_scale": "much"})
    with pytest.raises(CheckpointError, match=r"llm\.lora_scale is 'much'"):
        ReleasedLira(pieces)


def without_lora(pieces: Path) -> Path:
    change(pieces / LIRA_FILE, lambda tensors: [one.zero_() for key, one in tensors.items() if "lora_B" in key])
    return pieces


def test_all_that_is_read_counts_for_going_on(golden_lira: Path) -> None:
    """A conversion that was interrupted goes on only where nothing has changed."""
    assert golden_lira / "InternVL2-toy" / "added_tokens.json" in find_pieces(golden_lira).files


def test_code_in_a_piece_is_refused(pieces: Path) -> None:
    (pieces / OMG_FILE).write_bytes(pickle.dumps({"state_dict": Path}, protocol=2))
    with pytest.raises(CheckpointError, match="refused"):
        ReleasedLira(pieces)


def test_another_tokenizer_is_refused(pieces: Path) -> None:
    file = pieces / "InternVL2-toy" / "added_tokens.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"<more>": 655}))
    with pytest.raises(CheckpointError, match="vocabulary has 661 rows, but InternVL2-toy's tokenizer has 656 tokens"):
        ReleasedLira(pieces)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("sefe", {"hidden": 512, "heads": 7, "text2vision": 128}, "heads"),
        ("vision", None, "value"),
        ("omg", {}, "field"),
    ],
)
def test_a_damaged_config_is_reported(
    converted_lira: Path, tmp_path: Path, entry: str, value: Any, message: str
) -> None:
    folder = shutil.copytree(converted_lira, tmp_path / "spoilt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {entry: value}))
    with pytest.raises(CheckpointError, match=message):
        load_lira(folder, LoadOptions(device="cpu"))


def test_a_missing_tensor_of_the_converted_folder_is_reported(converted_lira: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(converted_lira, tmp_path / "spoilt")
    (file,) = folder.glob("*.safetensors")
    change(file, lambda tensors: tensors.pop("sefe.separator_tiles"))
    with pytest.raises(CheckpointError, match=r"1 missing: sefe\.separator_tiles"):
        load_lira(folder, LoadOptions(device="cpu"))


def test_lisa_segment(golden_lira: Path, converted_lira: Path, tmp_path: Path) -> None:
    case = read_case(golden_lira, 0)
    image = str(golden_lira / "golden" / "image0.png")
    options = ["--checkpoint", str(converted_lira), "--device", "cpu", "--refined", "--attributes"]
    texts = ["--text", case.question, "--text", "Please segment the white square."]
    assert main(["segment", *options, "--image", image, *texts, "--output", str(tmp_path)]) == 0
    first, second = json.loads((tmp_path / "result.json").read_text())["turns"]
    (mask,) = first["masks"]
    assert (first["answer"], mask["pixels"], mask["phrase"]) == (case.answer, 21786, "red square")
    assert (tmp_path / mask["refined"]["file"]).is_file() and "red" in mask["attributes"]["colour"]
    assert second["text"] == "Please segment the white square." and second["answer"]


def test_lisa_evaluate_as_published(converted_lira: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_refer(tmp_path / "data", [reference(1, 11, "Red Square", "the red one"), reference(2, 12, "blue")])
    basis = ["evaluate", "--dataset", "refcoco", "--data", str(data), "--device", "cpu", "--precision", "fp32"]
    options = ["--checkpoint", str(converted_lira), "--protocol", "referring"]
    assert main([*basis, *options, "--output", str(tmp_path / "out")]) == 0
    lines = json.loads((tmp_path / "out" / "results.json").read_text())
    assert lines["rows"][0]["items"] == 3 and lines["protocol"] == "referring" and lines["max_new_tokens"] is None
    assert all("<image_id>" not in item["answer"] for item in lines["items"])
    capsys.readouterr()
    assert main([*basis, "--protocol", "referring", "--output", str(tmp_path / "lisa")]) == 2
    assert "no referring protocol" in capsys.readouterr().err
