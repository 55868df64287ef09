# SPDX-License-Identifier: Apache-2.0
"""A training that is stopped in any way comes to the same weights; one that goes wrong says where."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from paths import HELPERS
from running import running
from tiny_training import SCHEDULE, SETTINGS, TinyStage

from lisa_ros.segmentation.files.output_folders import OutputError
from lisa_ros.training.loop.states import StateError, StateFile
from lisa_ros.training.loop.stopping import StopRequest
from lisa_ros.training.loop.trainer import DivergenceError, Schedule, learning_rate, train

SCRIPT = HELPERS / ("tiny_training.py")
WAIT_AT = 2 * 13 + 1
"""Second batch of step 13: behind the saved state of step 10."""


def fit(folder: Path, stage: TinyStage | None = None, schedule: Schedule = SCHEDULE, **options: Any) -> TinyStage:
    stage = stage or TinyStage()
    train("tiny", stage, stage.step, schedule, folder, **{"settings": SETTINGS, **options})
    return stage


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved: dict[str, torch.Tensor] = torch.load(folder / "tiny.pt", weights_only=True)["module"]
    return saved


def told(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "tiny.jsonl").read_text().splitlines()]


def on_board(folder: Path) -> dict[str, list[Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tensorboard" / "tiny"))
    board.Reload()
    return {"loss": board.Scalars("loss"), "images": board.Images("images")}


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unstopped")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fit(folder)
    torch.set_num_threads(threads)
    return folder


@pytest.mark.parametrize(
    ("number", "status", "saved"), [(signal.SIGKILL, -9, 10), (signal.SIGTERM, 143, 13), (signal.SIGINT, 130, 13)]
)
def test_a_stopped_process_goes_on_to_the_same_weights(
    tmp_path: Path, unstopped: Path, number: signal.Signals, status: int, saved: int
) -> None:
    with running(SCRIPT, str(tmp_path), str(WAIT_AT)) as process:
        wait_for(tmp_path / "waiting", process)
        process.send_signal(number)
        (tmp_path / "go").touch()
        said = process.communicate()[1]
    assert process.returncode == status, said
    assert torch.load(tmp_path / "tiny.pt", weights_only=True)["step"] == saved
    with running(SCRIPT, str(tmp_path)) as again:
        said = again.communicate()[1]
    assert again.returncode == 0, said
    ours, theirs = weights(tmp_path), weights(unstopped)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    without_time = [
        [{key: value for key, value in line.items() if key != "seconds"} for line in told(folder)]
        for folder in (tmp_path, unstopped)
    ]
    assert without_time[0] == without_time[1]
    assert [line["seconds"] for line in told(tmp_path)] == sorted(line["seconds"] for line in told(tmp_path))
    assert [event.step for event in on_board(tmp_path)["loss"]] == list(range(SCHEDULE.steps))


def test_a_stop_in_the_last_step_ends_what_would_follow(tmp_path: Path) -> None:
    class StoppedStage(TinyStage):
        def step(self, number: int) -> tuple[torch.Tensor, dict[str, float]]:
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().step(number)

    with pytest.raises(SystemExit, match="143"):
        fit(tmp_path, StoppedStage(), replace(SCHEDULE, steps=6, accumulate=1))
    assert torch.load(tmp_path / "tiny.pt", weights_only=True)["step"] == 6


def test_what_is_told(unstopped: Path) -> None:
    lines, board = told(unstopped), on_board(unstopped)
    assert [line["step"] for line in lines] == list(range(SCHEDULE.steps))
    assert {"seconds", "loss", "gradient", "learning_rate"} <= set(lines[0])
    assert [event.value for event in board["loss"]] == pytest.approx([line["loss"] for line in lines])
    assert [(event.step, event.width, event.height) for event in board["images"]] == [
        (0, 24, 8),
        (10, 24, 8),
        (20, 24, 8),
        (23, 24, 8),
    ]


def test_a_half_written_line_is_dropped(tmp_path: Path) -> None:
    fit(tmp_path, schedule=replace(SCHEDULE, steps=2))
    with (tmp_path / "tiny.jsonl").open("a") as stream:
        stream.write('{"step": 1, "los')
    fit(tmp_path, schedule=replace(SCHEDULE, steps=2))
    assert [line["step"] for line in told(tmp_path)] == [0, 1]


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    class Wide(TinyStage):
        def step(self, number: int) -> tuple[torch.Tensor, dict[str, float]]:
            losses = [super(Wide, self).step(2 * number + i)[0] for i in range(2)]
            return torch.stack(losses).mean(), {"loss": 0.0}

    stages = [TinyStage(), Wide()]
    for stage in stages:
        stage.layers[1] = torch.nn.Identity()
    fit(tmp_path / "a", stages[0], replace(SCHEDULE, steps=6))
    fit(tmp_path / "b", stages[1], replace(SCHEDULE, steps=6, accumulate=1))
    for key, value in stages[0].state_dict().items():
        assert torch.allclose(value, stages[1].state_dict()[key], atol=1e-6), key


def test_torchs_own_chance_is_left_as_it_was(tmp_path: Path) -> None:
    stage = TinyStage()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    fit(tmp_path, stage)
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize("number", [8, 9])
def test_nan_stops_it_with_step_and_batch(tmp_path: Path, number: int) -> None:
    stage = TinyStage()
    stage.broken = number
    with pytest.raises(DivergenceError, match=rf"the loss .* of stage tiny is nan at step 4, on noise{number}\.png"):
        fit(tmp_path, stage)


def test_an_endless_gradient_stops_it_with_all_its_batches(tmp_path: Path) -> None:
    stage = TinyStage()
    stage.layers[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergenceError, match=r"gradient.* at step 0, on noise0\.png; noise1\.png"):
        fit(tmp_path, stage)
    assert not (tmp_path / "tiny.pt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: {"schedule": replace(SCHEDULE, learning_rate=0.1)}, "learning_rate was 0.05 and is now 0.1"),
        (lambda: {"schedule": replace(SCHEDULE, seed=4)}, "seed was 3 and is now 4"),
        (lambda: {"settings": {"data": "other"}}, 'data was "noise" and is now "other"'),
        (lambda: {"settings": {}}, 'data was "noise" and is now not set'),
        (
            lambda: {"settings": {**SETTINGS, "replay": {"examples": "3f5d"}}},
            r"other settings: there was no replay\. Use",
        ),
    ],
)
def test_a_state_of_other_settings_is_refused(
    tmp_path: Path, change: Callable[[], dict[str, Any]], message: str
) -> None:
    fit(tmp_path)
    with pytest.raises(StateError, match=message):
        fit(tmp_path, **change())


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    fit(tmp_path)
    stage = TinyStage()
    stage.layers[0] = torch.nn.Linear(4, 9)
    with pytest.raises(StateError, match="not the state of this network"):
        fit(tmp_path, stage)


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tiny.pt").write_bytes(content)
    with pytest.raises(StateError, match=r"tiny\.pt is damaged .* delete it"):
        fit(tmp_path)


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "tiny.pt")
    with pytest.raises(StateError, match="no state of a training"):
        StateFile(tmp_path / "tiny.pt", {}).check()


def test_a_state_belongs_to_one_process(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "tiny.pt", {})
    refused = pytest.raises(OutputError, match=r"another process is writing .*tiny\.pt now")
    with state.alone(), refused, state.alone():
        pass
    with state.alone():
        pass


def test_a_file_system_without_locks_can_be_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was refused with "another process is training"."""
    monkeypatch.setattr("fcntl.flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    fit(tmp_path)
    assert (tmp_path / "tiny.pt").is_file()


def test_how_often_is_saved_and_told_may_change(tmp_path: Path) -> None:
    fit(tmp_path)
    fit(tmp_path, schedule=replace(SCHEDULE, save_every=1, log_every=7, image_every=1))


def test_only_what_is_trained_is_saved_where_asked(tmp_path: Path) -> None:
    first = fit(tmp_path, trained_only=True)
    assert set(weights(tmp_path)) == {name for name in first.state_dict() if not name.startswith("frozen")}
    second = fit(tmp_path, trained_only=True)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = TinyStage()
    other.layers[2].requires_grad_(False)
    with pytest.raises(StateError, match="other weights are trained"):
        fit(tmp_path, other, trained_only=True)


def test_without_anything_to_train(tmp_path: Path) -> None:
    stage = TinyStage().requires_grad_(False)
    with pytest.raises(ValueError, match="no weights"):
        fit(tmp_path, stage)


def test_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    fit(tmp_path)
    assert "tensorboard is not installed" in capsys.readouterr().err
    assert len(told(tmp_path)) == SCHEDULE.steps


def test_learning_rate() -> None:
    schedule = Schedule(steps=110, learning_rate=1.0, warmup=10)
    rates = [learning_rate(schedule, step) for step in range(110)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[60] == pytest.approx(0.51)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_second_signal_is_not_waited_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop
    finally:
        signal.signal(signal.SIGINT, before)
