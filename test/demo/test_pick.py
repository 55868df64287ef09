# SPDX-License-Identifier: Apache-2.0
"""The arm takes what an operator asks for: the real node, over ROS, and an arm in PyBullet."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from ros_harness import private_environment

from lisa_ros.demo.pick.__main__ import main
from lisa_ros.demo.pick.trial import Trial

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gif", "film"], "argument --gif: 'film' must end in .gif"),
        (["--scenes", "0"], "argument --scenes: '0' is not a whole number of 1 or more"),
    ],
)
def test_wrong_arguments_are_refused_before_the_scenes(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and sentence in capsys.readouterr().err


def test_a_film_that_cannot_be_written_costs_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    node = SimpleNamespace(check=lambda: None)
    for name, double in {
        "running": lambda *_: nullcontext((node,)),
        "isolate": lambda: None,
        "share_memory": lambda: None,
        "_trials": lambda *_: [Trial("given", "the cube", "cube", "lifted")],
        "Film": lambda: SimpleNamespace(save=full),
        "signal.signal": lambda *_: None,
    }.items():
        monkeypatch.setattr(f"lisa_ros.demo.pick.__main__.{name}", double)
    assert main(["--output", str(tmp_path), "--gif", str(tmp_path / "a.gif")]) == 1
    assert capsys.readouterr().err == "pick: no space left\n"
    assert json.loads((tmp_path / "pick.json").read_text())[0]["text"] == "the cube"


@pytest.mark.slow  # 20 to 60 s
@pytest.mark.timeout(400)
def test_the_arm_lifts_what_is_asked_for(tmp_path: Path) -> None:
    film = tmp_path / "films" / "pick.gif"
    command = [
        sys.executable,
        "-m",
        "lisa_ros.demo.pick",
        "--scenes",
        "2",
        "--output",
        str(tmp_path),
        "--gif",
        str(film),
    ]
    ran = subprocess.run(command, env=private_environment(), capture_output=True, text=True, check=False, timeout=360)
    assert ran.returncode == 0, ran.stderr[-2000:]
    trials = json.loads((tmp_path / "pick.json").read_text())
    assert [(one["kind"], one["outcome"]) for one in trials] == [("cube", "lifted")] * 2
    assert all(one["answer_ms"] > 0 and one["text"] for one in trials)
    assert "Lifted: 2 of 2." in ran.stdout and "| direct | 2 | 2 |" in ran.stdout
    assert film.read_bytes()[:6] == b"GIF89a"
