# SPDX-License-Identifier: Apache-2.0
"""`lisa data convert` that ends early: no folder looks complete, and the same command works afterwards."""

from __future__ import annotations

import errno
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lisa_ros.cli.main import main
from lisa_ros.datasets.own import converting
from lisa_ros.datasets.own.contact_sheet import write_sheet
from lisa_ros.datasets.own.converting import convert_data
from lisa_ros.datasets.own.inspection import inspect
from lisa_ros.datasets.own.reading import read_folder
from lisa_ros.segmentation.files.output_folders import OutputError

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from lisa_ros.datasets.own.converting import convert_data

copy = shutil.copyfile
shutil.copyfile = lambda *files: (copy(*files), os.kill(os.getpid(), signal.SIGKILL))
convert_data(*map(Path, sys.argv[1:]))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three images, each with a mask of the label "mug"."""
    folder = tmp_path / "source"
    for part, pixels in (("images", np.zeros((8, 9, 3), np.uint8)), ("masks/mug", np.full((8, 9), 255, np.uint8))):
        (folder / part).mkdir(parents=True)
        for name in "abc":
            cv2.imwrite(str(folder / part / f"{name}.png"), pixels)
    return folder


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def raise_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


COMPLETE = {f"{name}.{ending}" for name in "abc" for ending in ("json", "png")}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device", "a source")])
def test_what_was_written_is_deleted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    output, calls, real = tmp_path / "out", iter(range(9)), shutil.copyfile

    def copy(*paths: Any) -> Any:
        if next(calls) == 1:
            raise error
        return real(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(converting.shutil, "copyfile", copy)
        with pytest.raises(type(error)) as raised:
            convert_data(source, output)
    if isinstance(error, OSError):
        assert str(raised.value) == f"{output}.part/b.png cannot be written: No space left on device"
    assert files(tmp_path) == {"source"}
    assert convert_data(source, output) == (3, [])
    assert files(output) == COMPLETE and files(tmp_path) == {"source", "out"}


def test_a_killed_conversion_is_repeated(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, source, output], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists() and "a.json" in files(tmp_path / "out.part")
    output.mkdir()
    assert convert_data(source, output) == (3, [])
    assert files(output) == COMPLETE and files(tmp_path) == {"source", "out"}


def test_a_folder_of_somebody_else_is_not_deleted(source: Path, tmp_path: Path) -> None:
    part = source.rename(tmp_path / "out.part")
    with pytest.raises(OutputError, match=r"out\.part, which is needed for a moment, is not empty"):
        convert_data(part, tmp_path / "out")
    assert files(part) == {"images", "masks"}


def test_an_empty_folder_that_cannot_be_replaced_is_written_into(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a volume of a container."""
    output = tmp_path / "out"
    output.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == output)
    before = output.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(converting.shutil, "copyfile", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert_data(source, output)
    assert files(output) == set(), "else the same command would be refused: it is not empty"
    assert convert_data(source, output) == (3, [])
    assert files(output) == COMPLETE and output.stat().st_ino == before


def test_a_check_without_room_names_its_file_and_keeps_the_earlier_page(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(["data", "check", str(source), "--output", str(output)]) == 0
    before = (output / "check.html").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"out/check\.html cannot be written: File too large"):
            write_sheet(output, "a title", inspect(read_folder(source)), 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (output / "check.html").read_bytes() == before
    assert files(output) == {"check.html", "sheet.png"}
