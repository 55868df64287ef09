# SPDX-License-Identifier: Apache-2.0
"""One base class for errors that a user can correct; a fault of the software keeps its traceback."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from lisa_ros.cli import main as cli
from lisa_ros.datasets.samples import DataError
from lisa_ros.dialogue.dialogues import ForgottenTurnError, UndoError
from lisa_ros.dialogue.operators import OperatorError
from lisa_ros.dialogue.references import ReferringError
from lisa_ros.dialogue.store import StoreError
from lisa_ros.models.common.errors import (
    CheckpointError,
    ClosedError,
    MemoryLimitError,
    NotFiniteError,
    PromptTooLongError,
)
from lisa_ros.segmentation.answers import CommandError
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.segmentation.files.output_folders import OutputError
from lisa_ros.segmentation.scoring import ScoreFileError
from lisa_ros.spatial.grasping import CannotGraspError
from lisa_ros.training.loop.states import StateError

CORRECTABLE = (
    *(CannotGraspError, CheckpointError, CommandError, DataError, ForgottenTurnError, ImageError, MemoryLimitError),
    *(
        OperatorError,
        OutputError,
        PromptTooLongError,
        ReferringError,
        ScoreFileError,
        StateError,
        StoreError,
        UndoError,
    ),
)


@pytest.mark.parametrize("error", CORRECTABLE)
def test_what_a_user_can_correct_is_a_lisa_error(error: type[Exception]) -> None:
    assert issubclass(error, LisaError)


@pytest.mark.parametrize("error", [NotFiniteError, ClosedError, ValueError])
def test_a_fault_of_the_software_is_none(error: type[Exception]) -> None:
    assert not issubclass(error, LisaError)


def raising(error: Exception) -> Any:
    """A subcommand that fails."""

    def run(options: argparse.Namespace) -> int:
        raise error

    def add(commands: Any) -> None:
        commands.add_parser("fail", help="fail").set_defaults(run=run)

    return argparse.Namespace(add=add)


@pytest.mark.parametrize("error", [CheckpointError("the folder is empty"), OSError("the disk is full")])
def test_the_command_line_shows_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr(cli, "_SUBCOMMANDS", (raising(error),))
    assert cli.main(["fail"]) == 2
    assert capsys.readouterr().err == f"lisa fail: {error}\n"


def test_the_command_line_raises_a_fault_of_the_software(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy and torch raise ValueErrors, too."""
    monkeypatch.setattr(cli, "_SUBCOMMANDS", (raising(ValueError("operands could not be broadcast together")),))
    with pytest.raises(ValueError, match="broadcast"):
        cli.main(["fail"])
