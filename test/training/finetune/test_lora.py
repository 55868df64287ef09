# SPDX-License-Identifier: Apache-2.0
"""What is trained, and that merging it changes that alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa import Lisa, load_lisa
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.training.finetune.lora import Learned, prepare, trained_parts
from lisa_ros.training.finetune.merging import write_merged
from lisa_ros.training.finetune.options import LINEAR_LAYERS, WHOLE_PARTS, LoraOptions

EMBEDDED = embedded_checkpoint()
CPU = LoadOptions(device="cpu", precision="fp32")


def load(folder: Path = EMBEDDED, **options: str) -> Lisa:
    return load_lisa(folder, LoadOptions(**{"device": "cpu", "precision": "fp32", **options}))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return dict(WeightFiles(folder).tensors())


def spoil(lisa: Lisa, size: float = 0.02) -> None:
    """Moves everything that is trained away from where it began."""
    torch.manual_seed(0)
    for weight in lisa.network.parameters():
        if weight.requires_grad:
            weight.data += size * torch.randn_like(weight)


def states(lisa: Lisa) -> torch.Tensor:
    """What LLaMA makes of some inputs, and the mask decoder of the last state."""
    torch.manual_seed(1)
    network = lisa.network.eval()
    width = lisa.config.language.hidden_size
    inputs = torch.randn(2, 6, width).to(network.dtype)
    with torch.no_grad():
        out = network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state.float()
        return torch.cat([out.flatten(), network.lm_head(out.to(network.lm_head.weight.dtype)).float().flatten()])


def test_what_upstream_trains_is_trained_and_nothing_else() -> None:
    lisa = load()
    prepare(lisa.network, LoraOptions(), list(WHOLE_PARTS), EMBEDDED)
    trained = {name for name, weight in lisa.network.named_parameters() if weight.requires_grad}
    adapters = {name for name in trained if ".lora_" in name}
    layers = lisa.config.language.num_hidden_layers
    assert len(adapters) == 2 * 2 * layers
    assert all(name.startswith("language.layers.") for name in adapters)
    assert all("q_proj" in name or "v_proj" in name for name in adapters)
    assert {name.split(".")[0] for name in trained} == {"language", "lm_head", "text_hidden_fcs", "visual_model"}
    assert all(".mask_decoder." in name for name in trained if name.startswith("visual_model."))
    assert {part.name for part in trained_parts(lisa.network)} == {*WHOLE_PARTS, "LoRA on q_proj", "LoRA on v_proj"}
    hidden = lisa.config.language.hidden_size
    sizes = {part.name: part.weights for part in trained_parts(lisa.network)}
    assert sizes["LoRA on q_proj"] == layers * 8 * 2 * hidden
    assert sizes["lm_head"] == lisa.config.language.vocab_size * hidden


def test_untrained_adapters_change_nothing() -> None:
    lisa = load()
    before = states(lisa)
    prepare(lisa.network, LoraOptions(), [], EMBEDDED)
    assert torch.equal(states(lisa), before)


@pytest.mark.parametrize("whole", [[], list(WHOLE_PARTS), ["embed_tokens"]])
def test_the_merged_folder_is_the_trained_network(tmp_path: Path, whole: list[str]) -> None:
    lisa = load()
    prepare(lisa.network, LoraOptions(rank=4, alpha=12, targets=("k_proj", "down_proj")), whole, EMBEDDED)
    spoil(lisa)
    write_merged(EMBEDDED, EMBEDDED / "clip", Learned(lisa.network), tmp_path / "merged")
    trained, merged = states(lisa), states(load(tmp_path / "merged"))
    moved = (trained - states(load())).abs().max()
    assert moved > 0.1
    assert (trained - merged).abs().max() < 0.03 * moved  # the folder is in fp16
    before, after = stored(EMBEDDED), stored(tmp_path / "merged")
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    wanted = {key for key in before if "k_proj" in key and ".layers." in key and "visual" not in key}
    wanted |= {key for key in before if "mlp.down_proj" in key}
    prefixes = {
        "embed_tokens": "model.embed_tokens",
        "lm_head": "lm_head",
        "text_hidden_fcs": "model.text_hidden_fcs",
        "mask_decoder": "model.visual_model.mask_decoder",
    }
    wanted |= {key for key in before for part in whole if key.startswith(prefixes[part])}
    assert changed == wanted
    assert all(before[key].dtype == after[key].dtype for key in before)


def test_the_delta_is_b_times_a_scaled() -> None:
    lisa = load()
    prepare(lisa.network, LoraOptions(rank=2, alpha=6, targets=("q_proj",)), [], EMBEDDED)
    spoil(lisa)
    layer = lisa.network.language.layers[1].self_attn.q_proj
    delta = 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    key = "language.layers.1.self_attn.q_proj.weight"
    got = Learned(lisa.network).applied(key, torch.zeros_like(delta))
    assert torch.allclose(got, delta, atol=1e-6)


def test_a_quantized_base_is_merged_into_the_stored_weights(tmp_path: Path) -> None:
    """The untrained adapters of a 4-bit base leave every byte of the 16-bit checkpoint as it is."""
    lisa = load(quantization="4bit")
    prepare(lisa.network, LoraOptions(), list(WHOLE_PARTS), EMBEDDED)
    write_merged(EMBEDDED, EMBEDDED / "clip", Learned(lisa.network), tmp_path / "merged")
    before, after = stored(EMBEDDED), stored(tmp_path / "merged")
    assert all(torch.equal(before[key], after[key]) for key in before)
    spoil(lisa)
    write_merged(EMBEDDED, EMBEDDED / "clip", Learned(lisa.network), tmp_path / "spoiled")
    assert not torch.equal(before["lm_head.weight"], stored(tmp_path / "spoiled")["lm_head.weight"])


def test_a_16_bit_base_is_trained_in_32_bits_from_its_stored_numbers() -> None:
    lisa = load(precision="bf16")
    prepare(lisa.network, LoraOptions(), list(WHOLE_PARTS), EMBEDDED)
    trained = {name: weight for name, weight in lisa.network.named_parameters() if weight.requires_grad}
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert torch.equal(trained["lm_head.weight"], stored(EMBEDDED)["lm_head.weight"].float())
    assert lisa.network.dtype == torch.bfloat16


def test_pickled_shards_become_safetensors(golden_lisa: Path, tmp_path: Path) -> None:
    lisa = load(golden_lisa)
    prepare(lisa.network, LoraOptions(), list(WHOLE_PARTS), golden_lisa)
    merged = tmp_path / "merged"
    clip = golden_lisa / "clip-vit-tiny-patch14"
    write_merged(golden_lisa, clip, Learned(lisa.network), merged, shard_bytes=6_000_000)
    before, after = stored(golden_lisa), stored(merged)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    index = json.loads((merged / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(before)
    assert len(set(index["weight_map"].values())) > 2
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in before.values())
    assert not list(merged.glob("*.bin*"))
    assert torch.equal(states(load(merged)), states(load(golden_lisa)))
    shutil.rmtree(merged)  # although the pack may only be read


def test_tied_embeddings_stay_one(golden_lisa: Path, tmp_path: Path) -> None:
    lisa = load(golden_lisa)
    tied = tmp_path / "tied"
    prepare(lisa.network, LoraOptions(), [], golden_lisa)
    write_merged(golden_lisa, golden_lisa / "clip-vit-tiny-patch14", Learned(lisa.network), tied)
    from safetensors.torch import load_file, save_file

    tensors = load_file(tied / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tied / "model.safetensors")
    config = json.loads((tied / "config.json").read_text())
    (tied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    lisa = load(tied)
    prepare(lisa.network, LoraOptions(rank=0), ["lm_head"], tied)
    spoil(lisa)
    write_merged(tied, tied / "clip-vit-tiny-patch14", Learned(lisa.network), tmp_path / "again")
    assert "lm_head.weight" not in stored(tmp_path / "again")
    assert torch.equal(states(load(tmp_path / "again")), states(lisa))


def test_a_clip_beside_the_checkpoint_is_found_from_the_output(golden_lisa: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in golden_lisa.iterdir():
        if file.is_file():
            (source / file.name).symlink_to(file)
    (tmp_path / "clip").symlink_to(golden_lisa / "clip-vit-tiny-patch14")
    config = json.loads((golden_lisa / "config.json").read_text())
    (source / "config.json").unlink()
    (source / "config.json").write_text(json.dumps({**config, "vision_tower": "../clip"}))
    lisa = load(source)
    prepare(lisa.network, LoraOptions(), [], source)
    output = tmp_path / "far" / "away" / "output"
    write_merged(source, source / "../clip", Learned(lisa.network), output)
    load(output)


@pytest.mark.parametrize(
    ("options", "whole", "message"),
    [
        (lambda: LoraOptions(targets=("q_proj", "fc1")), [], r"no linear layer fc1; targets can be .*q_proj"),
        (lambda: LoraOptions(targets=()), [], "targets can be"),
        (lambda: LoraOptions(rank=-1), [], "rank is -1"),
        (lambda: LoraOptions(alpha=0), [], "alpha is 0"),
        (lambda: LoraOptions(dropout=1.0), [], "dropout is 1.0"),
        (lambda: LoraOptions(rank=0), [], "nothing is to be trained"),
        (lambda: LoraOptions(), ["image_encoder"], "no part image_encoder"),
    ],
)
def test_what_cannot_be_trained(options: Callable[[], LoraOptions], whole: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(load().network, options(), whole, EMBEDDED)


def test_the_linear_layers_of_a_block_are_known_without_loading_it() -> None:
    names = [
        name for name, module in load().network.language.layers[0].named_modules() if isinstance(module, nn.Linear)
    ]
    assert {name.rpartition(".")[2] for name in names} == set(LINEAR_LAYERS)


def test_without_adapters_the_whole_parts_can_be_trained() -> None:
    lisa = load()
    prepare(lisa.network, LoraOptions(rank=0), ["mask_decoder"], EMBEDDED)
    assert [part.name for part in trained_parts(lisa.network)] == ["mask_decoder"]


def test_numbers_beyond_the_stored_type_are_refused(tmp_path: Path) -> None:
    lisa = load()
    prepare(lisa.network, LoraOptions(rank=0), ["lm_head"], EMBEDDED)
    lisa.network.lm_head.weight.data[0, 0] = 1e9
    with pytest.raises(ValueError, match=r"lm_head\.weight is not finite in torch\.float16"):
        write_merged(EMBEDDED, EMBEDDED / "clip", Learned(lisa.network), tmp_path / "merged")
