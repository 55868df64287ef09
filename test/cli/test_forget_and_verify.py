# SPDX-License-Identifier: Apache-2.0
"""`lisa forget` erases an operator's turns from the file; `lisa verify` finds every changed file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lisa_ros.cli.main import main
from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.store import DialogueStore
from lisa_ros.models import loading
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.manifest import MANIFEST, differences
from lisa_ros.segmentation.turns import Turn


def test_no_byte_of_an_operators_texts_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    file = tmp_path / "lisa_ros" / "lisa.sqlite"
    dialogues = Dialogues(store=DialogueStore(file))
    for number in range(5):
        dialogues.append("anna", Turn(f"where is my secret {number}", "It is there."))
        dialogues.append("ben", Turn("the mug", "There."))
    dialogues.close()
    assert b"secret" in file.read_bytes()
    assert main(["forget", "anna"]) == 0
    assert f"{file}: 5 turns of 'anna' erased" in capsys.readouterr().out
    assert not [one for one in file.parent.iterdir() if b"secret" in one.read_bytes()]
    again = Dialogues(store=DialogueStore(file))
    assert len(again.turns("ben")) == 5 and again.turns("anna") == ()
    assert main(["forget", "ben"]) == 1, "a node has it open"
    assert "another node has it open" in capsys.readouterr().out
    again.close()
    assert main(["forget", "ben", "--dialogue-file", str(tmp_path / "none.sqlite")]) == 1


def test_a_folder_without_dialogues_is_no_successful_erasure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    assert main(["forget", "anna"]) == 1
    assert f"{tmp_path / 'lisa_ros'} has no dialogue file; name one with --dialogue-file" in capsys.readouterr().out


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_database_of_another_program_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: int
) -> None:
    file = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"create table bookmarks (address text); pragma user_version = {version};")
    before = file.read_bytes()
    assert main(["forget", "anna", "--dialogue-file", str(file)]) == 1
    assert "it is a database of another program" in capsys.readouterr().out
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]


def test_every_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip").mkdir()
    for name in ("config.json", "model.safetensors", "clip/config.json"):
        (tmp_path / name).write_text(name)
    folder = ["--checkpoint", str(tmp_path)]
    assert main(["verify", *folder]) == 2 and "--write" in capsys.readouterr().err
    assert main(["verify", *folder, "--write"]) == main(["verify", *folder]) == 0
    (tmp_path / "config.json").write_text("config.jsoN")
    (tmp_path / "clip" / "config.json").unlink()
    (tmp_path / "extra.bin").touch()
    assert main(["verify", *folder]) == 1
    found = capsys.readouterr().out.splitlines()[-3:]
    assert found == ["clip/config.json: is missing", "extra.bin: is not in the manifest", "config.json: was changed"]
    (tmp_path / MANIFEST).write_text("nonsense")
    assert main(["verify", *folder]) == 2 and "damaged" in capsys.readouterr().err


def test_the_embedded_checkpoint_is_checked_when_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differences(embedded_checkpoint()) == []
    damaged = tmp_path / "tabletop"
    shutil.copytree(embedded_checkpoint(), damaged)
    data = bytearray((damaged / "model.safetensors").read_bytes())
    data[-1000] ^= 1
    (damaged / "model.safetensors").write_bytes(bytes(data))
    monkeypatch.setattr(loading, "embedded_checkpoint", lambda: damaged)
    with pytest.raises(LisaError, match=r"is damaged .model.safetensors: was changed.; install the package again"):
        loading.load_segmenter(damaged)


def test_turns_in_a_file_that_was_kept_aside_are_not_erased(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lisa.sqlite"
    file.write_bytes(b"where is my secret, in a damaged file" * 50)
    assert main(["forget", "anna", "--dialogue-file", str(file)]) == 1
    (aside,) = tmp_path.glob("lisa.sqlite.damaged-*")
    assert f"{aside}: was kept aside, and may hold turns of 'anna'; delete it" in capsys.readouterr().out
    aside.unlink()
    assert main(["forget", "anna", "--dialogue-file", str(file)]) == 0


def test_forget_without_an_operator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lisa.sqlite"
    DialogueStore(file).close()
    assert main(["forget", "", "--dialogue-file", str(file)]) == 2
    assert "the operator is empty; name the operator_id" in capsys.readouterr().err
    assert main(["forget", "j\udcfcrgen", "--dialogue-file", str(file)]) == 2, (
        "bytes of a terminal with another encoding"
    )
    assert "The operator_id 'j\\udcfcrgen' cannot be used" in capsys.readouterr().err


def test_verify_of_a_file_is_no_folder_without_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").touch()
    assert main(["verify", "--checkpoint", str(tmp_path / "a.txt")]) == 2
    assert f"there is no folder {tmp_path / 'a.txt'}" in capsys.readouterr().err
