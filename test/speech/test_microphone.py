# SPDX-License-Identifier: Apache-2.0
"""A microphone's faults are one sentence each, and it is opened again. `sounddevice` is replaced by a fake."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lisa_ros.speech.audio import microphone as microphone_module
from lisa_ros.speech.audio.microphone import Microphone, chosen_device, device_list
from lisa_ros.speech.audio.samples import AudioError
from lisa_ros.speech.extra import SpeechError, optional


class PortAudioError(Exception):
    pass


class Stream:
    def __init__(self, sound: "FakeSound", callback: Callable[..., None], **settings: Any) -> None:
        self._sound, self._callback, self.settings = sound, callback, settings
        self._ended = threading.Event()

    @property
    def active(self) -> bool:
        return self._sound.plugged

    def __enter__(self) -> "Stream":
        if self._sound.refuses is not None:
            raise self._sound.refuses
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            if self._sound.plugged and not self._sound.frozen:
                self._callback(np.full((480, 1), 16384, np.int16), 480, None, None)


class FakeSound:
    """What the microphone uses of sounddevice."""

    PortAudioError = PortAudioError

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.plugged, self.frozen = True, False
        self.refuses: Exception | None = None
        self.default = type("Default", (), {"device": (0, 0)})()
        self.listed = 0

    def query_devices(self) -> list[dict[str, Any]]:
        speaker = {"name": "speaker", "max_input_channels": 0, "default_samplerate": 48000.0}
        found = [{"name": name, "max_input_channels": 1, "default_samplerate": 48000.0} for name in self.names]
        return [speaker, *found]

    def InputStream(self, **settings: Any) -> Stream:  # noqa: N802
        return Stream(self, **settings)

    def _terminate(self) -> None:
        self.listed += 1

    def _initialize(self) -> None:
        pass


class Heard:
    def __init__(self) -> None:
        self.blocks: list[tuple[Any, int, int]] = []
        self.faults: list[str] = []

    def block(self, samples: Any, rate: int, start_ns: int) -> None:
        self.blocks.append((samples, rate, start_ns))


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_records_loses_the_device_and_records_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone_module, "_SILENT_S", 60.0)  # a busy machine holds the device's thread up
    sound, heard = FakeSound("USB mic"), Heard()
    microphone = Microphone("usb", heard.block, heard.faults.append, retry_s=0.05, sound=sound)
    until(lambda: heard.blocks)
    samples, rate, start_ns = heard.blocks[0]
    assert (len(samples), rate, samples[0]) == (480, 48000, 0.5)
    assert 0 <= time.time_ns() - start_ns < 60e9
    until(lambda: heard.faults == [""])
    sound.plugged = False
    until(lambda: len(heard.faults) == 2)
    assert heard.faults[1] == "The microphone 'USB mic' gives no sound any more; is it unplugged?"
    sound.names = []
    until(lambda: len(heard.faults) == 3)
    assert heard.faults[2] == "This machine has no microphone."
    sound.names, sound.plugged = ["other", "USB mic"], True
    until(lambda: len(heard.faults) == 4)
    assert heard.faults[3] == ""
    assert sound.listed > 0
    microphone.close()
    count = len(heard.blocks)
    time.sleep(0.05)
    assert len(heard.blocks) <= count + 1


def test_a_device_that_freezes_or_is_busy_is_reported_once() -> None:
    sound, heard = FakeSound("mic"), Heard()
    sound.refuses = PortAudioError("Error opening InputStream: Device unavailable", -9985)
    microphone = Microphone("", heard.block, heard.faults.append, retry_s=0.02, sound=sound)
    until(lambda: sound.listed > 5)
    assert heard.faults == ["The microphone 'mic' is in use by another program, or was unplugged."]
    sound.refuses = None
    until(lambda: heard.faults[-1] == "")
    sound.frozen = True
    until(lambda: heard.faults[-1] != "")
    assert "gives no sound any more" in heard.faults[-1]
    microphone.close()


def test_a_portaudio_that_fails_while_it_lists_the_devices_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ended, and the microphone was never opened again."""
    sound, heard = FakeSound("mic"), Heard()
    query, initialize = sound.query_devices, sound._initialize

    def failing() -> Any:
        raise PortAudioError("Error initializing PortAudio: Unanticipated host error", -9999)

    monkeypatch.setattr(sound, "query_devices", failing)
    microphone = Microphone("", heard.block, heard.faults.append, retry_s=0.02, sound=sound)
    until(lambda: heard.faults)
    assert heard.faults == ["The microphones cannot be listed: Error initializing PortAudio: Unanticipated host error."]
    monkeypatch.setattr(sound, "_initialize", failing)
    monkeypatch.setattr(sound, "query_devices", query)
    time.sleep(0.1)
    monkeypatch.setattr(sound, "_initialize", initialize)
    until(lambda: heard.blocks)
    until(lambda: heard.faults[-1] == "")
    assert microphone.close()


@pytest.mark.parametrize("wanted", ["99", "-1", "speaker", "0"])
def test_devices_that_are_no_microphone_are_refused_with_what_there_is(wanted: str) -> None:
    with pytest.raises(AudioError, match=rf"no microphone '{wanted}'; there are: 1 \(mic\)"):
        chosen_device(FakeSound("mic"), wanted)


def test_a_rate_that_is_refused_is_one_sentence() -> None:
    sound, heard = FakeSound("mic"), Heard()
    sound.refuses = PortAudioError("Error opening InputStream: Invalid sample rate", -9997)
    microphone = Microphone("mic", heard.block, heard.faults.append, retry_s=0.02, sound=sound)
    until(lambda: heard.faults)
    assert heard.faults == ["The microphone 'mic' does not record at its own default rate; choose another device."]
    assert microphone.close()


def test_the_device_is_chosen_by_name_or_number() -> None:
    sound = FakeSound("USB mic", "HDA Intel", "USB mic 2")
    assert chosen_device(sound, "intel")[:2] == (2, "HDA Intel")
    assert chosen_device(sound, "usb mic")[0] == 1
    assert chosen_device(sound, "3") == (3, "USB mic 2", 48000)
    assert chosen_device(sound, "")[0] == 1
    with pytest.raises(AudioError, match=r"no microphone 'jabra'; there are: 1 \(USB mic\), 2 \(HDA Intel\)"):
        chosen_device(sound, "jabra")
    with pytest.raises(AudioError, match=r"Several microphones are named 'usb'"):
        chosen_device(sound, "usb")
    with pytest.raises(AudioError, match="no microphone '0'"):
        chosen_device(sound, "0")
    assert device_list(sound) == ["1: USB mic", "2: HDA Intel", "3: USB mic 2"]


def test_what_is_not_installed_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpeechError, match=r"needs the package no_such_package.*tools/requirements.py --only speech"):
        optional("no_such_package")

    def broken(name: str) -> Any:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(SpeechError, match="apt-get install libportaudio2"):
        optional("sounddevice")
