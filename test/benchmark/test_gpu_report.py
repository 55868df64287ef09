# SPDX-License-Identifier: Apache-2.0
"""tools/gpu_report.py, tried out on the CPU with a tiny shape."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

from lisa_ros.benchmark import models, shapes
from lisa_ros.training.embedded.architecture import SAM


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module, with a tiny "mini" shape."""
    spec = importlib.util.spec_from_file_location("gpu_report", ROOT / "tools/gpu_report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_report", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    tiny = replace(
        shapes.RANDOM_SHAPES["mini"], layers=2, hidden=128, intermediate=256, heads=4, sam=replace(SAM, depth=2)
    )
    monkeypatch.setitem(models.RANDOM_SHAPES, "mini", tiny)
    monkeypatch.setitem(models.CLIP_VIT_L_14, "num_hidden_layers", 2)
    monkeypatch.setattr(module, "TOKENS", 6)
    return module


def test_the_table_has_a_figure_in_every_row(tool: ModuleType, tmp_path: Path) -> None:
    output = tmp_path / "report.md"
    asked = ["--device", "cpu", "--shapes", "mini", "--quantizations", "none", "--repeats", "1"]
    assert tool.main([*asked, "--output", str(output)]) == 0
    text = output.read_text()
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: float(row[1]) for row in cells[1:]}
    assert set(rows) == set(tool.ROWS)
    assert all(value > 0 for value in rows.values())
    assert "pixels on the same side 1." in text, "the CPU agrees with itself"


def test_a_shape_that_cannot_be_measured_is_named(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    column = tool.measure("mini", "4bit", "cpu", 1)
    assert "bitsandbytes is not installed" in tool.markdown("cpu", {}, [column])


def test_without_a_gpu_it_says_so(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool.torch.cuda, "is_available", lambda: False)
    assert tool.main([]) == 1
    assert "no CUDA device" in capsys.readouterr().err


def test_a_shape_that_does_not_exist_is_refused(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--device", "cpu", "--shapes", "tiny"])
    assert "invalid choice: 'tiny'" in capsys.readouterr().err
