# SPDX-License-Identifier: Apache-2.0
"""A microphone that is opened again when it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.speech.audio.samples import AudioError, Samples
from lisa_ros.speech.extra import SpeechError, optional

_BLOCK_S = 0.05
_SILENT_S = 1.5
"""A device that gives no block for so long is taken for unplugged."""

_CLOSE_S = 1.5
_BUSY = -9985
_NO_SUCH_RATE = -9997

OnBlock = Callable[[Samples, int, int], None]
"""Called with the samples of one channel, their rate, and the time of the first of them, nanoseconds."""


class Microphone:
    """Records on a thread of its own until it is closed; while it cannot, it says why and tries again."""

    def __init__(
        self,
        device: str,
        on_block: OnBlock,
        fault: Callable[[str], None],
        *,
        now_ns: Callable[[], int] = time.time_ns,
        retry_s: float = 2.0,
        sound: Any = None,
    ) -> None:
        """Starts recording.

        Args:
            device: part of its name, or its number in the list of devices; empty: the system's default.
            on_block: takes the blocks; called on PortAudio's thread.
            fault: takes one sentence whenever the reason changes, "" when it records again.
            now_ns: the clock of the samples' times.
            retry_s: pause before it is opened again.
            sound: stands in for the module sounddevice.
        """
        self._device, self._deliver, self._fault, self._now_ns = device, on_block, fault, now_ns
        self._retry_s, self._given = retry_s, sound
        self._stop = threading.Event()
        self._last_s = 0.0
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="microphone", daemon=True)
        self._thread.start()

    def close(self) -> bool:
        """Stops recording; returns whether PortAudio has closed the device, which may hang."""
        self._stop.set()
        self._thread.join(_CLOSE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        first = True
        while not self._stop.is_set():
            try:
                sound = self._given or optional("sounddevice")
                if not first:
                    _list_anew(sound)
                first = False
                self._record(sound)
            except SpeechError as error:
                self._report(str(error))
            except Exception as error:  # of PortAudio, while it lists the devices: it is tried again
                self._report(f"The microphones cannot be listed: {error.args[0] if error.args else error}.")
            self._stop.wait(self._retry_s)

    def _record(self, sound: Any) -> None:
        number, name, rate = chosen_device(sound, self._device)
        try:
            stream = sound.InputStream(
                device=number,
                samplerate=rate,
                channels=1,
                dtype="int16",
                blocksize=round(rate * _BLOCK_S),
                callback=lambda block, frames, moment, status: self._on_block(block, rate),
            )
            with stream:
                self._last_s = time.monotonic()
                self._watch(stream, name)
        except sound.PortAudioError as error:
            raise AudioError(_why(error, name)) from error

    def _watch(self, stream: Any, name: str) -> None:
        started = time.monotonic()
        while not self._stop.wait(0.1):
            if not stream.active or time.monotonic() - self._last_s > _SILENT_S:
                raise AudioError(f"The microphone {name!r} gives no sound any more; is it unplugged?")
            if self._last_s > started:
                self._report("")

    def _on_block(self, block: NDArray[np.int16], rate: int) -> None:
        self._last_s = time.monotonic()
        samples: Samples = block[:, 0].astype(np.float32) / np.float32(32768)
        self._deliver(samples, rate, self._now_ns() - round(len(samples) * 1e9 / rate))

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._fault(trouble)


def chosen_device(sound: Any, wanted: str) -> tuple[int, str, int]:
    """(number, name, samples a second) of the microphone that a name or number means.

    Raises:
        AudioError: there is none, or several have this name; the text lists what there is.
    """
    microphones = {i: one for i, one in enumerate(sound.query_devices()) if one["max_input_channels"] > 0}
    if not microphones:
        raise AudioError("This machine has no microphone.")
    if not wanted:
        default = sound.default.device[0]
        number = default if default in microphones else min(microphones)
    elif wanted.isdecimal():
        number = int(wanted)
    else:
        named = [i for i, one in microphones.items() if wanted.lower() in one["name"].lower()]
        exact = [i for i in named if microphones[i]["name"].lower() == wanted.lower()]
        if len(named) > 1 and len(exact) != 1:
            raise AudioError(
                f"Several microphones are named {wanted!r}: {_listed({i: microphones[i] for i in named})}."
            )
        number = (exact or named or [-1])[0]
    if number not in microphones:
        raise AudioError(f"There is no microphone {wanted!r}; there are: {_listed(microphones)}.")
    return number, microphones[number]["name"], int(microphones[number]["default_samplerate"])


def device_list(sound: Any = None) -> list[str]:
    """The microphones, "number: name" each.

    Raises:
        SpeechError: sounddevice or PortAudio is missing.
    """
    sound = sound or optional("sounddevice")
    return [f"{i}: {one['name']}" for i, one in enumerate(sound.query_devices()) if one["max_input_channels"] > 0]


def _listed(microphones: dict[int, Any]) -> str:
    return ", ".join(f"{i} ({one['name']})" for i, one in microphones.items())


def _why(error: Exception, name: str) -> str:
    code = error.args[1] if len(error.args) > 1 else 0
    if code == _BUSY:
        return f"The microphone {name!r} is in use by another program, or was unplugged."
    if code == _NO_SUCH_RATE:
        return f"The microphone {name!r} does not record at its own default rate; choose another device."
    return f"The microphone {name!r} cannot be opened: {error.args[0] if error.args else error}."


def _list_anew(sound: Any) -> None:
    """PortAudio lists the devices once; a device that came later is seen after it was started anew."""
    sound._terminate()
    sound._initialize()
