# SPDX-License-Identifier: Apache-2.0
"""The node `speech` with a WAV file, and a node that answers about the image at the utterance's start."""

import sys
import wave
from pathlib import Path

import camera_images
import numpy as np
from node_probe import Probe
from ros_harness import scripted_node, speech_node, started, talking_node, wait_until
from spoken import said

from lisa_ros.msg import Command, Heard, Segmentation
from lisa_ros.speech.audio.samples import RATE, write_wav

_PERIOD_S = 0.1


def seconds(stamp: object) -> float:
    return float(stamp.sec + stamp.nanosec / 1e9)  # type: ignore[attr-defined]


def test_a_spoken_file_is_answered_about_the_image_of_its_start(tmp_path: Path) -> None:
    file = tmp_path / "spoken.wav"
    pause = np.zeros(RATE, np.float32)
    sound = np.concatenate([pause, said("Where is the yellow ring?", "slt"), pause])
    with wave.open(str(file), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    node = scripted_node("-p", "command_frame:=nearest", "-p", "frame_buffer:=6.0", "-p", "cache_mib:=0")
    with talking_node("probe") as own, started(node) as process:
        probe = Probe(own)
        probe.wait_for_node(process)
        image = camera_images.message("rgb8")

        def show() -> None:
            image.header.stamp = probe.stamp_now()
            probe.show(image)

        own.create_timer(_PERIOD_S, show)
        commands: list[Command] = []
        own.create_subscription(Command, "speech/command", commands.append, 10)
        wait_until(lambda: probe.ask("red").status == Segmentation.OK, "the node's first image")
        words = ("audio:=file", f"file:={file}", "listen:=always", "operator:=ann")
        with started(speech_node(*words)) as speech:
            wait_until(lambda: commands or not speech.alive, "the command")
            assert speech.alive, speech.output
            answer = probe.answer_to(commands[0].id)
        assert (answer.operator_id, answer.text) == ("ann", "Where is the yellow ring?")
        # On a busy machine some images come late.
        assert abs(seconds(answer.header.stamp) - seconds(commands[0].stamp)) <= 5 * _PERIOD_S
        # The sentence takes more than a second: the newest image would be another one.
        assert seconds(probe.stamp_now()) - seconds(answer.header.stamp) > 1.0
        probe.close()


def test_the_robot_does_not_hear_what_is_said_while_it_speaks(tmp_path: Path) -> None:
    file, script = tmp_path / "spoken.wav", tmp_path / "say.py"
    script.write_text("import sys, time; sys.stdin.read(); time.sleep(9)")
    sentences = [(0.5, "Where is the yellow ring?"), (9.0, "Show me the red cube."), (20.0, "Where is the blue ring?")]
    sound = np.zeros(23 * RATE, np.float32)
    for start_s, text in sentences:
        spoken = said(text, "slt")
        sound[round(start_s * RATE) :][: len(spoken)] = spoken
    write_wav(file, sound)
    words = ("audio:=file", f"file:={file}", "listen:=always", "lisa:=nobody", "say:=command")
    with talking_node("listener") as own:
        heard: list[Heard] = []
        own.create_subscription(Heard, "speech/heard", heard.append, 50)
        # That no node answers is what the robot says, for nine seconds.
        with started(speech_node(*words, f"say_command:={sys.executable} {script}")) as speech:
            wait_until(lambda: not speech.alive or any("blue" in one.used for one in heard), "the last sentence")
            assert speech.alive, speech.output
        assert [one.used for one in heard if one.final and one.used] == [sentences[0][1], sentences[2][1]]
