# SPDX-License-Identifier: Apache-2.0
"""`lisa train` passes options that it does not know to the recipe; other commands refuse that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from lisa_ros.cli.main import main
from lisa_ros.training import recipe
from lisa_ros.training.learned_weights import mean_weights
from lisa_ros.training.pipeline import Pipeline


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    arguments: list[str] = []

    def run_recipe(given: Sequence[str] | None = None) -> int:
        arguments.extend(given or ())
        return 130

    monkeypatch.setattr(recipe, "main", run_recipe)
    return arguments


def test_the_recipe_gets_its_own_options(passed_on: list[str]) -> None:
    assert main(["train", "--recipe", "tabletop", "--stages", "joint", "--threads", "1"]) == 130
    assert passed_on == ["--recipe", "tabletop", "--stages", "joint", "--threads", "1"]


def test_the_recipe_gives_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "--stages" in printed and "--recipe {tabletop}" in printed


def test_a_recipe_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--recipe", "kitchen"])
    assert ended.value.code == 2
    refused = capsys.readouterr().err
    assert re.search(r"lisa train: argument --recipe: .*'kitchen' \(choose from '?tabletop'?\)", refused)


def test_a_full_disk_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def render(pipeline: Pipeline) -> None:
        raise OSError(28, "No space left on device", "views/1.png")

    monkeypatch.setattr(Pipeline, "render", render)
    paths = [f"--{name}={tmp_path / name}" for name in ("work", "views", "output")]
    threads = str(torch.get_num_threads())  # which the recipe sets for the whole process
    assert recipe.main(["--stages", "render", "--threads", threads, *paths]) == 2
    assert capsys.readouterr().err == "lisa train: views/1.png: No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "--image", "a", "--text", "b", "--output", "c", "--stages", "joint"], "no option --stages"),
        (["finetune", "--checkpoint", "a", "--data", "b", "--output", "c", "--lora", "8"], "no option --lora"),
    ],
)
def test_what_nobody_knows_is_refused(
    passed_on: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert passed_on == []


def test_the_mean_of_stages() -> None:
    stages = [{"a": torch.tensor([0.0, 3.0]), "b": torch.tensor([[1.0]])}, {"a": torch.ones(2), "b": torch.ones(1, 1)}]
    mean = mean_weights([stages[0], stages[1], stages[1]])
    assert torch.allclose(mean["a"], torch.tensor([2 / 3, 5 / 3]))
    assert torch.equal(mean["b"], torch.ones(1, 1))
