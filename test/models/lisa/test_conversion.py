# SPDX-License-Identifier: Apache-2.0
"""`lisa convert`: the same numbers to the bit, interrupted and gone on with, and what it refuses."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from golden import CASES, MAX_NEW_TOKENS, Case, read_case
from reason_folder import make_folder
from safetensors.torch import load_file, save_file
from tiny_datasets import reason, write_reason_seg

from lisa_ros.cli.main import main
from lisa_ros.models.common.configuration import CONVERSION, UNFINISHED
from lisa_ros.models.common.conversion import plan as converted_files
from lisa_ros.models.common.conversion import work, writing
from lisa_ros.models.common.conversion.unfinished import claimed
from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights import aligned_files
from lisa_ros.models.common.weights import files as weights
from lisa_ros.models.common.weights.files import ALIGNMENT, Layout, WeightFiles
from lisa_ros.models.common.weights.quantized_weights import part_layouts, quantize_weight
from lisa_ros.models.converting import convert
from lisa_ros.models.lisa import Answer, CheckpointError, Lisa, MaskStep, load_lisa
from lisa_ros.models.loading import embedded_checkpoint

EMBEDDED = embedded_checkpoint()
SHARD_BYTES = 1_000_000
CPU = torch.device("cpu")
KILLED = """
import os, signal, sys
from pathlib import Path
from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.converting import convert
from lisa_ros.models.common.weights import aligned_files
source, output, shard_bytes, puts = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
put, count = aligned_files.PlannedFile.put, 0
def dying(*arguments):
    global count
    count += 1
    if count > puts:
        os.kill(os.getpid(), signal.SIGKILL)
    put(*arguments)
aligned_files.PlannedFile.put = dying
convert(Conversion(source, output, "8bit", device="cpu", shard_bytes=shard_bytes))
"""


def converted(source: Path, output: Path, quantization: str = "8bit", **more: Any) -> Path:
    convert(Conversion(source, output, quantization, device="cpu", **more), report=lambda _: None)
    return output


def load(folder: Path, quantization: str = "auto", precision: str = "fp32") -> Lisa:
    return load_lisa(folder, LoadOptions(device="cpu", quantization=quantization, precision=precision))


@pytest.fixture(scope="module")
def eight_bit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint, converted without an interruption, in several files. Not to be changed."""
    return converted(EMBEDDED, tmp_path_factory.mktemp("converted") / "eight", shard_bytes=SHARD_BYTES)


@pytest.fixture
def spoilt(eight_bit: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(eight_bit, tmp_path / "spoilt"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may change."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "source"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_tensors(lisa: Lisa) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and buffer with what bitsandbytes hangs on it."""
    for name, tensor in [*lisa.network.named_parameters(), *lisa.network.named_buffers()]:
        yield name, tensor.detach()
        if (state := getattr(tensor, "quant_state", None)) is not None:
            yield from ((f"{name}.{key}", value) for key, value in state.as_dict(packed=True).items())
        if getattr(tensor, "SCB", None) is not None:
            yield from ((f"{name}.{key}", getattr(tensor, key)) for key in ("SCB", "CB"))


def assert_same_network(one: Lisa, other: Lisa) -> None:
    tensors, others = dict(all_tensors(one)), dict(all_tensors(other))
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == others[name].dtype and torch.equal(tensor, others[name]), name
    modules = [[(name, type(module)) for name, module in lisa.network.named_modules()] for lisa in (one, other)]
    assert modules[0] == modules[1]


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
def test_every_number_is_that_of_the_original(
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
def test_masks_and_words_are_those_of_the_original(
    golden_lisa: Path, golden_converted: dict[str, Path], kind: str
) -> None:
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


@pytest.mark.parametrize("kind", ["8bit", "4bit"])
def test_quantized_numbers_are_bitsandbytes_own(kind: str) -> None:
    from bitsandbytes.nn import Int8Params, Params4bit

    weight = torch.randn(64, 192, generator=torch.Generator().manual_seed(0)).bfloat16()
    half = weight.half()
    if kind == "8bit":
        eight = Int8Params(half, requires_grad=False).to(CPU)
        theirs = {"weight": eight.data, "SCB": eight.SCB}
    else:
        four = Params4bit(half, requires_grad=False, quant_type="nf4").to(CPU)
        state = {f"weight.{key}": value for key, value in four.quant_state.as_dict().items()}
        theirs = {"weight": four.data, **state, "weight.nested_offset": four.quant_state.offset}
    ours = quantize_weight(weight, kind, CPU)
    assert all(torch.equal(part, theirs[name]) for name, part in ours.items())
    assert {name: Layout.of(part) for name, part in ours.items()} == part_layouts((64, 192), kind)


def test_quantized_numbers_do_not_depend_on_threads() -> None:
    """bitsandbytes' own do: it adds up many scales in an order that does."""
    weight = torch.randn(2048, 4096, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(quantize_weight(weight, "4bit", CPU))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_what_is_not_quantized_is_stored_as_it_was(eight_bit: Path) -> None:
    before, after = (dict(WeightFiles(folder).tensors()) for folder in (EMBEDDED, eight_bit))
    quantized = {key for key in before if "model.layers." in key and key.endswith("_proj.weight")}
    assert len(quantized) == 7 * 6
    assert after.keys() == before.keys() | {key.removesuffix("weight") + "SCB" for key in quantized}
    for key in before.keys() - quantized:
        assert after[key].dtype == before[key].dtype and torch.equal(after[key], before[key])
    clips = [dict(WeightFiles(folder / "clip").tensors()) for folder in (EMBEDDED, eight_bit)]
    assert clips[0].keys() == clips[1].keys()
    assert all(torch.equal(clips[0][key], clips[1][key]) for key in clips[0])


def test_the_folder_is_an_ordinary_one_in_files_of_bounded_size(eight_bit: Path) -> None:
    index = json.loads((eight_bit / "model.safetensors.index.json").read_text())["weight_map"]
    files = sorted(eight_bit.glob("model-*.safetensors"))
    assert len(files) > 3 and {file.name for file in files} == set(index.values())
    assert all({key for key, name in index.items() if name == file.name} == set(load_file(file)) for file in files)
    assert all(file.stat().st_size < 1.2 * SHARD_BYTES for file in files)
    assert not list(eight_bit.rglob("*.part")) and not (eight_bit / UNFINISHED).exists()
    config = json.loads((eight_bit / "config.json").read_text())
    assert config["vision_tower"] == "clip" and config[CONVERSION] == {"format": 1, "quantization": "8bit"}


def test_tensors_can_be_used_where_they_are_mapped(eight_bit: Path) -> None:
    lisa = load(eight_bit)
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(eight_bit) in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    weights_of = {name: p for name, p in lisa.network.named_parameters() if p.dtype == torch.int8}
    assert len(weights_of) == 7 * 6
    for weight in weights_of.values():
        assert weight.data_ptr() % ALIGNMENT == 0
        assert any(begin <= weight.data_ptr() < end for begin, end in ranges)


def test_what_is_done_to_a_network_does_not_reach_the_files(spoilt: Path) -> None:
    before = contents(spoilt)
    lisa = load(spoilt, precision="fp16")  # as it is stored, so that everything is mapped
    for weight in lisa.network.parameters():
        weight.data.zero_()
    assert contents(spoilt) == before


def test_a_tensor_that_is_not_aligned_is_copied(eight_bit: Path, spoilt: Path) -> None:
    for file in spoilt.rglob("*.safetensors"):
        save_file({key: tensor.clone() for key, tensor in load_file(file).items()}, file)
    lisa = load(spoilt)
    assert all(p.data_ptr() % ALIGNMENT == 0 for p in lisa.network.parameters())
    assert_same_network(lisa, load(eight_bit))


def test_what_is_not_needed_is_left_out(source: Path, tmp_path: Path) -> None:
    for folder, key in ((source, "model.layers.0.self_attn.rotary_emb.inv_freq"), (source / "clip", "text_model.x")):
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, key: torch.ones(3)}, folder / "model.safetensors")
    (source / "trainer.bin").write_bytes(b"something else")
    output = converted(source, tmp_path / "out")
    keys = [*WeightFiles(output).shapes(), *WeightFiles(output / "clip").shapes()]
    assert not [key for key in keys if "inv_freq" in key or "text_model" in key]
    assert not (output / "trainer.bin").exists() and (output / "added_tokens.json").is_file()
    assert_same_network(load(source, "8bit"), load(output))


def test_clip_elsewhere_comes_along(source: Path, tmp_path: Path) -> None:
    shutil.move(source / "clip", tmp_path / "elsewhere")
    assert main(["convert", str(source), str(tmp_path / "out"), "--device", "cpu"]) == 2
    arguments = ["--vision-tower", str(tmp_path / "elsewhere"), "--quantization", "8bit", "--device", "cpu"]
    assert main(["convert", str(source), str(tmp_path / "out"), *arguments]) == 0
    shutil.rmtree(tmp_path / "elsewhere")
    assert_same_network(load(tmp_path / "out"), load(EMBEDDED, "8bit"))


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C while the weight after so many is quantized."""
    left = [count]

    def quantize(*arguments: Any) -> dict[str, torch.Tensor]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return quantize_weight(*arguments)

    monkeypatch.setattr(converted_files, "quantize_weight", quantize)


def command(source: Path, output: Path, *more: str) -> list[str]:
    return ["convert", "--quantization", "8bit", "--device", "cpu", str(source), str(output), *more]


def test_ctrl_c_and_on_again(
    eight_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SHARD_BYTES", SHARD_BYTES)
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 30)
        assert main(command(EMBEDDED, output)) == 130
    assert "goes on from here" in capsys.readouterr().err
    before = {file.name: file.stat().st_mtime_ns for file in output.glob("*.safetensors")}
    assert 1 < len(before) < len(list(eight_bit.glob("*.safetensors")))
    assert not list(output.rglob("*.part"))
    with pytest.raises(CheckpointError, match="not whole yet"):
        load(output)
    quantized = []
    monkeypatch.setattr(converted_files, "quantize_weight", lambda *a: quantized.append(1) or quantize_weight(*a))
    assert main(command(EMBEDDED, output)) == 0
    assert "is ready" in capsys.readouterr().out
    assert 0 < len(quantized) < 7 * 6
    assert {name: (output / name).stat().st_mtime_ns for name in before} == before
    assert contents(output) == contents(eight_bit)


def test_killed_and_on_again(eight_bit: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = [str(EMBEDDED), str(output), str(SHARD_BYTES), "60"]
    died = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, stderr=subprocess.DEVNULL)
    assert died.returncode == -signal.SIGKILL
    assert list(output.glob("*.safetensors")) and list(output.glob("*.part"))
    converted(EMBEDDED, output, shard_bytes=SHARD_BYTES)
    assert contents(output) == contents(eight_bit)


@pytest.fixture
def unfinished(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        stop_after(patch, 20)
        with pytest.raises(KeyboardInterrupt):
            converted(source, tmp_path / "unfinished", shard_bytes=SHARD_BYTES)
    return tmp_path / "unfinished"


def test_another_conversion_does_not_go_on(source: Path, unfinished: Path) -> None:
    before = contents(unfinished)
    with pytest.raises(ValueError, match="quantization was '8bit', now '4bit'"):
        converted(source, unfinished, "4bit", shard_bytes=SHARD_BYTES)
    (source / "config.json").write_text((source / "config.json").read_text() + "\n")
    (source / "clip" / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"in source config\.json differ; in clip model\.safetensors differ"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)
    assert contents(unfinished) == before


def test_files_that_are_not_its_own_stay(source: Path, unfinished: Path) -> None:
    last = max(unfinished.glob("model-*.safetensors"))
    last.write_bytes(b"mine")
    with pytest.raises(ValueError, match="is not what an interrupted conversion leaves"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)
    assert last.read_bytes() == b"mine"


@pytest.mark.parametrize("state", [b"{", b"[]"])
def test_a_damaged_state(source: Path, unfinished: Path, state: bytes) -> None:
    (unfinished / UNFINISHED).write_bytes(state)
    with pytest.raises(ValueError, match="is damaged; delete"):
        converted(source, unfinished, shard_bytes=SHARD_BYTES)


def test_two_at_once(tmp_path: Path) -> None:
    with claimed(tmp_path / "out", {"anything": 1}), pytest.raises(ValueError, match="another process is writing"):
        converted(EMBEDDED, tmp_path / "out")


def test_nothing_is_overwritten(eight_bit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(eight_bit)
    assert main(command(EMBEDDED, eight_bit)) == 2
    assert "is converted already; nothing was changed" in capsys.readouterr().err
    assert contents(eight_bit) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for output in (tmp_path / "full", EMBEDDED):
        assert main(command(EMBEDDED, output)) == 2
        assert "exists and is not empty" in capsys.readouterr().err
    assert main(command(EMBEDDED, tmp_path / "full" / "notes")) == 2
    error = capsys.readouterr().err
    assert "is a file" in error and error.count("\n") == 1
    assert contents(tmp_path / "full") == {"notes": b"mine"}


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    converted(EMBEDDED, tmp_path, "none")
    assert_same_network(load(tmp_path), load(EMBEDDED))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "out"], "nowhere is not a folder"),
        ([str(EMBEDDED / "clip"), "out"], "has no field"),
        ([str(EMBEDDED), "out", "--vision-tower", str(EMBEDDED)], "preprocessor_config.json"),
    ],
)
def test_a_source_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


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


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    with pytest.raises(ValueError, match=r"needs 0\.02 GB, but its disk has 0\.00 GB free"):
        converted(EMBEDDED, tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_gets_full(
    eight_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SHARD_BYTES", SHARD_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(aligned_files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert main(command(EMBEDDED, tmp_path / "out")) == 2
    assert "full; mend it, and the same command goes on: " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED]
    assert main(command(EMBEDDED, tmp_path / "out")) == 0
    assert contents(tmp_path / "out") == contents(eight_bit)


@pytest.mark.parametrize("asked", ["none", "4bit"])
def test_another_quantization_cannot_be_had(eight_bit: Path, asked: str) -> None:
    with pytest.raises(CheckpointError, match=f"has its weights in 8bit, and {asked} is asked for"):
        load(eight_bit, asked)


def test_what_is_stored_may_be_asked_for(eight_bit: Path, tmp_path: Path) -> None:
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
    ("part", "change", "said"),
    [
        ("SCB", lambda _: None, r"1 missing: model\.layers\.0\.self_attn\.q_proj\.SCB"),
        ("weight", lambda weight: weight[:10].clone(), r"q_proj\.weight \(10, 192\) instead of \(192, 192\)"),
        ("weight", lambda weight: weight.to(torch.uint8), r"q_proj\.weight holds torch\.uint8; torch\.int8 is exp"),
    ],
)
def test_a_damaged_folder(spoilt: Path, part: str, change: Any, said: str) -> None:
    edit(spoilt, part, change)
    with pytest.raises(CheckpointError, match=said):
        load(spoilt)


def test_a_cut_file_and_an_unknown_format(spoilt: Path) -> None:
    config = json.loads((spoilt / "config.json").read_text())
    for record in ({"format": 2, "quantization": "8bit"}, {"format": 1, "quantization": "auto"}, [1]):
        (spoilt / "config.json").write_text(json.dumps({**config, CONVERSION: record}))
        with pytest.raises(CheckpointError, match="this version reads format 1"):
            load(spoilt)
    (spoilt / "config.json").write_text(json.dumps(config))
    file = min(spoilt.glob("model-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00009\.safetensors is no whole safetensors file"):
        load(spoilt)


def test_a_large_file_is_read_in_portions(monkeypatch: pytest.MonkeyPatch, eight_bit: Path) -> None:
    folders = (EMBEDDED, EMBEDDED / "clip", eight_bit)
    whole = [list(WeightFiles(folder).tensors()) for folder in folders]
    monkeypatch.setattr(weights, "MAPPED_BYTES", 100_000)
    for folder, before in zip(folders, whole, strict=True):
        after = list(WeightFiles(folder).tensors())
        assert [key for key, _ in after] == [key for key, _ in before]
        assert all(torch.equal(one, other) for (_, one), (_, other) in zip(before, after, strict=True))


def test_it_segments(eight_bit: Path, tmp_path: Path) -> None:
    image = str(make_folder(tmp_path / "data", 1) / "view0.png")
    asked = ["--image", image, "--text", "the red square", "--device", "cpu", "--max-new-tokens", "24"]
    for name, more in (("theirs", ["--quantization", "8bit"]), ("ours", ["--checkpoint", str(eight_bit)])):
        assert main(["segment", *asked, "--output", str(tmp_path / name), *more]) == 0
    masks = {name: sorted((tmp_path / name).glob("*.png")) for name in ("theirs", "ours")}
    assert [file.name for file in masks["ours"]] == [file.name for file in masks["theirs"]]
    assert [file.read_bytes() for file in masks["ours"]] == [file.read_bytes() for file in masks["theirs"]]


def test_it_is_evaluated_as_it_is(eight_bit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_reason_seg(tmp_path / "data" / "val", {"0": reason("the red cube", is_sentence=False)})
    basis = ["evaluate", "--dataset", "reason_seg", "--data", str(tmp_path / "data"), "--max-new-tokens", "24"]
    asked = [*basis, "--device", "cpu", "--checkpoint", str(eight_bit), "--output", str(tmp_path / "out")]
    assert main([*asked, "--protocol", "quantization"]) == 2
    assert "has its weights in 8bit, and none is asked for" in capsys.readouterr().err
    assert main([*asked, "--protocol", "generate"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["quantization"] == "8bit"


def test_it_is_not_fine_tuned(eight_bit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(make_folder(tmp_path / "data"))
    asked = ["finetune", "--checkpoint", str(eight_bit), "--data", data, "--output", str(tmp_path / "out")]
    assert main([*asked, "--steps", "1", "--device", "cpu"]) == 2
    assert "fine-tune the checkpoint that it was converted from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
