# SPDX-License-Identifier: Apache-2.0
"""`lisa listen` as a program, with WAV files of a synthetic voice."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("moonshine_voice", reason="the extra `speech` is not installed")

from spoken import said

from lisa_ros.speech.audio.samples import RATE, Samples


def write_wav(file: Path, samples: Samples, channels: int = 1) -> Path:
    """16-bit PCM at three times the recogniser's rate."""
    pcm = np.repeat((np.clip(samples, -1, 1) * 32767).astype("<i2"), 3 * channels)
    with wave.open(str(file), "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(2)
        wav.setframerate(3 * RATE)
        wav.writeframes(pcm.tobytes())
    return file


def listen(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lisa_ros.cli", "listen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_a_file_is_heard_corrected_and_printed_as_json(tmp_path: Path) -> None:
    pause = np.zeros(RATE, np.float32)
    parts = [pause, said("Where is the yellow ring?", "slt"), pause, said("Give me the blue bottle.", "slt"), pause]
    file = write_wav(tmp_path / "two.wav", np.concatenate(parts), channels=2)
    ended = listen("--wav", str(file), "--json")
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads(line) for line in ended.stdout.splitlines())
    assert {"heard", "used", "confidence"} <= set(first)
    words = [one["used"].lower().replace("-", " ") for one in (first, second)]  # it writes "blue-bottle"
    assert words == ["where is the yellow ring?", "give me the blue bottle."]
    assert 0.9 < first["confidence"] <= 1.0 and first["heard"]


def test_silence_and_what_is_no_sound_get_one_sentence(tmp_path: Path) -> None:
    silent = listen("--wav", str(write_wav(tmp_path / "silent.wav", np.zeros(RATE, np.float32))), "--json")
    assert (silent.returncode, silent.stdout, silent.stderr) == (1, "", "lisa: nobody speaks in this file\n")
    (tmp_path / "text.wav").write_text("no sound")
    wrong = listen("--wav", str(tmp_path / "text.wav"), "--json")
    assert wrong.returncode == 2 and "text.wav" in wrong.stderr and "Traceback" not in wrong.stderr
