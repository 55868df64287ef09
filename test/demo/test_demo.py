# SPDX-License-Identifier: Apache-2.0
"""The demo, run as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Container
from pathlib import Path

import cv2
import pytest
from paths import ROOT

from lisa_ros.demo import processes
from lisa_ros.demo.script import LINES
from lisa_ros.models.loading import embedded_checkpoint

SIZE = {"width": 320, "height": 240}
DEADLINE_S = 240
RUN = ROOT / "tools" / "run"


def command_line(output: Path, *options: str) -> list[str]:
    # LISA_ROS_DEMO_CHECKPOINT: another checkpoint of the same format, for whoever trains one.
    checkpoint = os.environ.get("LISA_ROS_DEMO_CHECKPOINT", str(embedded_checkpoint()))
    size = [word for name, value in SIZE.items() for word in (f"--{name}", str(value))]
    # Of an option that is given twice, the last counts.
    chosen = ["--output", str(output), "--checkpoint", checkpoint, *size, *options]
    return [sys.executable, "-m", "lisa_ros.demo", *chosen]


def demo(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(output, *options), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def processes_writing_to(folder: Path) -> list[int]:
    """The processes whose output goes to a file in the folder: the demo's nodes."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "fd" / "1").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One run of the whole demo, and its folder."""
    output = tmp_path_factory.mktemp("demo")
    return demo(output), output


def test_every_command_is_answered(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, output = finished
    assert run.returncode == 0, run.stdout + run.stderr
    numbers = json.loads((output / "demo.json").read_text())
    assert [(row["operator"], row["command"]) for row in numbers["rows"]] == [(li.operator, li.text) for li in LINES]
    for row, line in zip(numbers["rows"], LINES, strict=True):
        assert row["status"] in ("OK", "NO_OBJECT")
        assert row["total_ms"] > 0
        assert (row["true_centroid"] is None) == line.absent
        assert line.text in run.stdout


def test_each_operator_has_a_dialogue_of_their_own(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, output = finished
    rows = json.loads((output / "demo.json").read_text())["rows"]
    for operator in ("ann", "bob"):
        turns = [row["turn"] for row in rows if row["operator"] == operator]
        assert turns == list(range(1, len(turns) + 1))


def test_the_still_table_is_looked_at_once(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, output = finished
    known = [row["frame_known"] for row in json.loads((output / "demo.json").read_text())["rows"]]
    assert not known[0] and all(known[1:])
    assert re.search(r"First mask: \d+ ms on a new image, \d+ ms on an encoded image", run.stdout)


def test_there_is_a_image_of_every_answer(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, output = finished
    rows = json.loads((output / "demo.json").read_text())["rows"]
    assert len({row["overlay"] for row in rows}) == len(LINES)
    for row in rows:
        image = cv2.imread(str(output / row["overlay"]))
        assert image is not None
        assert image.shape[1] == SIZE["width"]
        assert image.shape[0] > SIZE["height"]  # the caption is below
    assert cv2.imread(str(output / "demo.png")) is not None


def test_no_node_is_left_behind(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, output = finished
    assert processes_writing_to(output) == []


def test_a_broken_checkpoint_ends_it_with_the_reason(tmp_path: Path) -> None:
    run = demo(tmp_path / "output", "--checkpoint", str(tmp_path / "no such folder"))
    assert run.returncode == 1
    assert "lisa_node ended early with exit code 1" in run.stderr
    assert "no such folder" in run.stderr
    assert processes_writing_to(tmp_path) == []


def test_a_scene_without_the_things_is_refused(tmp_path: Path) -> None:
    run = demo(tmp_path, "--seed", "54")  # two mugs and a duck
    assert run.returncode == 1
    assert "needs a scene with one blue bottle" in run.stderr
    assert "yellow duck" in run.stderr


def test_the_demo_keeps_to_itself_whatever_the_terminal_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    monkeypatch.setenv("ROS_STATIC_PEERS", "192.0.2.1")
    processes.isolate()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert 1 <= int(os.environ["ROS_DOMAIN_ID"]) <= 100
    assert "ROS_STATIC_PEERS" not in os.environ


@pytest.mark.parametrize(
    ("options", "discovery", "domain"), [(["--private"], "LOCALHOST", range(1, 101)), ([], "SUBNET", [0])]
)
def test_private_means_private_whatever_the_terminal_is_set_to(
    options: list[str], discovery: str, domain: Container[int]
) -> None:
    shown = "import os; print(os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'], os.environ['ROS_DOMAIN_ID'])"
    run = subprocess.run(
        ["bash", str(RUN), *options, "python", "-c", shown],
        env={**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_DOMAIN_ID": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, number = run.stdout.split()
    assert said == discovery
    assert int(number) in domain


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_nodes(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(command_line(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(processes_writing_to(tmp_path)) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert processes_writing_to(tmp_path) == []
