# SPDX-License-Identifier: Apache-2.0
"""A checkpoint folder that is deleted while its model runs: answers go on; the next loading ends with one sentence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden import MAX_NEW_TOKENS, read_case

from lisa_ros.models.common.conversion.work import Conversion
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.converting import convert
from lisa_ros.models.loading import load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.interface import Segmenter

NEEDED = (".bin", ".safetensors", ".model")
OPTIONS = LoadOptions(precision="fp32", device="cpu")


def answer(segmenter: Segmenter, golden_lisa: Path) -> Finished:
    case = read_case(golden_lisa, 0)
    *_, finished = segmenter.session(segmenter.encode(case.image)).segment(case.command, max_new_tokens=MAX_NEW_TOKENS)
    assert isinstance(finished, Finished) and finished.objects
    return finished


@pytest.mark.parametrize("converted", [False, True])
def test_a_folder_that_is_deleted_while_its_model_runs(golden_lisa: Path, tmp_path: Path, converted: bool) -> None:
    folder = tmp_path / "checkpoint"
    if converted:
        convert(Conversion(golden_lisa, folder, "none", device="cpu"), report=lambda _: None)
    else:
        shutil.copytree(golden_lisa, folder)
    segmenter = load_segmenter(folder, OPTIONS)
    shutil.rmtree(folder)
    gone, there = answer(segmenter, golden_lisa), answer(load_segmenter(golden_lisa, OPTIONS), golden_lisa)
    assert gone.answer == there.answer
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(gone.objects, there.objects, strict=True))
    with pytest.raises(CheckpointError):
        load_segmenter(folder, OPTIONS)


@pytest.mark.parametrize("kind", ["named pipe", "folder", "dead link", "empty", "cut"])
def test_a_file_of_the_folder_that_is_no_file_or_was_cut(golden_lisa: Path, tmp_path: Path, kind: str) -> None:
    """A named pipe has no writer: to open it would wait for ever."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(golden_lisa, folder)
    for file in (one for one in sorted(folder.rglob("*")) if one.is_file() and one.suffix in NEEDED):
        data = file.read_bytes()
        file.unlink()
        spoil(file, kind, data)
        with pytest.raises(CheckpointError, match=r".{20}"):
            load_segmenter(folder, OPTIONS)
        file.rmdir() if file.is_dir() else file.unlink()
        file.write_bytes(data)
    assert load_segmenter(folder, OPTIONS)


def spoil(file: Path, kind: str, data: bytes) -> None:
    if kind == "named pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "dead link":
        file.symlink_to("nowhere")
    else:
        file.write_bytes(data[: len(data) // 2] if kind == "cut" else b"")
