# SPDX-License-Identifier: Apache-2.0
"""Files of the command line that are huge or have no end are refused, and do not fill the memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lisa_ros.bags.commands import BagCommand, read_commands
from lisa_ros.datasets.own.mask_images import read_mask_images
from lisa_ros.datasets.own.texts import read_texts
from lisa_ros.fleet.access import read_tokens
from lisa_ros.segmentation.files.text_files import MOST_BYTES
from lisa_ros.segmentation.scoring import FILE, read_calibration
from lisa_ros.speech.language.vocabulary import read_vocabulary

_MEMORY = 4 << 30


def _masks(file: Path) -> Any:
    pixels = np.zeros((4, 4, 3), np.uint8)
    for name in ("images", "masks"):
        (file.parent / name).mkdir()
        cv2.imwrite(str(file.parent / name / "a.png"), pixels)
    return read_mask_images(file.parent, {})


READERS: list[tuple[str, Callable[[Path], Any]]] = [
    ("commands.txt", read_commands),
    ("tokens", read_tokens),
    ("vocabulary.txt", read_vocabulary),
    ("texts.json", read_texts),
    ("labels.json", _masks),
    ("_classes.csv", _masks),
    ("labelmap.txt", _masks),
    (FILE, lambda file: read_calibration(file.parent)),
]


@pytest.mark.parametrize(("name", "read"), READERS, ids=[name for name, _ in READERS])
def test_a_file_of_more_than_10_mb_is_refused(tmp_path: Path, name: str, read: Callable[[Path], Any]) -> None:
    file = tmp_path / name
    with file.open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises((ValueError, RuntimeError), match=rf"{name} has more than 10 MB, which are the most"):
        read(file)


def test_commands_may_come_from_a_pipe() -> None:
    end, begin = os.pipe()
    os.write(begin, b"1 a: x\n")
    os.close(begin)
    assert read_commands(Path(f"/dev/fd/{end}")) == [BagCommand(1.0, "a", "x")]
    os.close(end)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bag", "recorded", "answers", "--image", "/image", "--commands", "/dev/zero"], "zero has more than 10 MB"),
        (["listen", "--wav", "/dev/zero"], "zero is no WAV file"),
    ],
)
def test_a_file_without_an_end_is_refused(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lisa_ros.cli", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY)),
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert sentence in done.stderr
