# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune` from folder to folder, stopped and resumed, and its messages about faults."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reason_folder import explain, make_folder
from running import running

from lisa_ros.cli.main import main
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.files.checkpoint_hash import one_hash, weights_of
from lisa_ros.training.finetune import stage as stages
from lisa_ros.training.finetune.inputs import schedule
from lisa_ros.training.finetune.options import WHOLE_PARTS, FinetuneOptions, LoraOptions
from lisa_ros.training.finetune.run import finetune

SCRIPT = Path(__file__).with_name("waiting_finetuning.py")
OWN_ALONE = ("--replay", "none", "--check", "none")
SHORT = ("--steps", "3", "--batch", "2", "--accumulate", "1", "--device", "cpu", "--save-every", "1", *OWN_ALONE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data" / "train")


def command(data: Path, output: Path, *more: str) -> list[str]:
    checkpoint = str(embedded_checkpoint())
    return ["finetune", "--checkpoint", checkpoint, "--data", str(data), "--output", str(output), *SHORT, *more]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return dict(WeightFiles(folder).tensors())


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_from_images_to_a_checkpoint_that_segments(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain(data, {"view0.png": "It has the colour of a tomato."})
    held_out, output = make_folder(tmp_path / "held_out", 2), tmp_path / "out" / "tuned"
    output.mkdir(parents=True)
    assert main(command(data, output, "--validation", str(held_out))) == 0
    said = capsys.readouterr().out
    assert "training LoRA on q_proj: 0." in said
    assert "4 images, 3 steps, each image about 1.5 times" in said
    assert "before, on validation: gIoU" in said and "after, on validation: gIoU" in said
    result = json.loads((output / "finetuning.json").read_text())
    assert set(result["held_out"]["before"]) == {"giou", "ciou"}
    assert result["settings"]["lora_rank"] == 8
    assert result["data"] == [str(data)] and result["validation"] == str(held_out)
    assert result["weights_sha256"] == one_hash(weights_of(embedded_checkpoint())), "the hash of `lisa evaluate`"
    assert (result["replay"], result["check"], result["warnings"]) == (None, None, [])
    log = (tmp_path / "out" / "tuned.work" / "finetune.jsonl").read_text().splitlines()
    assert {"loss", "words", "bce", "dice", "gradient"} <= set(json.loads(log[-1]))
    assert sorted(path.name for path in output.parent.iterdir()) == ["tuned", "tuned.work"]
    image, answer = str(data / "view0.png"), tmp_path / "answer"
    segment = ["segment", "--checkpoint", str(output), "--image", image, "--text", "the red square"]
    assert main([*segment, "--output", str(answer), "--device", "cpu"]) == 0
    assert (answer / "result.json").is_file()
    assert not equal(tensors(output), tensors(embedded_checkpoint()))
    assert (embedded_checkpoint() / "score.json").is_file()
    assert not (output / "score.json").exists(), "scores were fitted to other weights"


def test_an_output_that_is_not_empty_is_left_alone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    assert main(command(data, tmp_path / "out")) == 2
    assert "not empty; name another folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]
    assert not (tmp_path / "out.work").exists()


LONG = ("--steps", "6", "--dropout", "0.3", "--save-every", "2")


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("unstopped")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(command(make_folder(folder / "data"), folder / "out", *LONG)) == 0
    torch.set_num_threads(threads)
    return tensors(folder / "out")


@pytest.mark.parametrize(
    ("number", "status", "saved"),
    [(signal.SIGKILL, -9, 2), pytest.param(signal.SIGTERM, 143, 4, marks=pytest.mark.slow), (signal.SIGINT, 130, 4)],
)
def test_a_stopped_training_resumes_to_the_same_weights(
    data: Path, tmp_path: Path, unstopped: dict[str, torch.Tensor], number: signal.Signals, status: int, saved: int
) -> None:
    arguments = command(data, tmp_path / "out", *LONG)
    with running(SCRIPT, str(tmp_path), *arguments) as process:
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(number)
        (tmp_path / "go").touch()
        said = process.communicate()[1]
    assert process.returncode == status, said
    assert not (tmp_path / "out").exists()
    assert torch.load(tmp_path / "out.work" / "finetune.pt", weights_only=True)["step"] == saved
    with running(SCRIPT, str(tmp_path), *arguments) as again:
        said = again.communicate()[1]
    assert again.returncode == 0, said
    assert equal(tensors(tmp_path / "out"), unstopped)
    log = (tmp_path / "out.work" / "finetune.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(6))


def test_an_interruption_while_the_output_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert (tmp_path / "out.part" / "config.json").is_file()
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("lisa_ros.training.finetune.run.write_json", fail)
        assert main(command(data, tmp_path / "out")) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out.work"]
    assert main(command(data, tmp_path / "out")) == 0
    assert (tmp_path / "out" / "config.json").is_file()
    assert not (tmp_path / "out.part").exists()


def test_a_folder_of_somebody_else_is_neither_deleted_nor_found_too_late(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lisa_ros.training.finetune.run.load_lisa", pytest.fail)
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "precious").touch()
    assert main(command(data, tmp_path / "out")) == 2
    assert "out.part, which is needed for a moment, is not empty" in capsys.readouterr().err
    assert (tmp_path / "out.part" / "precious").is_file()


def test_a_refused_resume_names_what_differs(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(data, tmp_path / "out")) == 0
    shutil.rmtree(tmp_path / "out")
    assert main(command(data, tmp_path / "out", "--rank", "4", "--learning-rate", "0.1")) == 2
    said = capsys.readouterr().err
    assert "learning_rate was 0.0003 and is now 0.1" in said
    assert "lora_rank was 8 and is now 4" in said
    (data / "view9.json").write_text((data / "view0.json").read_text())
    shutil.copyfile(data / "view0.png", data / "view9.png")
    assert main(command(data, tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "in data, train/view9.png is new" in said and "view0" not in said
    (data / "view9.json").unlink()
    (data / "view9.png").unlink()
    (data / "view0.json").write_text((data / "view1.json").read_text())
    (data / "view3.json").unlink()
    (data / "view3.png").unlink()
    assert main(command(data, tmp_path / "out")) == 2
    assert "in data, train/view3.png is missing, train/view0.png has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [("--quantization", "4bit"), ("--precision", "bf16"), ("--recompute", "on"), ("--rank", "0")]
)
def test_ways_to_compute(data: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert main(command(data, tmp_path / "out", *more)) == 0
    before, after = tensors(embedded_checkpoint()), tensors(tmp_path / "out")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert ("model.layers.0.self_attn.v_proj.weight" in changed) == (more[0] != "--rank")
    assert "lm_head.weight" in changed
    assert not any("vision_tower" in key or "image_encoder" in key or "mm_projector" in key for key in changed)


def test_frozen_parts_stay_as_they_were(data: Path, tmp_path: Path) -> None:
    frozen = ("embed_tokens", "lm_head", "text_hidden_fcs", "mask_decoder")
    assert main(command(data, tmp_path / "out", "--freeze", *frozen)) == 0
    before, after = tensors(embedded_checkpoint()), tensors(tmp_path / "out")
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all("q_proj" in key or "v_proj" in key for key in changed)


def test_nan_is_reported_with_images_and_questions(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "TEXT_WEIGHT", float("nan"))
    assert main(command(data, tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "stage finetune is nan at step 0" in said
    assert "train/view" in said and "square" in said
    assert not (tmp_path / "out").exists()


def spoil_image(data: Path) -> None:
    (data / "view1.png").write_bytes(b"no image")


def spoil_points(data: Path) -> None:
    annotation = json.loads((data / "view2.json").read_text())
    annotation["shapes"][0]["points"] = "corner"
    (data / "view2.json").write_text(json.dumps(annotation))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: shutil.rmtree(data), "there is no folder"),
        (lambda data: [file.unlink() for file in data.iterdir()], "has no images"),
        (lambda data: (data / "view1.json").unlink(), "view1.json"),
        (lambda data: (data / "view1.json").write_text("{"), "view1.json"),
        (lambda data: (data / "view1.json").write_text('{"text": ["a"], "is_sentence": true}'), "'shapes'"),
        (spoil_image, "view1.png"),
        (spoil_points, "view2.json"),
    ],
)
def test_faulty_data_is_refused_before_anything_is_loaded(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    message: str,
) -> None:
    monkeypatch.setattr("lisa_ros.training.finetune.run.load_lisa", pytest.fail)
    spoil(data)
    assert main(command(data, tmp_path / "out")) == 2
    assert message in capsys.readouterr().err


def test_a_folder_named_twice(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--data", str(data), str(data)]
    assert main([*command(data, tmp_path / "out"), *twice]) == 2
    assert "named twice" in capsys.readouterr().err


def test_two_folders_with_the_same_names(data: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", 2)
    assert main([*command(data, tmp_path / "out"), "--data", str(data), str(other)]) == 0


def test_a_text_beyond_the_context(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path / "long", 1, text=["the red square " * 500])
    assert main(command(tmp_path / "long", tmp_path / "out")) == 2
    assert "view0.png" in (said := capsys.readouterr().err) and "room for" in said


def test_a_checkpoint_that_is_not_lisa(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text('{"model_type": "llama", "vocab_size": 10}')
    for folder, message in ((tmp_path / "llama", "config.json"), (tmp_path / "none", "is not a folder")):
        assert main([*command(data, tmp_path / "out"), "--checkpoint", str(folder)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.work").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"steps": 10**400}, "steps is 1000.*; it has to be 1 or more, at most"),
        ({"lora": LoraOptions(alpha=10**400)}, "alpha is 1000.*; it has to be above 0 and at most"),
        ({"epochs": 0.0}, "epochs is 0.0"),
        ({"epochs": 1e300}, "epochs is 1e.300; it has to be above 0 and at most"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"frozen": ("clip",)}, "no part clip to freeze"),
        ({"recompute": "maybe"}, "recompute is 'maybe'"),
        ({"data": ()}, "data names no folder"),
        ({"replay": "tabletop:1.5"}, "share is 1.5"),
        ({"check_data": "tabletop:0.5"}, "number of images is 0.5"),
        ({"load": LoadOptions(precision="fp16")}, "fp16"),
        ({"load": LoadOptions(quantization="8bit")}, "8bit"),
        ({"lora": LoraOptions(dropout=2.0)}, "dropout is 2.0"),
        ({"lora": LoraOptions(targets=("q_proj", "foo"))}, "no linear layer foo; targets can be q_proj, k_proj"),
        ({"lora": LoraOptions(rank=0), "frozen": tuple(WHOLE_PARTS)}, "nothing is to be trained"),
    ],
)
def test_invalid_options(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    options = {"checkpoint": tmp_path, "data": (tmp_path,), "output": tmp_path / "out", **change}
    with pytest.raises(ValueError, match=message):
        finetune(FinetuneOptions(**options))


def test_adapters_that_cannot_be_added_are_refused_before_anything_is_loaded(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lisa_ros.training.finetune.run.load_lisa", pytest.fail)
    assert main(command(data, tmp_path / "out", "--rank", "100000")) == 2
    assert "rank is 100000; it can be at most 192, the width of LLaMA's layers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(command(data, tmp_path / "out", "--targets", "foo"))
    said = capsys.readouterr().err
    assert "'foo'" in said and "down_proj" in said
    assert not (tmp_path / "out.work").exists()


def test_epochs_become_steps(tmp_path: Path) -> None:
    options = FinetuneOptions(tmp_path, (tmp_path,), tmp_path / "out")
    assert schedule(options, 239).steps == 120  # 10 * 239 / (2 * 10), rounded up
    assert schedule(options, 1).steps == 1
    assert schedule(options, 239, share=0.5).steps == 239, "half of each batch is replayed"
