# SPDX-License-Identifier: Apache-2.0
"""Bags of any bytes are answered, or refused with one sentence; what is left of a damaged one is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from mutation import BYTES, CHANGES, changed, changed_bytes
from recorded_bags import DEPTH, IMAGE, INFO, write_bag
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.bags.answering import Answerer, AnswerSettings
from lisa_ros.bags.commands import BagCommand, in_order
from lisa_ros.bags.frames import FramesOfCommands, Topics
from lisa_ros.bags.reading import Stored, open_bag
from lisa_ros.bags.run import IMAGE_TYPES, INFO_TYPES
from lisa_ros.segmentation.errors import LisaError

pytestmark = pytest.mark.unit

COMMANDS = (BagCommand(0.15, "ann", "two"), BagCommand(0.3, "bob", "history"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for storage in ("mcap", "sqlite3"):
        write_bag(folder / storage, images=5, storage=storage, size=(32, 24))
    write_bag(folder / "zstd", images=5, storage="sqlite3", compression="message", size=(32, 24))
    write_bag(folder / "chunks", images=5, storage="mcap", compression="storage", size=(32, 24))
    return folder


def is_answered(source: Path) -> None:
    """Each command gets one status, or the bag is refused with a sentence."""
    try:
        bag = open_bag(source)
    except (LisaError, OSError) as error:  # what `lisa` shows as one sentence
        assert str(error)
        return
    try:
        for topic, kinds in ((IMAGE, IMAGE_TYPES), (DEPTH, IMAGE_TYPES), (INFO, INFO_TYPES)):
            bag.check_topic(topic, "--topic", kinds)
        commands = in_order(COMMANDS, bag.start_ns, bag.end_ns)
        answerer = Answerer(ScriptedSegmenter(), bag, AnswerSettings())
        frames = FramesOfCommands(bag, Topics(IMAGE, DEPTH, INFO), commands)
        answers = [answerer.answer(*one)[0] for one in frames if not isinstance(one, Stored)]
        assert len(answers) == len(COMMANDS)
    except (LisaError, OSError) as error:
        assert str(error)
    finally:
        bag.close()


def copied(home: Path, kind: str) -> Path:
    folder = home / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(home / kind, folder))


@cases(100)
@given(
    kind=st.sampled_from(["mcap", "sqlite3", "zstd", "chunks"]), changes=BYTES, end=st.booleans(), alone=st.booleans()
)
def test_the_bytes_of_a_bag(
    home: Path, kind: str, changes: list[tuple[int, str, bytes]], end: bool, alone: bool
) -> None:
    folder = copied(home, kind)
    (file,) = (one for one in folder.iterdir() if one.suffix != ".yaml")
    data = file.read_bytes()
    if end:  # MCAP's index, SQLite's last page
        changes = [(len(data) - 1 - place % min(len(data), 2000), how, value) for place, how, value in changes]
    file.write_bytes(changed_bytes(data, changes))
    is_answered(file if alone else folder)


@cases(40)
@given(kind=st.sampled_from(["mcap", "sqlite3"]), changes=CHANGES)
def test_the_metadata_of_a_bag(home: Path, kind: str, changes: list[tuple[int, str, Any]]) -> None:
    folder = copied(home, kind)
    file = folder / "metadata.yaml"
    # JSON is YAML.
    file.write_text(json.dumps(changed(yaml.safe_load(file.read_text()), changes)))
    is_answered(folder)


def test_a_topic_of_metadata_that_is_no_text(home: Path) -> None:
    folder = copied(home, "mcap")
    file = folder / "metadata.yaml"
    content = yaml.safe_load(file.read_text())
    content["rosbag2_bagfile_information"]["topics_with_message_count"][0]["topic_metadata"]["name"] = {"a": 1}
    file.write_text(json.dumps(content))
    bag = open_bag(folder)
    assert set(bag.types) == {IMAGE, DEPTH, INFO} and "is a dict instead of a text" in bag.problems[0]


@cases(40)
@given(kind=st.sampled_from(["mcap", "sqlite3"]), changes=BYTES)
def test_the_bytes_of_a_bags_metadata(home: Path, kind: str, changes: list[tuple[int, str, bytes]]) -> None:
    folder = copied(home, kind)
    file = folder / "metadata.yaml"
    file.write_bytes(changed_bytes(file.read_bytes(), changes))
    is_answered(folder)
