# SPDX-License-Identifier: Apache-2.0
"""Sound as the recognisers take it: one channel, 16 kHz, float32 from -1 to 1."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.speech.extra import SpeechError, optional

RATE = 16000
"""Samples a second of everything behind the sources."""

Samples = NDArray[np.float32]

NO_SOUND: Samples = np.zeros(0, dtype=np.float32)

_LEAST_RATE, _MOST_RATE = 4000, 384_000
_MOST_CHANNELS = 64
_BLOCK = 2**20
"""Frames of a file that are converted at once."""

_PCM, _EXTENSIBLE = struct.pack("<H", 1), struct.pack("<H", 0xFFFE)
_PCM_SUBFORMAT = _PCM + bytes.fromhex("000000001000800000aa00389b71")
"""KSDATAFORMAT_SUBTYPE_PCM: what an extensible WAV file holds is said there."""


class AudioError(SpeechError):
    """Sound that cannot be used, or a device that does not give any; the text is one sentence."""


def from_int16(pcm: NDArray[np.int16]) -> Samples:
    """16-bit PCM as samples from -1 to 1."""
    samples: Samples = pcm.astype(np.float32) / np.float32(2**15)
    return samples


def mono(interleaved: Samples, channels: int) -> Samples:
    """The mean of the channels of interleaved samples.

    Raises:
        AudioError: the number of samples does not fit the channels, or one is no number.
    """
    if not 1 <= channels <= _MOST_CHANNELS:
        raise AudioError(f"Audio has {channels} channels; it may have 1 to {_MOST_CHANNELS}.")
    if len(interleaved) % channels:
        raise AudioError(
            f"An audio block has {len(interleaved)} samples, which are not whole frames of {channels} channels."
        )
    if not np.isfinite(interleaved).all():  # the voice activity would never be the same again
        raise AudioError("An audio block has samples that are not finite (NaN or infinite).")
    mean: Samples = interleaved.reshape(-1, channels).mean(axis=1)
    return mean


class Resampler:
    """Brings a stream of blocks to 16 kHz, without clicks between them."""

    def __init__(self, rate: int) -> None:
        """Takes the blocks' samples a second.

        Raises:
            AudioError: no sound has this rate.
        """
        if not _LEAST_RATE <= rate <= _MOST_RATE:
            raise AudioError(f"Audio has {rate} samples a second; it may have {_LEAST_RATE} to {_MOST_RATE}.")
        self.rate = rate
        self._stream = None if rate == RATE else optional("soxr").ResampleStream(rate, RATE, 1, dtype="float32")

    def resample(self, samples: Samples, *, last: bool = False) -> Samples:
        """The next block at 16 kHz; with `last`, the end of the stream as well."""
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=last)
        return resampled


def read_wav(file: Path) -> Samples:
    """Reads a WAV file of PCM with 8, 16, 24 or 32 bits, of any rate and number of channels, at 16 kHz.

    Raises:
        AudioError: it cannot be read, holds another kind of sound, or none.
    """
    try:
        with wave.open(io.BytesIO(_plain(_content(file))), "rb") as opened:
            width = opened.getsampwidth()
            if width not in (1, 2, 3, 4):
                raise AudioError(f"The sound file {file} has {8 * width} bits a sample; it may have 8, 16, 24 or 32.")
            sound: Samples = np.concatenate([NO_SOUND, *_blocks(opened)])
    except AudioError:
        raise
    except OSError as error:
        raise AudioError(f"The sound file {file} cannot be read: {error.strerror or error}.") from error
    except (wave.Error, EOFError, RuntimeError) as error:  # wave raises a bare RuntimeError for impossible sizes
        why = str(error) or "it ends too soon"
        convert = "to convert a sound file, type: ffmpeg -i SOUND -c:a pcm_s16le WAV"
        raise AudioError(f"The file {file} is no WAV file of PCM ({why}); {convert}.") from error
    if not len(sound):
        raise AudioError(f"The sound file {file} has no sound.")
    return sound


def _content(file: Path) -> bytes:
    """The bytes of a WAV file; of any other file only the first, since one such as /dev/zero has no end."""
    with file.open("rb") as stream:
        head = stream.read(12)
        return head + stream.read() if _is_wav(head) else head


def _is_wav(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def _blocks(opened: wave.Wave_read) -> Iterator[Samples]:
    """The sound at 16 kHz. In blocks: as numbers, an hour of a recording would take several times its file's size."""
    resampler = Resampler(opened.getframerate())
    width, channels = opened.getsampwidth(), opened.getnchannels()
    frame = width * channels
    while usable := len(data := opened.readframes(_BLOCK)) // frame * frame:  # the last frame of a cut file is left out
        yield resampler.resample(mono(_from_pcm(data[:usable], width), channels))
    yield resampler.resample(NO_SOUND, last=True)


def _plain(wav: bytes) -> bytes:
    """A WAV file as Python reads it: all of its samples, and PCM that is not marked as extensible (Python 3.11).

    A recorder writes the sizes at its end. Where it was killed, they are 0, those of no sound, or the largest number:
    the sound goes on to the end of the file, unless that is more chunks.
    """
    if not _is_wav(wav):
        return wav
    at, form = 12, len(wav)
    while (name := wav[at : at + 4]) not in (b"data", b""):
        form = at + 8 if name == b"fmt " else form
        at += 8 + int.from_bytes(wav[at + 4 : at + 8], "little")
        at += at % 2
    start = at + 8
    head = bytearray(wav[:start])
    if wav[form : form + 2] == _EXTENSIBLE and wav[form + 24 : form + 40] == _PCM_SUBFORMAT:
        head[form : form + 2] = _PCM
    size = _size(len(wav) - 8)
    if wav[4:8] != size:
        head[4:8] = size
        if wav[at + 4 : start] == _size(0) and not _are_chunks(wav, start):
            head[at + 4 :] = _size(len(wav) - start)
    return wav if head == wav[:start] else bytes(head) + wav[start:]


def _are_chunks(wav: bytes, at: int) -> bool:
    """Whether a file goes on with whole chunks up to its end, as no sound does."""
    while at < len(wav) and all(32 <= letter < 127 for letter in wav[at : at + 4]):
        at += 8 + int.from_bytes(wav[at + 4 : at + 8], "little")
        if at == len(wav):
            return True
        at += at % 2
    return at == len(wav)


def _size(length: int) -> bytes:
    """The size of a chunk as it stands in the file."""
    return struct.pack("<I", min(length, 2**32 - 1))


def _from_pcm(data: bytes, width: int) -> Samples:
    """Little-endian integers of so many bytes; those of one byte have no sign."""
    whole = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
    if width == 1:
        whole = whole ^ np.uint8(0x80)
    # Each becomes the upper bytes of a 32-bit integer.
    wide = np.zeros((len(whole), 4), dtype=np.uint8)
    wide[:, 4 - width :] = whole
    samples: Samples = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return samples


def write_wav(file: Path, samples: Samples) -> None:
    """Writes 16 kHz samples as a WAV file of 16-bit PCM, one channel.

    Raises:
        OSError: it cannot be written.
    """
    pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")
    with wave.open(str(file), "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes(pcm.tobytes())


def level_db(samples: Samples) -> float:
    """Root mean square, dB of full scale; -100 at the least."""
    power = float(np.mean(np.square(samples))) if len(samples) else 0.0
    return max(-100.0, 10 * float(np.log10(power))) if power > 0 else -100.0
