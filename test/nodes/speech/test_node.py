# SPDX-License-Identifier: Apache-2.0
"""The node `speech` as a process of its own, with the scripted segmentation node, driven over DDS."""

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import camera_images
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe, probing
from paths import ROOT
from rclpy.node import Node
from ros_harness import Process, scripted_node, speech_node, started, talking_node, wait_at, wait_until
from spoken import said
from std_msgs.msg import String
from std_srvs.srv import SetBool

from lisa_ros.msg import Audio, Command, Heard, Segmentation
from lisa_ros.nodes.speech.parameters import SpeechParameters
from lisa_ros.speech.audio.samples import RATE, Samples

STAMP_S = 1_700_000_000


class Ear:
    """Sends sound to the node, and collects what it publishes."""

    def __init__(self, node: Node, namespace: str = "") -> None:
        self.node, self._heard_topic = node, f"{namespace}/speech/heard"
        self._diagnostics_name = f"{namespace}/speech: speech".lstrip("/")
        self.heard: list[Heard] = []
        self.commands: list[Command] = []
        self.saying: list[str] = []
        self.diagnostics: list[Any] = []
        self._audio = node.create_publisher(Audio, f"{namespace}/speech/audio", 400)
        self.button = node.create_client(SetBool, f"{namespace}/speech/push_to_talk")
        node.create_subscription(Heard, self._heard_topic, self.heard.append, 100)
        node.create_subscription(Command, f"{namespace}/speech/command", self.commands.append, 100)
        node.create_subscription(
            String, f"{namespace}/speech/saying", lambda message: self.saying.append(message.data), 100
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)

    def wait_for_node(self, process: Process) -> None:
        def is_there() -> bool:
            assert process.alive, process.output
            return self._audio.get_subscription_count() > 0 and self.node.count_publishers(self._heard_topic) > 0

        wait_until(is_there, "the speech node")

    def send(
        self, samples: Samples, mode: int, operator: str, rate: int = RATE, channels: int = 1, pause_s: float = 0.0
    ) -> None:
        """The sound in blocks of 50 ms with a pause after each, stamped as if recorded at STAMP_S."""
        pcm = np.repeat((np.clip(samples, -1, 1) * 32767).astype("<i2"), channels)
        step = rate // 20 * channels
        for start in range(0, len(pcm), step):
            message = Audio(operator_id=operator, mode=mode, sample_rate=rate, channels=channels)
            message.samples.frombytes(pcm[start : start + step].tobytes())
            passed_ns = round(start / channels * 1e9 / rate)
            message.header.stamp.sec = STAMP_S + passed_ns // 1_000_000_000
            message.header.stamp.nanosec = passed_ns % 1_000_000_000
            self._audio.publish(message)
            time.sleep(pause_s)

    def hold(self, samples: Samples, operator: str, **form: Any) -> Heard:
        """Says it with a button held; what was understood."""
        before = len(self.finals(operator))
        self.send(samples, Audio.PUSH_TO_TALK, operator, **form)
        self._audio.publish(Audio(operator_id=operator, mode=Audio.RELEASED, sample_rate=16000, channels=1))
        return wait_until(lambda: self.finals(operator)[before:], "what was heard")[0]

    def overhear(self, samples: Samples, operator: str) -> Heard:
        """Says it to an open microphone; what was understood."""
        before = len(self.finals(operator))
        silence = np.zeros(RATE, np.float32)
        self.send(np.concatenate([silence, samples, silence]), Audio.LISTENING, operator)
        return wait_until(lambda: self.finals(operator)[before:], "what was heard")[0]

    def send_raw(self, **fields: Any) -> None:
        self._audio.publish(Audio(**fields))

    def finals(self, operator: str) -> list[Heard]:
        return [one for one in self.heard if one.final and one.operator_id == operator]

    def _on_diagnostics(self, message: Any) -> None:
        self.diagnostics += [status for status in message.status if status.name == self._diagnostics_name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing() as probe, started(scripted_node()) as process:
        probe.wait_for_node(process)
        assert probe.set_parameter("max_image_age", 0.0).successful
        probe.ask_about(camera_images.message("rgb8"), "two")
        yield probe


@pytest.fixture(scope="module")
def ear(probe: Probe, folder: Path) -> Iterator[Ear]:
    script = folder / "say.py"
    script.write_text(f"import sys; open({str(folder / 'spoken.txt')!r}, 'a').write(sys.stdin.read())")
    command = speech_node(
        "audio:=topic",
        f"record_folder:={folder / 'recorded'}",
        "say:=command",
        f"say_command:={sys.executable} {script}",
    )
    with talking_node("ear") as node, started(command) as process:
        ear = Ear(node)
        ear.wait_for_node(process)
        yield ear


def test_a_held_button_makes_a_command_that_is_answered_and_spoken(probe: Probe, ear: Ear, folder: Path) -> None:
    sound = np.repeat(said("Where is the yellow ring?", "slt"), 3)  # 48 kHz
    heard = ear.hold(sound, "ann", rate=48000, channels=2, pause_s=0.05)  # as spoken: parts are recognised meanwhile
    assert (heard.meaning, heard.used) == (Heard.COMMAND, "Where is the yellow ring?")
    assert heard.confidence == pytest.approx(1.0)
    # The sound begins with a fifth of a second of silence; the stamp is the utterance's begin.
    assert 0 <= heard.header.stamp.sec - STAMP_S <= 1
    command = wait_until(lambda: [one for one in ear.commands if one.id == heard.command_id], "the command")[0]
    assert (command.operator_id, command.text, command.heard) == ("ann", heard.used, heard.heard)
    assert command.stamp == heard.header.stamp
    answer = probe.answer_to(heard.command_id)
    assert answer.text == heard.used
    wait_until(lambda: ear.saying, "a sentence")
    spoken = folder / "spoken.txt"
    wait_until(lambda: spoken.exists() and spoken.read_text(), "the spoken sentence")
    assert spoken.read_text().strip() in ear.saying
    (recorded,) = wait_until(lambda: list((folder / "recorded").glob("*_ann.json")), "the recording")
    assert json.loads(recorded.read_text())["used"] == heard.used
    assert recorded.with_suffix(".wav").stat().st_size > 20_000

    def heard_in_parts() -> bool:
        """On a busy machine parts are left out, the more of them the shorter the sound."""
        if not any(not one.final and one.heard for one in ear.heard):
            ear.hold(np.tile(sound, 4), "al", rate=48000, channels=2, pause_s=0.05)
        return any(not one.final and one.heard for one in ear.heard)

    wait_until(heard_in_parts, "a part of what is said")


def test_what_is_said_to_others_is_neither_a_command_nor_published(ear: Ear) -> None:
    before = len(ear.commands)
    ignored = ear.overhear(said("Give me the blue bottle.", "slt"), "bob")
    assert (ignored.meaning, ignored.heard, ignored.used) == (Heard.IGNORED, "", "")
    assert "wake phrase" in ignored.detail
    assert [one for one in ear.heard if one.operator_id == "bob" and one.heard] == []
    assert len(ear.commands) == before
    woken = ear.overhear(said("Hey robot, where is the yellow ring?", "slt"), "bob")
    assert (woken.meaning, woken.used.lower()) == (Heard.COMMAND, "where is the yellow ring?")


def test_stop_cancels_and_start_over_resets(probe: Probe, ear: Ear, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    typed = probe.send(f"gate {gate}", "cid")
    wait_at(gate)
    waiting = ear.hold(said("Where is the yellow ring?", "slt"), "cid")
    assert ear.hold(said("Stop!", "slt"), "cid").meaning == Heard.STOP
    assert probe.answer_to(waiting.command_id).status == Segmentation.CANCELLED
    gate.touch()
    assert probe.answer_to(typed).status != Segmentation.CANCELLED
    assert "cid" in probe.dialogues()
    assert ear.hold(said("Start over.", "slt"), "cid").meaning == Heard.RESET
    wait_until(lambda: "cid" not in probe.dialogues(), "the reset")


def test_wrong_sound_is_refused_and_the_node_goes_on(ear: Ear) -> None:
    ear.send_raw(sample_rate=0, channels=1, samples=[1, 2, 3], operator_id="eve")
    ear.send_raw(sample_rate=16000, channels=2, samples=[1, 2, 3], operator_id="eve")
    ear.send_raw(sample_rate=16000, channels=1, samples=[], mode=250, operator_id="eve")
    wait_until(lambda: any("not whole frames of 2" in one.message for one in ear.diagnostics), "the diagnostics")
    nothing = ear.hold(np.zeros(RATE, np.float32), "eve")
    assert (nothing.meaning, nothing.detail) == (Heard.IGNORED, "No words were heard.")
    mended = len(ear.diagnostics)
    wait_until(lambda: any("not whole" not in one.message for one in ear.diagnostics[mended:]), "the end of the fault")
    # A sender that ends while its button is held: what it sent is understood.
    ear.send(said("Where is the yellow ring?", "slt"), Audio.PUSH_TO_TALK, "eve")
    wait_until(lambda: [one for one in ear.finals("eve") if one.meaning == Heard.COMMAND], "the command")


def test_operators_stamps_and_buttons_of_any_kind(ear: Ear, folder: Path) -> None:
    ring = said("Where is the yellow ring?", "slt")
    for name in ("安娜", "🤖 two words", "../../escaped", "n" * 200):
        heard = ear.hold(ring, name)
        assert (heard.operator_id, heard.meaning) == (name, Heard.COMMAND)
    assert not list(folder.parent.glob("*escaped*")) and not list(folder.glob("*escaped*"))
    # Two operators in turn: each one's sound is their own.
    half = len(ring) // 2
    ear.send(ring[:half], Audio.PUSH_TO_TALK, "ivy")
    ear.send(said("Give me the blue bottle.", "slt"), Audio.PUSH_TO_TALK, "joe")
    ear.send_raw(operator_id="joe", mode=Audio.RELEASED, sample_rate=16000, channels=1)
    assert "yellow ring" in ear.hold(ring[half:], "ivy").used
    assert "bottle" in wait_until(lambda: ear.finals("joe"), "joe's command")[0].used
    # A release without a press is no command, and a second press belongs to the same utterance.
    before = len(ear.commands)
    ear.send_raw(operator_id="kim", mode=Audio.RELEASED, sample_rate=16000, channels=1)
    ear.send(ring[:half], Audio.PUSH_TO_TALK, "kim")
    ear.send_raw(operator_id="kim", mode=Audio.PUSH_TO_TALK, sample_rate=16000, channels=1)
    ear.hold(ring[half:], "kim")  # its stamps go back to the beginning
    (heard,) = wait_until(lambda: [one for one in ear.finals("kim") if one.meaning == Heard.COMMAND], "the command")
    assert "yellow ring" in heard.used
    wait_until(lambda: len(ear.commands) == before + 1, "one command")
    # Stamps of zero, and of a clock that is far ahead.
    pcm = (np.clip(ring, -1, 1) * 32767).astype("<i2")
    for count, second in enumerate((0, 2**31 - 1)):
        message = Audio(operator_id="lea", mode=Audio.RELEASED, sample_rate=RATE, channels=1)
        message.header.stamp.sec = second
        message.samples.frombytes(pcm.tobytes())
        ear._audio.publish(message)
        newest = wait_until(lambda count=count: ear.finals("lea")[count:], "what was heard")[0]
        assert "yellow ring" in newest.used


def test_without_a_microphone_and_without_lisa_it_lives_and_says_so() -> None:
    with (
        talking_node("alone") as node,
        started(speech_node("lisa:=nobody", "device:=jabra", namespace="/alone")) as process,
    ):
        ear = Ear(node, "/alone")
        ear.wait_for_node(process)
        status = wait_until(lambda: [one for one in ear.diagnostics if one.level != b"\0"], "a warning")[0]
        assert "microphone" in status.message.lower()
        assert ear.button.wait_for_service(120)
        response = ear.button.call_async(SetBool.Request(data=False))
        wait_until(response.done, "the button")
        assert response.result().success
        heard = ear.hold(said("Where is the yellow ring?", "slt"), "ann")
        assert heard.detail == "There is no action nobody/segment; is lisa_node running?"
        assert heard.command_id == ""
        assert heard.detail in ear.saying


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("listen:=sometimes",),
            "listen is 'sometimes'; it must be one of wake_phrase, push_to_talk, always",
        ),
        (("audio:=file",), "Parameter file must name a WAV file"),
        (("audio:=file", "file:=/no/such.wav"), "/no/such.wav cannot be read: No such file"),
        (("wake_phrase:='...'",), "has no word"),
        (("vocabulary:=/no/words.txt",), "/no/words.txt cannot be read"),
        (("checkpoint:=/no/model",), "/no/model is not a folder; a checkpoint is a folder, or a Hugging Face id"),
        (("say:=command", 'say_command:="espeak \'x"'), 'Parameter say_command is "espeak \'x"'),
        (("confirm_below:=2.0",), "confirm_below must be a number with a decimal point from 0 to 1"),
    ],
)
def test_wrong_parameters_end_it_with_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    process = Process(speech_node(*arguments))
    assert process.wait() == 1
    assert sentence in process.output
    assert "Traceback" not in process.output


def test_the_parameter_file_repeats_the_defaults() -> None:
    file = yaml.safe_load((ROOT / "config" / "speech.yaml").read_text())["/**"]["ros__parameters"]  # in any namespace
    assert file == {entry.name: entry.default for entry in dataclasses.fields(SpeechParameters)}
