# SPDX-License-Identifier: Apache-2.0
"""A dialogue file that is deleted, moved, replaced or overwritten while it is open: no turn is lost, and it is said."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.store import DialogueStore
from lisa_ros.segmentation.turns import Turn

Fault = Callable[[Path], None]


def turn(text: str) -> Turn:
    return Turn(text, "Sure.")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "dialogues.sqlite"


def stored(file: Path) -> dict[str, list[str]]:
    """Operator -> commands that a new process finds in the file."""
    dialogues = Dialogues(store=DialogueStore(file))
    found = {one.operator: [kept.command for kept in dialogues.turns(one.operator)] for one in dialogues.summaries()}
    dialogues.close()
    return found


def log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def delete(file: Path) -> None:
    file.unlink()


def delete_its_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def delete_with_log(file: Path) -> None:
    file.unlink()
    log_of(file).unlink()


def delete_the_log(file: Path) -> None:
    log_of(file).unlink()


def move(file: Path) -> None:
    file.rename(file.parent.parent / "moved.sqlite")


def replace_by_an_empty_file(file: Path) -> None:
    file.unlink()
    file.touch()


FAULTS = [delete, delete_its_folder, delete_with_log, delete_the_log, move, replace_by_an_empty_file]


@pytest.mark.parametrize("idle", [False, True], ids=["next_turn", "idle"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_all_turns_are_written_again(file: Path, fault: Fault, idle: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    for operator in ("ann", "ben"):
        dialogues.append(operator, turn("first"))
    fault(file)
    if idle:
        assert dialogues.save() == 0
    else:
        assert dialogues.append("ann", turn("second")) == 2
    errors = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert len(errors) == 1 and errors[0].startswith(f"The dialogue file {file} ")
    assert f"Dialogues can be written to {file} again; nothing was lost." in caplog.text
    dialogues.append("ben", turn("third"))
    assert dialogues.save() == 0
    store.close()  # as if the process were killed: Dialogues.close() would write, too
    ann = ["first"] if idle else ["first", "second"]
    assert stored(file) == {"ann": ann, "ben": ["first", "third"]}
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 1
    if fault is move:
        assert stored(file.parent.parent / "moved.sqlite") == {"ann": ["first"], "ben": ["first"]}


def test_in_place_of_the_file_a_folder(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    dialogues.append("ann", turn("first"))
    file.unlink()
    file.mkdir()
    for text in ("second", "third"):
        dialogues.append("ann", turn(text))
    assert [one.command for one in dialogues.turns("ann")] == ["first", "second", "third"]
    assert dialogues.save() == 1 and dialogues.save() == 1
    errors = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert len(errors) == 2, "the loss, and why no new file can be begun, once each"
    assert "was replaced by a folder" in errors[0] and "unable to open database file" in errors[1]
    assert file.is_dir()
    file.rmdir()
    assert dialogues.save() == 0
    store.close()
    assert stored(file) == {"ann": ["first", "second", "third"]}


def test_what_was_not_written_until_the_end_is_reported(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    dialogues = Dialogues(store=DialogueStore(file))
    dialogues.append("ann", turn("first"))
    dialogues.append("ben", turn("first"))
    file.unlink()
    file.mkdir()
    dialogues.close()
    assert "The newest turns of 2 operators could not be written and are lost." in caplog.text


def other_dialogues(file: Path) -> Path:
    """A closed dialogue file of an operator who is not in memory."""
    dialogues = Dialogues(store=DialogueStore(file))
    dialogues.append("carl", turn("an older one"))
    dialogues.close()
    return file


@pytest.mark.parametrize("how", [shutil.move, shutil.copy2], ids=["another file", "written over it"])
def test_a_backup_that_takes_its_place_is_kept_aside(
    file: Path, tmp_path: Path, how: Callable[[Path, Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    """The node's dialogues are the newer ones; what the operator has put there is not lost."""
    backup = other_dialogues(tmp_path / "backup.sqlite")
    content = backup.read_bytes()
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    dialogues.append("ann", turn("first"))
    how(backup, file)
    dialogues.append("ann", turn("second"))
    store.close()
    assert stored(file) == {"ann": ["first", "second"]}
    (aside,) = file.parent.glob("dialogues.sqlite.replaced-*")
    assert stored(aside) == {"carl": ["an older one"]}
    assert str(aside) in caplog.text
    assert how is shutil.move or content == aside.read_bytes()


def test_a_file_of_something_else_in_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As when a node starts: it is left alone, or kept aside where it is called *.sqlite."""
    for name, is_kept_aside in (("dialogues.sqlite", True), ("dialogues.db", False)):
        file = tmp_path / name
        store = DialogueStore(file)
        dialogues = Dialogues(store=store)
        dialogues.append("ann", turn("first"))
        file.unlink()
        file.write_text("a shopping list, longer than a page of SQLite" * 100)
        assert dialogues.save() == (0 if is_kept_aside else 1)
        if is_kept_aside:
            (aside,) = tmp_path.glob(f"{name}.damaged-*")
        else:
            aside = file
            assert "file is not a database" in caplog.text
        assert aside.read_text().startswith("a shopping list")
        dialogues.close()


@contextmanager
def another_node(file: Path) -> Iterator[None]:
    """A process that has a dialogue file open."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom lisa_ros.dialogue.dialogues import Dialogues\n"
        "from lisa_ros.dialogue.store import DialogueStore\nfrom lisa_ros.segmentation.turns import Turn\n"
        "dialogues = Dialogues(store=DialogueStore(Path(sys.argv[1])))\n"
        "dialogues.append('dora', Turn('of another node', 'Sure.'))\nprint('ready', flush=True)\nsys.stdin.read()\n"
        "assert dialogues.save() == 0\ndialogues.close()\n"
    )
    command = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.stdin.close()
        assert process.wait(120) == 0


def test_another_node_that_has_begun_a_file_there_keeps_it(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    dialogues.append("ann", turn("first"))
    log = log_of(file)
    file.unlink()
    log.unlink()
    with another_node(file):
        dialogues.append("ann", turn("second"))
        assert dialogues.save() == 1 and "another node has it open" in caplog.text
    assert dialogues.save() == 0
    store.close()
    assert stored(file) == {"ann": ["first", "second"]}
    (aside,) = file.parent.glob("dialogues.sqlite.replaced-*")
    assert stored(aside) == {"dora": ["of another node"]}


def test_a_file_that_nobody_touches_is_never_taken_for_lost(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where SQLite copies its log into the file, and where the rights or another link of the file change."""
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    for number in range(40):
        dialogues.append("ann", Turn("x" * 400_000, str(number)))
        if number == 20:
            assert file.stat().st_size > 1_000_000, "SQLite has copied its log"
            file.chmod(0o444)
            os.link(file, file.with_name("link"))
        assert dialogues.save() == 0
    dialogues.reset("ann")
    store.erase("ann")
    dialogues.append("ann", turn("last"))
    store.close()
    assert stored(file) == {"ann": ["last"]}
    assert caplog.records == []
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)
