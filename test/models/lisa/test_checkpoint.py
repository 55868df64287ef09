# SPDX-License-Identifier: Apache-2.0
"""A folder's faults are reported in one sentence, and no code in a folder is ever run."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lisa_ros.models.common.checkpoints.vision_tower import find_vision_tower
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.lisa import CheckpointError, load_lisa
from lisa_ros.models.lisa.sam.network import read_sizes
from lisa_ros.models.loading import model_of
from lisa_ros.segmentation.errors import LisaError

CPU = LoadOptions(device="cpu")


@pytest.fixture
def folder(golden_lisa: Path, tmp_path: Path) -> Path:
    """A copy of the golden checkpoint that a test may change."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(golden_lisa, copy, ignore=shutil.ignore_patterns("golden"))
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_shard(folder: Path, change: Callable[[dict[str, Any]], None], number: int = 4) -> None:
    shard = folder / f"pytorch_model-{number:05}-of-00004.bin"
    tensors = torch.load(shard, weights_only=True)
    change(tensors)
    torch.save(tensors, shard)


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("legacy_format", [False, True])
def test_a_pickle_with_code_is_refused(folder: Path, tmp_path: Path, legacy_format: bool) -> None:
    target = tmp_path / "owned"
    shard = folder / "pytorch_model-00004-of-00004.bin"
    if legacy_format:
        shard.write_bytes(pickle.dumps({"model.norm.weight": Attack(target)}))
    else:
        torch.save({"model.norm.weight": Attack(target)}, shard)
    with pytest.raises(CheckpointError, match="would run code"):
        load_lisa(folder, CPU)
    assert not target.exists()


def test_the_attack_works_without_the_check(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Attack(tmp_path / "owned")))
    assert (tmp_path / "owned").exists()


def test_a_malicious_clip_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save({"x": Attack(tmp_path / "owned")}, folder / "clip-vit-tiny-patch14" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="would run code"):
        load_lisa(folder, CPU)
    assert not (tmp_path / "owned").exists()


def test_keys_that_do_not_fit_are_listed(folder: Path) -> None:
    def damage(tensors: dict[str, Any]) -> None:
        tensors["model.text_hidden_fcs.0.2.weight"] = torch.zeros(3, 64)
        tensors["model.nonsense"] = torch.zeros(1)
        del tensors["lm_head.weight"], tensors["model.visual_model.mask_decoder.iou_prediction_head.layers.0.bias"]

    edit_shard(folder, damage)
    with pytest.raises(CheckpointError) as caught:
        load_lisa(folder, CPU)
    text = str(caught.value)
    assert "2 missing: lm_head.weight, model.visual_model.mask_decoder.iou_prediction_head.layers.0.bias" in text
    assert "1 unexpected: model.nonsense" in text
    assert "model.text_hidden_fcs.0.2.weight (3, 64) instead of (256, 64)" in text


def test_misshapen_quantized_weight(folder: Path) -> None:
    shard = folder / "pytorch_model-00001-of-00004.bin"
    tensors = torch.load(shard, weights_only=True)
    tensors["model.layers.0.self_attn.q_proj.weight"] = torch.zeros(64, 128)
    torch.save(tensors, shard)
    with pytest.raises(CheckpointError, match=r"q_proj.weight \(64, 128\) instead of \(64, 64\)"):
        load_lisa(folder, LoadOptions(device="cpu", quantization="4bit"))


def test_missing_clip_key(folder: Path) -> None:
    file = folder / "clip-vit-tiny-patch14" / "pytorch_model.bin"
    tensors = torch.load(file, weights_only=True)
    del tensors["vision_model.pre_layrnorm.bias"]
    torch.save(tensors, file)
    with pytest.raises(CheckpointError, match=r"1 missing: vision_model\.pre_layrnorm\.bias"):
        load_lisa(folder, CPU)


def test_clip_in_another_folder(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "clip-vit-tiny-patch14", tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="--vision-tower"):
        load_lisa(folder, CPU)
    load_lisa(folder, LoadOptions(device="cpu", vision_tower=str(tmp_path / "elsewhere")))


def test_a_config_that_names_no_clip(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="names no vision_tower"):
        find_vision_tower(tmp_path, "")


@pytest.mark.parametrize("name", ["config.json", "added_tokens.json", "tokenizer.model"])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_lisa(folder, CPU)


@pytest.mark.parametrize("name", ["config.json", "added_tokens.json", "tokenizer.model"])
def test_a_named_pipe_is_refused_at_once(folder: Path, name: str) -> None:
    """To open one for reading would wait for ever."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=r"is not a regular file|is missing"):
        load_lisa(folder, CPU)
    assert model_of(folder) == "lisa"


def test_an_empty_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.model").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is empty, as after an interrupted download"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    edit_shard(folder, lambda tensors: tensors["lm_head.weight"][3].fill_(value))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight has numbers that are NaN or infinite"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize("quantization", ["none", "8bit"])
def test_weights_beyond_float16(folder: Path, quantization: str) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    edit_shard(folder, lambda tensors: tensors[name][0].fill_(1e5), 1)
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} has numbers that are too large for float16; use"):
        load_lisa(folder, LoadOptions(device="cpu", precision="fp16", quantization=quantization))
    if quantization == "none":
        load_lisa(folder, LoadOptions(device="cpu", precision="bf16"))


def test_a_folder_that_transformers_has_quantized(folder: Path) -> None:
    stored = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    edit_json(folder / "config.json", lambda config: config.update(quantization_config=stored))
    with pytest.raises(CheckpointError, match=r"quantized by transformers .*, which is not read here"):
        load_lisa(folder, CPU)


def test_bitsandbytes_that_does_not_work_on_the_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Error named symbol not found\nat line 62 in file ops.cu")

    monkeypatch.setattr("bitsandbytes.functional.int8_vectorwise_quant", fail)
    with pytest.raises(LisaError, match=r"bitsandbytes cannot quantize to 8bit on cpu \(RuntimeError: .*, build it on"):
        load_lisa(folder, LoadOptions(device="cpu", quantization="8bit"))


def test_a_tensor_in_two_files(folder: Path) -> None:
    edit_shard(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(64)}))
    with pytest.raises(CheckpointError, match=r"in more than one of its files: model\.norm\.weight$"):
        load_lisa(folder, CPU)


def test_a_folder_of_checkpoints(folder: Path) -> None:
    for name in ("b", "a"):
        (folder.parent / "several" / name).mkdir(parents=True)
        shutil.copy(folder / "config.json", folder.parent / "several" / name)
    with pytest.raises(CheckpointError, match=r"has no config\.json, but folders in it have: name one of a, b$"):
        load_lisa(folder.parent / "several", CPU)


def test_missing_shard(folder: Path) -> None:
    (folder / "pytorch_model-00002-of-00004.bin").unlink()
    with pytest.raises(CheckpointError, match="pytorch_model-00002-of-00004"):
        load_lisa(folder, CPU)


def test_no_weights(folder: Path) -> None:
    for path in folder.glob("pytorch_model*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100])
def test_damaged_shard(folder: Path, damage: bytes) -> None:
    (folder / "pytorch_model-00003-of-00004.bin").write_bytes(damage)
    with pytest.raises(CheckpointError, match="pytorch_model-00003-of-00004"):
        load_lisa(folder, CPU)


def test_truncated_shard(folder: Path) -> None:
    shard = folder / "pytorch_model-00001-of-00004.bin"
    shard.write_bytes(shard.read_bytes()[:100_000])
    assert not zipfile.is_zipfile(shard)
    with pytest.raises(CheckpointError, match="pytorch_model-00001-of-00004"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mm_projector_type": "mlp2x_gelu"}, "mm_projector_type"),
        ({"vocab_size": 600}, "outside the vocabulary"),
        ({"hidden_size": 128}, "instead of"),
        ({"hidden_size": "64"}, "a value that no LISA has"),
        ({"num_attention_heads": 7}, "a value that no LISA has"),
        ({"num_attention_heads": 0}, "no LISA has|no network"),
        ({"hidden_act": "nope"}, "no network"),
        ({"rope_scaling": [1]}, "a value that no LISA has"),
        ({"mm_hidden_size": 64}, "is it the right CLIP"),
        ({"out_dim": 128}, "out_dim is 128"),
        ({"mm_vision_select_layer": -9}, "mm_vision_select_layer"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan; a finite number above 0"),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps is -1e-05"),
        ({"rope_theta": -1}, "rope_theta is -1; a finite number above 0"),
        ({"rope_theta": True}, "rope_theta is True; a finite number above 0"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps is 1000"),
        ({"rope_scaling": True}, "rope_scaling is True; an object is expected"),
        ({"mm_vision_select_layer": True}, "mm_vision_select_layer is True; a whole number is expected"),
        ({"lisa_ros_most_objects": 1.5}, "lisa_ros_most_objects is 1.5; a whole number is expected"),
        ({"lisa_ros_names": ["cup"]}, "lisa_ros_names must be an object"),
        ({"lisa_ros_names": {"cup": 1}}, "lisa_ros_names must be an object"),
        ({"rope_theta": float("inf")}, "rope_theta is inf"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor is nan"),
        ({"eos_token_id": -5}, "eos_token_id is -5; a whole number from 0 to"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000; a whole number from 1 to 512"),
        ({"max_position_embeddings": True}, "max_position_embeddings is True"),
    ],
)
def test_config_that_does_not_fit(folder: Path, change: dict[str, Any], message: str) -> None:
    edit_json(folder / "config.json", lambda config: config.update(change))
    with pytest.raises(CheckpointError, match=message):
        load_lisa(folder, CPU)


def test_a_stale_mm_vision_tower_is_ignored(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.update(mm_vision_tower="/nowhere/clip"))
    load_lisa(folder, CPU)


def test_missing_sam_keys_are_listed(folder: Path) -> None:
    shards = {shard: torch.load(shard, weights_only=True) for shard in folder.glob("*.bin")}
    gone = ("model.visual_model.image_encoder.pos_embed", "model.visual_model.prompt_encoder.no_mask_embed.weight")
    for shard, tensors in shards.items():
        torch.save({key: tensor for key, tensor in tensors.items() if key not in gone}, shard)
    with pytest.raises(CheckpointError) as caught:
        load_lisa(folder, CPU)
    assert all(key in str(caught.value) for key in gone)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("image_encoder.pos_embed", (5,)),
        ("image_encoder.pos_embed", (1, 32, 64, 64)),
        ("prompt_encoder.no_mask_embed.weight", ()),
        ("image_encoder.blocks.0.attn.rel_pos_h", (27, 0)),
        ("image_encoder.patch_embed.proj.weight", (64,)),
        ("mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight", (0, 256)),
    ],
)
def test_misshapen_sam(folder: Path, key: str, shape: tuple[int, ...]) -> None:
    key = "model.visual_model." + key
    for shard in folder.glob("*.bin"):
        tensors = torch.load(shard, weights_only=True)
        if key in tensors:
            torch.save(tensors | {key: torch.zeros(shape)}, shard)
    with pytest.raises(CheckpointError) as caught:
        load_lisa(folder, CPU)
    assert key in str(caught.value)


@pytest.mark.parametrize("weight_map", [None, [], {}, {"lm_head.weight": 3}, {"lm_head.weight": "../x.bin"}])
def test_an_invalid_index(folder: Path, weight_map: Any) -> None:
    edit_json(folder / "pytorch_model.bin.index.json", lambda index: index.update(weight_map=weight_map))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin\.index\.json"):
        load_lisa(folder, CPU)


def test_shards_in_a_subfolder(folder: Path) -> None:
    (folder / "shards").mkdir()
    for shard in list(folder.glob("*.bin")):
        shard.rename(folder / "shards" / shard.name)

    def move(index: dict[str, Any]) -> None:
        index["weight_map"] = {key: f"shards/{name}" for key, name in index["weight_map"].items()}

    edit_json(folder / "pytorch_model.bin.index.json", move)
    load_lisa(folder, CPU)


def test_tied_embeddings(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.update(tie_word_embeddings=True))
    edit_shard(folder, lambda tensors: tensors.pop("lm_head.weight"))
    network = load_lisa(folder, CPU).network
    assert torch.equal(network.lm_head.weight, network.language.embed_tokens.weight)


@pytest.mark.parametrize(
    "tokens", [{"[SEG]": None}, {"": 641}, {"<im_end>": 640}, {"[SEG]": 2}, {"a": 641}, {"a b": 641}]
)
def test_invalid_added_tokens(folder: Path, tokens: dict[str, Any]) -> None:
    edit_json(folder / "added_tokens.json", lambda known: known.update(tokens))
    with pytest.raises(CheckpointError, match=r"added_tokens\.json"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize("config", ["[]", '{"crop_size": {"height": 192, "width": 192}}', '{"image_mean": "x"}'])
def test_preprocessor_that_does_not_fit(folder: Path, config: str) -> None:
    (folder / "clip-vit-tiny-patch14" / "preprocessor_config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        load_lisa(folder, CPU)


def test_no_seg_token(folder: Path) -> None:
    edit_json(folder / "added_tokens.json", lambda tokens: tokens.pop("[SEG]"))
    with pytest.raises(CheckpointError, match=r"lacks \[SEG\]"):
        load_lisa(folder, CPU)


def test_another_tokenization_is_refused(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", lambda config: config.update(legacy=False))
    with pytest.raises(CheckpointError, match="legacy"):
        load_lisa(folder, CPU)


@pytest.mark.parametrize(
    "options",
    [
        LoadOptions(template="vicuna"),
        LoadOptions(precision="int8"),
        LoadOptions(quantization="2bit"),
        LoadOptions(device="tpu"),
    ],
)
def test_unknown_option(golden_lisa: Path, options: LoadOptions) -> None:
    with pytest.raises(ValueError, match="it can be"):
        load_lisa(golden_lisa, options)


def test_sizes_of_sam_vit_h() -> None:
    """The shapes of the released checkpoints' ViT-H are read as ViT-H."""
    shapes: dict[str, tuple[int, ...]] = {
        "image_encoder.patch_embed.proj.weight": (1280, 3, 16, 16),
        "image_encoder.pos_embed": (1, 64, 64, 1280),
        "prompt_encoder.no_mask_embed.weight": (1, 256),
        "prompt_encoder.mask_downscaling.3.weight": (16, 4, 2, 2),
        "mask_decoder.mask_tokens.weight": (4, 256),
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight": (128, 256),
        "mask_decoder.transformer.layers.0.mlp.lin1.weight": (2048, 256),
        "mask_decoder.transformer.layers.1.mlp.lin1.weight": (2048, 256),
        "mask_decoder.iou_prediction_head.layers.0.weight": (256, 256),
        "mask_decoder.iou_prediction_head.layers.2.weight": (4, 256),
        "image_encoder.blocks.0.mlp.lin1.weight": (5120, 1280),
        "image_encoder.blocks.0.attn.qkv.bias": (3840,),
    }
    for i in range(32):
        span = 127 if i in (7, 15, 23, 31) else 27
        shapes[f"image_encoder.blocks.{i}.attn.rel_pos_h"] = (span, 80)
    sizes = read_sizes(shapes)
    assert (sizes.image_size, sizes.width, sizes.depth, sizes.heads) == (1024, 1280, 32, 16)
    assert (sizes.window, sizes.global_blocks, sizes.mlp_ratio) == (14, (7, 15, 23, 31), 4.0)
    assert (sizes.prompt_width, sizes.decoder_depth, sizes.decoder_mlp) == (256, 2, 2048)
    assert (sizes.attention_downsample, sizes.mask_tokens, sizes.iou_depth, sizes.mask_channels) == (2, 4, 3, 16)


def test_missing_sam() -> None:
    with pytest.raises(CheckpointError, match=r"image_encoder\.patch_embed"):
        read_sizes({})
