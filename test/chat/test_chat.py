# SPDX-License-Identifier: Apache-2.0
"""`lisa chat` as a program, with the embedded model and with a node."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import camera_images
import cv2
import numpy as np
import pytest
from node_probe import probing
from ros_harness import private_environment, scripted_node, started, talking_node
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import CompressedImage

from lisa_ros.chat.dialogues import ModelDialogue
from lisa_ros.chat.ros_dialogue import RosDialogue
from lisa_ros.chat.saving import save
from lisa_ros.chat.session import ChatSession
from lisa_ros.chat.sources import FileSource
from lisa_ros.cli.main import main
from lisa_ros.models.model import Answer, Model
from lisa_ros.segmentation.answers import Event, Finished
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.simulation.tabletop import Tabletop

pytestmark = pytest.mark.ros


def chat(lines: list[str], *arguments: str) -> str:
    """What a chat prints."""
    command = [sys.executable, "-m", "lisa_ros.cli", "chat", *arguments]
    ended = subprocess.run(
        command, input="\n".join(lines), env=private_environment(), capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of the simulated table."""
    folder = tmp_path_factory.mktemp("images")
    table = Tabletop(92, width=640, height=480)
    view = table.render()
    table.close()
    cv2.imwrite(str(folder / "a.png"), cv2.cvtColor(view.rgb, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(folder / "b.png"), np.full((48, 64, 3), 90, np.uint8))
    return folder


def test_a_chat_answers_undoes_and_saves(folder: Path, tmp_path: Path) -> None:
    lines = [
        "the blue bottle",
        "/reset",
        "/reset",
        "/undo",
        "/undo",
        "/undo",
        "/image 2",
        "/image c.png",
        "/nonsense",
        "/save",
        "/quit now",
        "/help",
    ]
    printed = chat(lines, "--image", str(folder), "--output", str(tmp_path / "out"))
    assert "Image: a.png, 640 x 480 pixels" in printed and "Image: b.png, 64 x 48 pixels" in printed
    assert "The blue bottle." in printed and "1: blue bottle, " in printed
    assert "The dialogue is restored (turns: 1)." in printed
    assert "Turn 1 is deleted: the blue bottle" in printed and "! there is nothing to undo" in printed
    assert "/save [FOLDER]" not in printed  # of /help
    assert "! there is no image file c.png" in printed and "! there is no command /nonsense" in printed
    (turn,) = json.loads((tmp_path / "out" / "chat.json").read_text())["turns"]
    mask = cv2.imread(str(tmp_path / "out" / turn["masks"][0]["file"]), cv2.IMREAD_GRAYSCALE)
    assert set(np.unique(mask)) == {0, 255} and f"{np.count_nonzero(mask)} pixels" in printed
    assert cv2.imread(str(tmp_path / "out" / "answer1.png")).shape[1] == 640
    assert cv2.imread(str(tmp_path / "out" / "turn1_overlay.png")).shape[1] == 640


class Noting(ScriptedSegmenter):
    """Says with each answer what it cannot do."""

    def session(self, *arguments: Any, **options: Any) -> Any:
        session = super().session(*arguments, **options)

        def segment(command: str, *more: Any, **further: Any) -> Iterator[Event]:
            for event in session.segment(command, *more, **further):
                yield replace(event, note="One is left out.") if isinstance(event, Finished) else event

        return SimpleNamespace(segment=segment)


def test_an_image_is_encoded_once_and_the_models_note_is_said(folder: Path, tmp_path: Path) -> None:
    model, out = Noting(), io.StringIO()
    source = FileSource(folder)
    ChatSession(ModelDialogue(Model(model), source), source, tmp_path, "none", out).run(["history", "history"])
    assert model.encoded == 1 and out.getvalue().count("(One is left out.)") == 2
    assert "History: history" in out.getvalue()


def test_a_saved_chat_has_no_files_of_an_earlier_one(tmp_path: Path) -> None:
    answer = Answer(np.zeros((4, 6, 3), np.uint8), "the mug", "There is none.", (), "end", "")
    save([answer] * 2, tmp_path)
    (tmp_path / "turn2_plan.png").touch()  # of somebody else
    save([answer], tmp_path)
    kept = ["chat.json", "turn1_overlay.png", "turn2_plan.png"]
    assert sorted(file.name for file in tmp_path.iterdir()) == kept
    with pytest.raises(LisaError, match="there is no answer to save yet"):
        save([], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == kept


def test_a_chat_without_an_image_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lisa_ros.cli", "chat", "--image", str(tmp_path)]
    ended = subprocess.run(command, env=private_environment(), capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2 and "has no images" in ended.stderr and "Traceback" not in ended.stderr


def test_a_line_in_another_encoding_does_not_end_the_chat(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(text: str, *_: object) -> None:
        asked.append(text)
        raise LisaError("refused")

    dialogue = SimpleNamespace(name="model", ask=ask, close=lambda: None)
    monkeypatch.setattr("lisa_ros.cli.chat._dialogue", lambda *_: dialogue)
    typed = "der gr\xfcne Becher\n".encode("latin-1") + b"the mug\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
    assert main(["chat", "--image", str(folder / "b.png"), "--output", str(tmp_path)]) == 0
    assert asked == ["der gr\udcfcne Becher", "the mug"]


def test_a_chat_with_a_node_has_the_same_face(tmp_path: Path) -> None:
    with probing("lisa") as probe, started(scripted_node()) as process:
        probe.wait_for_node(process)
        # On a busy machine the chat may take longer to start than an image is young.
        assert probe.set_parameter("max_image_age", 0.0).successful
        probe.ask_about(camera_images.message("rgb8"), "red")
        lines = ["the red part", "forbidden", "history", "/undo", "/reset", "/undo", "/undo", "/image", "/save"]
        printed = chat(lines, "--ros", "--operator", "ann", "--output", str(tmp_path))
    assert "node /lisa, operator ann" in printed and "red part is" in printed and "1: red part, " in printed
    assert "! The model does not take this word." in printed and "History: the red part" in printed
    assert "The dialogue is deleted (turns: 1)" in printed and "Undone (turns now: 1)." in printed
    assert "Undone (turns now: 0)." in printed and "! the node's camera gives the images" in printed
    assert (tmp_path / "turn1_mask1.png").is_file()


def test_a_chat_with_a_node_of_a_compressed_camera_shows_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """It drew the masks on a grey image."""
    monkeypatch.setattr("lisa_ros.chat.ros_dialogue.LisaClient", MagicMock())
    with talking_node("compressed_camera") as node:
        dialogue = RosDialogue("/lisa", "ann")
        camera = node.create_publisher(CompressedImage, "/lisa/frame/image/compressed", 10)
        image = camera_images.compressed(".png", "rgb8; png compressed bgr8", camera_images.colours()[:, :, ::-1])
        image.header.stamp = node.get_clock().now().to_msg()
        node.create_timer(0.05, lambda: camera.publish(image))
        answers = (dialogue._image_of(image.header.stamp, ()) for _ in range(20))
        shown = next((one for one in answers if one.shape != (1, 1, 3)), None)
        dialogue.close()
    assert shown is not None and (shown == camera_images.colours()).all()


def test_a_camera_that_is_not_there_is_named() -> None:
    command = [sys.executable, "-m", "lisa_ros.cli", "chat", "--camera", "63"]
    ended = subprocess.run(command, env=private_environment(), capture_output=True, text=True, timeout=200)
    assert ended.returncode == 2 and "camera 63 cannot be opened (/dev/video63)" in ended.stderr
    assert "Traceback" not in ended.stderr
