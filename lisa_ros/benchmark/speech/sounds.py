# SPDX-License-Identifier: Apache-2.0
"""Synthetic voices and noise: Debian's festival, flite and espeak-ng, and a fan."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lisa_ros.speech.audio.samples import RATE, Samples, read_wav
from lisa_ros.speech.extra import SpeechError

VOICES = ("slt", "rms", "espeak")
"""festival's cmu_us_slt_arctic_hts, flite's rms, and espeak-ng's en-us."""

_PROGRAMS = {"slt": "text2wave", "rms": "flite", "espeak": "espeak-ng"}
_PACKAGES = {"slt": "festival festvox-us-slt-hts", "rms": "flite", "espeak": "espeak-ng"}
_LONGEST_S = 120.0
_BLADES_HZ = 118.0
_FRAME = RATE // 50
_QUIET = 0.01


def speak(text: str, voice: str) -> Samples:
    """A text said by a voice, 16 kHz.

    Raises:
        SpeechError: the voice is not installed.
    """
    if shutil.which(_PROGRAMS[voice]) is None:
        raise SpeechError(f"The voice {voice} is not installed; type: sudo apt-get install {_PACKAGES[voice]}.")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        commands = {
            "slt": ["text2wave", "-eval", "(voice_cmu_us_slt_arctic_hts)", "-o", str(file)],
            "rms": ["flite", "-voice", "rms", "-t", text, "-o", str(file)],
            "espeak": ["espeak-ng", "-v", "en-us", "-w", str(file), text],
        }
        done = subprocess.run(
            commands[voice], input=text, text=True, capture_output=True, timeout=_LONGEST_S, check=False
        )
        if done.returncode or not file.is_file():
            raise SpeechError(f"The voice {voice} failed: {done.stderr.strip() or f'exit {done.returncode}'}.")
        return read_wav(file)


def fan(count: int, rng: np.random.Generator) -> Samples:
    """Noise like a machine's fan, of power 1: low-frequency rush, and the blades' tone with three overtones."""
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    shaped = np.fft.rfft(rng.standard_normal(count)) / np.maximum(frequencies, 60.0) ** 0.8
    rush = np.fft.irfft(shaped, count)
    noise = rush / rush.std()
    time_s = np.arange(count) / RATE
    for overtone in range(1, 5):
        phase = rng.uniform(0, 2 * np.pi)
        noise += 0.3 / overtone * np.sin(2 * np.pi * _BLADES_HZ * overtone * time_s + phase)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def speech_power(samples: Samples) -> float:
    """Mean square of the frames of 20 ms that are less than 40 dB below the loudest one."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    powers = np.mean(np.square(frames), axis=1)
    return float(powers[powers > powers.max() * 1e-4].mean())


def without_silence(samples: Samples) -> Samples:
    """From the first to the last sample above -40 dB of full scale."""
    loud = np.flatnonzero(np.abs(samples) > _QUIET)
    trimmed: Samples = samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]
    return trimmed


def silence_after(samples: Samples) -> int:
    """Samples after the last one above -40 dB of full scale."""
    loud = np.flatnonzero(np.abs(samples) > _QUIET)
    return len(samples) - (int(loud[-1]) + 1 if len(loud) else 0)


def in_noise(samples: Samples, snr_db: float | None, rng: np.random.Generator, *, around_s: float = 0.4) -> Samples:
    """Speech with silence, or with a fan's noise, before, in and after it.

    Args:
        samples: the speech.
        snr_db: power of the speech over that of the noise, dB; None: no noise.
        rng: source of the noise.
        around_s: seconds before and after the speech.
    """
    quiet = np.zeros(round(around_s * RATE), dtype=np.float32)
    whole: Samples = np.concatenate([quiet, samples, quiet])
    if snr_db is None:
        return whole
    level = np.float32(np.sqrt(speech_power(samples) / 10 ** (snr_db / 10)))
    noisy: Samples = whole + level * fan(len(whole), rng)
    return noisy
