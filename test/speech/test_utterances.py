# SPDX-License-Identifier: Apache-2.0
"""Sound is resampled and cut into utterances."""

import struct
import uuid
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import silero_vad

from lisa_ros.speech.audio import samples as audio_samples
from lisa_ros.speech.audio.samples import RATE, AudioError, Resampler, Samples, level_db, mono, read_wav, write_wav
from lisa_ros.speech.audio.utterances import Timing, Utterance, Utterances
from lisa_ros.speech.audio.voice_activity import WINDOW, SileroActivity


class Loudness:
    """A voice activity that takes every loud window for speech."""

    def probability(self, window: Samples) -> float:
        return float(np.abs(window).max() > 0.1)

    def reset(self) -> None:
        pass


PCM = uuid.UUID("00000001-0000-0010-8000-00aa00389b71").bytes_le
"""How an extensible WAV file says that it holds PCM."""


def wav_header(*, form: int, bits: int) -> bytes:
    """A WAV file without samples; form 1 is PCM, 3 is floating point."""
    described = struct.pack("<HHIIHH", form, 1, RATE, RATE * bits // 8, bits // 8, bits)
    parts = b"WAVEfmt " + struct.pack("<I", len(described)) + described + b"data" + struct.pack("<I", 0)
    return b"RIFF" + struct.pack("<I", len(parts)) + parts


def sound(*parts: tuple[float, float]) -> Samples:
    """(seconds, level) each."""
    return np.concatenate([np.full(round(seconds * RATE), level, dtype=np.float32) for seconds, level in parts])


def heard(utterances: Utterances, samples: Samples, block: int = 800) -> list[Utterance]:
    return [one for start in range(0, len(samples), block) for one in utterances.feed(samples[start : start + block])]


def test_silence_ends_an_utterance_and_is_trimmed() -> None:
    states = heard(Utterances(Loudness()), sound((2.0, 0.0), (1.5, 0.5), (1.0, 0.0), (0.7, 0.5), (1.0, 0.0)))
    assert [one.state for one in states] == ["partial", "partial", "ending", "final", "ending", "final"]
    first, second = (one for one in states if one.state == "final")
    assert first.start / RATE == pytest.approx(1.8, abs=0.04)
    assert len(first.samples) / RATE == pytest.approx(1.5 + 2 * 0.2, abs=0.08)
    assert second.start / RATE == pytest.approx(4.3, abs=0.04)
    assert first.samples[len(first.samples) // 2] == 0.5


def test_what_is_offered_before_the_end_is_the_same_sound_as_at_the_end() -> None:
    states = heard(Utterances(Loudness()), sound((0.5, 0.0), (1.0, 0.5), (1.0, 0.0)))
    ending, final = (one for one in states if one.state != "partial")
    assert ending.start == final.start
    np.testing.assert_array_equal(ending.samples, final.samples)


def test_a_click_is_no_utterance_and_an_endless_one_is_cut() -> None:
    utterances = Utterances(Loudness(), Timing(longest_s=3.0))
    assert [one.state for one in heard(utterances, sound((0.5, 0.0), (0.05, 0.9), (1.0, 0.0)))] == ["ending"]
    finals = [one for one in heard(utterances, sound((7.0, 0.5))) if one.state == "final"]
    assert [one.forced for one in finals] == [True, True]


def test_a_held_button_joins_pauses_and_its_release_ends_at_once() -> None:
    utterances = Utterances(Loudness())
    heard(utterances, sound((0.5, 0.5)))
    utterances.press()
    states = heard(utterances, sound((1.0, 0.0), (0.6, 0.5), (1.5, 0.0), (0.61, 0.5)))
    assert "final" not in [one.state for one in states]
    whole = utterances.release()
    assert whole is not None
    assert len(whole.samples) / RATE == pytest.approx(0.2 + 0.6 + 1.5 + 0.61, abs=0.08)
    utterances.press()
    heard(utterances, sound((1.0, 0.0)))
    assert utterances.release() is None


def test_silero_hears_no_speech_in_noise_or_silence() -> None:
    activity = SileroActivity()
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    for samples in (np.zeros(RATE, np.float32), 0.05 * noise):
        activity.reset()
        windows = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
        assert max(activity.probability(window) for window in windows) < 0.5


def test_streams_share_the_network_and_do_not_influence_each_other() -> None:
    """Window by window in turns, also from two threads at once: the probabilities of each alone, to the last bit."""
    loud, quiet = (
        (level * np.random.default_rng(seed).standard_normal((60, WINDOW))).astype(np.float32)
        for seed, level in ((1, 0.3), (2, 0.02))
    )
    alone = [[activity.probability(window) for window in windows] for activity, windows in two_streams(loud, quiet)]
    (first, _), (second, _) = two_streams(loud, quiet)
    in_turns = [(first.probability(one), second.probability(other)) for one, other in zip(loud, quiet, strict=True)]
    assert [list(each) for each in zip(*in_turns, strict=True)] == alone
    with ThreadPoolExecutor(2) as pool:
        at_once = pool.map(lambda one: [one[0].probability(window) for window in one[1]], two_streams(loud, quiet))
        assert list(at_once) == alone
    for window in loud:
        first.probability(window)
    assert [first.probability(window) for window in quiet] != alone[1], "the network remembers nothing"
    pointers = [{weight.data_ptr() for weight in one._network.parameters()} for one in (first, second)]
    assert pointers[0] == pointers[1]


def two_streams(*windows: Samples) -> list[tuple[SileroActivity, Samples]]:
    return [(SileroActivity(), each) for each in windows]


def test_a_further_stream_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    SileroActivity()
    monkeypatch.delattr(silero_vad, "load_silero_vad")
    for _ in range(4):
        SileroActivity()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_any_rate_becomes_16_khz_without_clicks_between_blocks(rate: int) -> None:
    time_s = np.arange(rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    resampler = Resampler(rate)
    blocks = [resampler.resample(tone[start : start + 441]) for start in range(0, len(tone), 441)]
    resampled = np.concatenate([*blocks, resampler.resample(np.zeros(0, np.float32), last=True)])
    assert len(resampled) == pytest.approx(RATE, abs=2)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(resampled)) / RATE)
    assert np.abs(resampled - expected)[200:-200].max() < 0.01


def test_wav_files_of_any_form_and_wrong_ones(tmp_path: Path) -> None:
    file = tmp_path / "stereo.wav"
    left, right = np.full(4800, 8192, "<i2"), np.zeros(4800, "<i2")
    with wave.open(str(file), "wb") as opened:
        opened.setparams((2, 2, 48000, 0, "NONE", ""))
        opened.writeframes(np.stack([left, right], axis=1).tobytes())
    samples = read_wav(file)
    assert len(samples) == pytest.approx(1600, abs=2)
    assert samples[800] == pytest.approx(0.125, abs=0.002)
    write_wav(file, samples)
    assert np.abs(read_wav(file) - samples).max() < 1e-4
    file.write_bytes(b"RIFF....no sound")
    with pytest.raises(AudioError, match="no WAV file"):
        read_wav(file)
    with pytest.raises(AudioError, match="cannot be read: No such file"):
        read_wav(tmp_path / "missing.wav")


@pytest.mark.parametrize(("width", "channels", "rate"), [(1, 1, 8000), (2, 2, 44100), (3, 1, 48000), (4, 2, 16000)])
def test_wav_files_of_any_width_hold_the_same_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, channels: int, rate: int
) -> None:
    monkeypatch.setattr(audio_samples, "_BLOCK", 777)  # of a long file, which is converted in parts
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    whole = np.round(0.5 * tone * (2 ** (8 * width - 1) - 1)).astype(np.int64) + (128 if width == 1 else 0)
    frames = np.repeat(whole, channels).astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    file = tmp_path / "tone.wav"
    with wave.open(str(file), "wb") as opened:
        opened.setparams((channels, width, rate, 0, "NONE", ""))
        opened.writeframes(frames)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(read_wav(file) - expected)[200:-200].max() < 0.02
    # A recording that was broken off: what is there is used.
    file.write_bytes(file.read_bytes()[: -len(frames) // 2 - 1])
    assert len(read_wav(file)) == pytest.approx(RATE / 2, abs=5)


@pytest.mark.parametrize("before", [b"", b"JUNK\x03\0\0\0abc\0"])
def test_pcm_of_the_extensible_kind_is_read(tmp_path: Path, before: bytes) -> None:
    """As most programs write 24 bits."""
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 3 * RATE, 3, 24, 22, 24, 4) + PCM
    parts = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    parts += b"data" + struct.pack("<I", 3 * RATE) + b"\0\0\x40" * RATE
    file = tmp_path / "extensible.wav"
    file.write_bytes(b"RIFF" + struct.pack("<I", len(parts)) + parts)
    assert np.array_equal(read_wav(file), np.full(RATE, 0.5, np.float32))
    file.write_bytes(file.read_bytes().replace(PCM, b"\3" + PCM[1:]))
    with pytest.raises(AudioError, match="no WAV file of PCM"):
        read_wav(file)


@pytest.mark.parametrize("of_file", [0, 36, 2**32 - 1])
@pytest.mark.parametrize("of_sound", [0, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("before", [b"", b"LIST\x03\0\0\0abc\0"])
def test_a_recorder_that_was_killed_leaves_its_sound(
    tmp_path: Path, of_file: int, of_sound: int, before: bytes
) -> None:
    """The sizes are written at the end; streams have none."""
    header = wav_header(form=1, bits=16)
    file = tmp_path / "killed.wav"
    begin = b"RIFF" + struct.pack("<I", of_file) + header[8:-8] + before + b"data" + struct.pack("<I", of_sound)
    file.write_bytes(begin + np.full(RATE, 2**14, "<i2").tobytes() + b"\1")
    assert np.array_equal(read_wav(file), np.full(RATE, 0.5, np.float32))
    file.write_bytes(begin)
    with pytest.raises(AudioError, match="has no sound"):
        read_wav(file)


@pytest.mark.parametrize("wrong", [0, 2, -36])
@pytest.mark.parametrize("behind", [b"LIST\x04\0\0\0abcd", b"LIST\x03\0\0\0abc\0id3 \x03\0\0\0abc"])
def test_what_stands_behind_no_sound_is_none(tmp_path: Path, wrong: int, behind: bytes) -> None:
    file, header = tmp_path / "empty.wav", wav_header(form=1, bits=16)
    size = max(0, len(header) + len(behind) - 8 + wrong)
    file.write_bytes(b"RIFF" + struct.pack("<I", size) + header[8:] + behind)
    with pytest.raises(AudioError, match="has no sound"):
        read_wav(file)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it ends too soon"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "no WAV file of PCM"),
        (wav_header(form=3, bits=32), "unknown format: 3); to convert a sound file, type: ffmpeg"),
        (wav_header(form=1, bits=64), "64 bits a sample; it may have 8, 16, 24 or 32"),
        (wav_header(form=1, bits=16), "has no sound"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "other.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError) as refused:
        read_wav(file)
    assert sentence in str(refused.value)


def test_sound_that_cannot_be_is_refused() -> None:
    with pytest.raises(AudioError, match="has 0 samples a second"):
        Resampler(0)
    with pytest.raises(AudioError, match="not whole frames of 2 channels"):
        mono(np.zeros(3, np.float32), 2)
    with pytest.raises(AudioError, match="has 0 channels"):
        mono(np.zeros(3, np.float32), 0)
    with pytest.raises(AudioError, match="has 4000000000 samples a second"):
        Resampler(4_000_000_000)
    for wrong in (np.nan, np.inf):
        with pytest.raises(AudioError, match="not finite"):
            mono(np.array([0.0, wrong], np.float32), 1)
    assert len(mono(np.zeros(17 * 5, np.float32), 17)) == 5
    assert level_db(np.zeros(0, np.float32)) == -100.0
    assert level_db(np.ones(10, np.float32)) == pytest.approx(0.0)
