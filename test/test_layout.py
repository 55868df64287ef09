# SPDX-License-Identifier: Apache-2.0
"""The package's layout: layers, no import circles, small files and folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from paths import ROOT

PACKAGE = ROOT / "lisa_ros"
TABLES = {"tabletop/questions/phrasings.py"}
"""Files that are mostly data, which may be longer."""


def test_imports_keep_to_the_layers_and_make_no_circles() -> None:
    # Run as a program: it reads the contracts in pyproject.toml from the folder that it runs in.
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout[-4000:]


def test_few_modules_lie_beside_the_packages() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 4


def test_no_file_and_no_folder_is_too_long() -> None:
    sources = [file for folder in ("lisa_ros", "test", "tools") for file in (ROOT / folder).rglob("*.py")]
    long = {
        str(file.relative_to(ROOT)): lines
        for file in sources
        if (lines := len(file.read_text().splitlines())) > 400 and not str(file).endswith(tuple(TABLES))
    }
    assert long == {}
    # lisa_ros/cli has one file per subcommand, so that a command is found by its name.
    folders = {file.parent for file in sources} - {ROOT / "lisa_ros" / "cli"}
    full = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if (count := sum(entry.is_file() for entry in folder.iterdir())) > 14
    }
    assert full == {}


def test_the_command_line_imports_no_torch_before_a_command_runs() -> None:
    code = "import sys, lisa_ros.cli.main; print(sorted({'torch', 'transformers', 'rclpy', 'cv2'} & set(sys.modules)))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert imported.stdout.strip() == "[]"


def test_each_model_has_the_same_files_where_they_do_the_same() -> None:
    common = {
        "README.md",
        "__init__.py",
        "checkpoint.py",
        "configuration.py",
        "conversion.py",
        "decoding.py",
        "encoded_image.py",
        "keys.py",
        "network.py",
        "prompt.py",
        "segmenter.py",
        "tokenizer.py",
    }
    for model in ("lira", "lisa", "segllm"):
        assert common - {file.name for file in (PACKAGE / "models" / model).iterdir()} == set()
