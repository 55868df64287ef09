# SPDX-License-Identifier: Apache-2.0
"""Damaged folders of SAM 2, SAM 3, pointing models and trackers: one sentence, and no random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from toy_checkpoints import pointing_checkpoint, sam2_checkpoint, sam3_checkpoint, tracker_checkpoint

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.sam2 import load_sam2
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.tracking.video_models import load_video_tracker

KINDS = ("sam2", "sam3", "pointing", "tracker")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("whole")
    return {
        "sam2": sam2_checkpoint(base / "sam2"),
        "sam3": sam3_checkpoint(base / "sam3"),
        "pointing": pointing_checkpoint(base / "pointing"),
        "tracker": tracker_checkpoint(base / "tracker", "sam2"),
    }


def load(kind: str, folder: Path, sam2: Path) -> object:
    if kind == "sam2":
        return load_sam2(folder, torch.device("cpu"), torch.float32)
    if kind == "tracker":
        return load_video_tracker("sam2", folder, "cpu")
    own = (f"sam2={sam2}",) if kind == "pointing" else ()
    return load_segmenter(folder, LoadOptions(device="cpu", model_options=own))


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def without_a_weight(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors[sorted(name for name in tensors if name.endswith(".weight"))[7]]
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def with_a_number_that_is_none(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    last = sorted(name for name in tensors if name.endswith(".weight"))[-1]
    tensors[last].view(-1)[-1] = torch.nan
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def with_a_text_as_a_size(folder: Path) -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(inner) for name, inner in value.items()}
        return "x" if type(value) is int else value

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(config)))


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (cut_off, "cannot be loaded .*not fully covered"),
    (without_a_weight, r"lacks 1 of the \d+ weights of \w+, such as \S+\.weight: it is not complete"),
    (with_a_number_that_is_none, r"model\.safetensors: \S+\.weight has numbers that are NaN or infinite"),
    (with_a_text_as_a_size, "cannot be loaded .* expected int, got str"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "sentence"), FAULTS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_damaged_folder_is_one_sentence(
    folders: dict[str, Path], tmp_path: Path, kind: str, fault: Callable[[Path], None], sentence: str
) -> None:
    folder = tmp_path / kind
    shutil.copytree(folders[kind], folder)
    fault(folder)
    with pytest.raises(LisaError, match=sentence) as refused:
        load(kind, folder, folders["sam2"])
    assert str(refused.value).startswith(str(folder)) and "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["sam3", "pointing"])
def test_a_folder_without_its_tokenizer(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    shutil.copytree(folders[kind], folder)
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(LisaError, match=r"cannot be loaded .*its tokenizer has \d entries; a file is missing"):
        load(kind, folder, folders["sam2"])


def test_a_wrong_second_model_is_known_before_the_first_one_is_loaded(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_loaded(*_: object) -> None:
        raise AssertionError("the model is loaded although another folder is wrong")

    monkeypatch.setattr("lisa_ros.models.lisa.segmenter.load", not_loaded)
    for options, sentence in (
        ({"segmenter": "auto", "names_checkpoint": str(tmp_path / "none")}, "names_checkpoint"),
        ({"segmenter": "auto", "names_checkpoint": str(folders["sam2"])}, "SAM 3 is expected"),
        ({"refine_masks": "sam2", "refine_checkpoint": str(tmp_path / "none")}, "refine_checkpoint"),
    ):
        with pytest.raises(LisaError, match=sentence):
            load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu", **options))
